"""ONNX Runtime sessions: the device that was asked for or an error, bounded threads and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import structlog

from models.card import ModelError

log = structlog.get_logger(__name__)

# The fused forms are slower than the plain ones on a CPU (measured on the shipped graph).
SLOWER_FUSED = ["SkipLayerNormFusion", "BiasGeluFusion"]


class DeviceError(ModelError):
    """The device that was asked for can't be used."""


def providers_for(device: str) -> list[str]:
    """The provider of a device. ``auto`` takes CUDA where this build of ONNX Runtime has it and it starts."""
    import onnxruntime as ort

    available = ort.get_available_providers()
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" not in available:
            raise DeviceError(
                "device 'cuda' was asked for, but this ONNX Runtime has no CUDA; install tapewatch[gpu] "
                'instead of tapewatch[cpu] (never both), or set [model] device = "cpu"'
            )
        return ["CUDAExecutionProvider"]
    if device == "auto":
        return ["CPUExecutionProvider"]
    raise DeviceError(f"device must be auto, cpu or cuda, not {device!r}")


def open_session(graph: Path, *, device: str = "auto", memory_mb: int | None = None) -> Any:
    """A session with one thread of its own: callers run as many at once as they have cores.

    ``memory_mb`` bounds the arena on CUDA. Raises DeviceError where the session ended up elsewhere than asked.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers: list[Any] = list(providers_for(device))
    if providers == ["CUDAExecutionProvider"]:
        limit = {} if memory_mb is None else {"gpu_mem_limit": str(memory_mb * 2**20)}
        providers = [("CUDAExecutionProvider", {"arena_extend_strategy": "kSameAsRequested", **limit})]
    else:
        # Without the arena and the pattern cache memory stays flat over batches of every shape.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
    try:
        session = ort.InferenceSession(str(graph), options, providers=providers, disabled_optimizers=list(SLOWER_FUSED))
    except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
        raise DeviceError(f"{graph}: no session on {device}: {error}") from error
    wanted = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if session.get_providers()[0] != wanted:
        raise DeviceError(
            f"device {device!r} was asked for, but the session runs on {session.get_providers()[0]}; "
            "check the driver and CUDA libraries"
        )
    return session


def warn_without_vnni(weight_bits: int) -> None:
    """8-bit weights saturate in the 16-bit sums of CPUs without VNNI; 7-bit ones don't."""
    if weight_bits < 8:
        return
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return
    if "flags" in flags and "vnni" not in flags:
        log.warning(
            "cpu_without_vnni",
            action="warn",
            advice="sums of 8-bit weights may saturate on this CPU; export the model with --weight-bits 7",
        )


def feeds(ids: list[list[int]]) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Token ids as the padded inputs of the graph: input_ids and attention_mask, both [batch, tokens]."""
    width = max(len(row) for row in ids)
    tokens = np.zeros((len(ids), width), np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    for place, row in enumerate(ids):
        tokens[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return {"input_ids": tokens, "attention_mask": mask}
