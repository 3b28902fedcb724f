"""Where a graph is computed, node by node, and what of the GPU's memory is taken."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from models.session import feeds, open_session


class Placement(NamedTuple):
    """The nodes of one pass by the provider that computed them, each by its operator."""

    nodes: dict[str, Counter[str]]
    shapes: Counter[str]
    """Of all, those that reckon with shapes, whole numbers all: they belong on the CPU wherever the rest is."""

    def astray(self, provider: str) -> Counter[str]:
        """Nodes that another provider computed, shapes aside."""
        others = (nodes for name, nodes in self.nodes.items() if name != provider)
        return sum(others, Counter[str]()) - self.shapes


def placement(folder: Path, *, device: str, half: bool) -> Placement:
    """Runs one pass through a session of its own and reads in its profile where each node was computed."""
    with tempfile.TemporaryDirectory() as scratch:
        session = open_session(folder / "model.onnx", device=device, half=half, profile=Path(scratch) / "nodes")
        session.run(None, feeds([[0] * 16] * 2))
        events = msgspec.json.decode(Path(session.end_profiling()).read_bytes())
    return read(events)


def read(events: list[dict[str, Any]]) -> Placement:
    """The placement that a profile of ONNX Runtime tells of."""
    nodes: dict[str, Counter[str]] = {}
    shapes = Counter[str]()
    for event in events:
        told = event.get("args", {})
        if event.get("cat") != "Node" or "provider" not in told:
            continue
        nodes.setdefault(told["provider"], Counter())[told["op_name"]] += 1
        if all("int64" in kind for kind in told.get("output_type_shape", [{}])):
            shapes[told["op_name"]] += 1
    return Placement(nodes, shapes)


def gpu_memory_mb() -> int | None:
    """What all processes together take of all GPUs' memory, in MiB; None where nvidia-smi doesn't tell."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 (found on PATH)
    figures = told.stdout.split()
    return sum(map(int, figures)) if figures and all(figure.isdecimal() for figure in figures) else None
