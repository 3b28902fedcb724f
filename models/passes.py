"""Passes through a model's graph: which texts go through it together, and how numbers get in and out.

On the CPU texts of one length share a pass, so that a text's answers are the same to the bit in any batch. CUDA gives
no such promise, has no use for small passes, and keeps memory for every shape that it has seen: there texts are padded
to a few widths, and passes are large.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from models.session import DeviceError, feeds, open_session

log = structlog.get_logger(__name__)

CPU_TOKENS = 512
"""Tokens of one pass on the CPU: larger passes leave its caches, smaller ones waste calls."""

CUDA_TOKENS = 16_384
"""Tokens of one pass on CUDA: 512 headlines of 32 tokens, what an engine hands over at once. A pass there costs some
hundred launches of kernels whatever its size, and its activations take memory with every token. By reckoning, not
measured."""

WIDTH = 16
"""Tokens between two widths: half-precision products are quick in multiples of 8, and every width is one more shape."""


class Passes(Protocol):
    """An open graph."""

    device: str
    """``cpu`` or ``cuda``."""
    one_at_a_time: bool
    """Whether passes wait for each other, so that calling from several threads gains nothing."""
    outputs: dict[str, Sequence[Any]]
    """The graph's outputs by name, with their shapes."""

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Places of the texts of each pass, for texts of so many tokens."""
        ...

    def run(self, wanted: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        """One pass over texts of a group: each wanted output, [texts, …]."""
        ...


class ExactPasses:
    """Texts of one length a pass, as many passes at once as threads call."""

    device = "cpu"
    one_at_a_time = False

    def __init__(self, session: Any) -> None:
        self._session = session
        self.outputs = outputs_of(session)

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """No text is padded to the length of another: how sums over a row are cut into the registers of the processor
        depends on the row's width, so padding would change the last bits. Measured, a batch of one length costs what
        one of similar lengths does, for it computes no padding."""
        return _grouped(lengths, CPU_TOKENS, lambda length: length)

    def run(self, wanted: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        return dict(zip(wanted, self._session.run(list(wanted), feeds(ids)), strict=True))


class PaddedPasses:
    """Texts of similar length a pass, padded to a multiple of ``WIDTH``; one pass at a time, so that the memory of the
    largest is all that is ever taken. ``window``: tokens of the longest text."""

    one_at_a_time = True

    def __init__(self, session: Any, *, window: int, device: str) -> None:
        self.device = device
        self.outputs = outputs_of(session)
        self._session = session
        self._window = window
        self._lock = threading.Lock()

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        return _grouped(lengths, CUDA_TOKENS, self._width)

    def run(self, wanted: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Raises DeviceError: tokens and shapes are in bounds, so what fails here is the device and not a text."""
        inputs = feeds(ids, self._width(max(len(row) for row in ids)))
        try:
            with self._lock:
                values = bound(self._session, wanted, inputs, self.device)
        except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
            shape = "{} texts of {} tokens".format(*inputs["input_ids"].shape)
            raise DeviceError(f"a pass over {shape} failed on {self.device}: {error}") from error
        return dict(zip(wanted, values, strict=True))

    def warm_up(self) -> None:
        """Runs the largest and the smallest pass of every width: the arena then has all the memory that it will ever
        need, and every kernel is loaded. Raises DeviceError."""
        for width in sorted({self._width(length) for length in range(1, self._window + 1)}, reverse=True):
            for texts in (max(1, CUDA_TOKENS // width), 1):
                self.run(list(self.outputs), [[0] * width] * texts)

    def _width(self, length: int) -> int:
        return min(-(-length // WIDTH) * WIDTH, max(self._window, length))


def open_passes(
    folder: Path, window: int, *, device: str = "auto", memory_mb: int | None = None, half: bool = False
) -> Passes:
    """The graph of a model's folder, ready to be run on ``device``.

    ``auto`` takes CUDA where all that it needs is there and a session starts on it, else the CPU; the log says which,
    and why. ``half``: on ``cpu`` the graph and the passes of CUDA, to try them without one. Raises DeviceError where
    ``cuda`` was asked for and can't be had, or its memory is not enough.
    """
    graph = folder / "model.onnx"
    if device == "cpu" and half:
        return PaddedPasses(open_session(graph, device=device, half=True), window=window, device=device)
    if device == "cuda":
        return _open_cuda(graph, window, memory_mb)
    if device != "auto":
        return ExactPasses(open_session(graph, device=device))
    try:
        passes = _open_cuda(graph, window, memory_mb)
    except DeviceError as error:
        log.info("device", action="choose", device="cpu", reason=str(error))
        return ExactPasses(open_session(graph, device="cpu"))
    log.info("device", action="choose", device="cuda", reason="a session of the half-precision graph starts on it")
    return passes


def _open_cuda(graph: Path, window: int, memory_mb: int | None) -> PaddedPasses:
    passes = PaddedPasses(
        open_session(graph, device="cuda", memory_mb=memory_mb, half=True), window=window, device="cuda"
    )
    try:
        passes.warm_up()
    except DeviceError as error:
        ceiling = "" if memory_mb is None else f", [model] memory_mb above {memory_mb}"
        raise DeviceError(
            f"{graph}: {error}; if it is for want of memory, leave the device more of it{ceiling}, "
            'or set [model] device = "cpu"'
        ) from error
    return passes


def outputs_of(session: Any) -> dict[str, Sequence[Any]]:
    return {output.name: output.shape for output in session.get_outputs()}


def bound(session: Any, wanted: Sequence[str], inputs: Mapping[str, Any], device: str) -> list[Any]:
    """The wanted outputs as arrays. Inputs are copied to the device and outputs made there, fetched in one go."""
    from onnxruntime import OrtValue

    binding = session.io_binding()
    for name, values in inputs.items():
        binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(values, device, 0))
    for name in wanted:
        binding.bind_output(name, device)
    session.run_with_iobinding(binding)
    arrays: list[Any] = binding.copy_outputs_to_cpu()
    return arrays


def _grouped(lengths: Sequence[int], budget: int, width_of: Callable[[int], int]) -> list[list[int]]:
    """Places in groups of one width, each within the budget of tokens."""
    by_width: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        by_width.setdefault(width_of(length), []).append(place)
    # The longest first: the last pass to end is then a short one.
    return [
        alike[start : start + size]
        for width, alike in sorted(by_width.items(), reverse=True)
        for size in (max(1, budget // width),)
        for start in range(0, len(alike), size)
    ]
