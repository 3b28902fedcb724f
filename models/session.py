"""ONNX Runtime sessions: the device that was asked for or an error, bounded threads and memory."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from models.card import ModelError

log = structlog.get_logger(__name__)

# Its official builds send usage events to their maker, unless this is there when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# The fused forms are slower than the plain ones on a CPU (measured on the shipped graph).
SLOWER_FUSED = ["SkipLayerNormFusion", "BiasGeluFusion"]


class DeviceError(ModelError):
    """The device that was asked for can't be used."""


def check_device(device: str) -> None:
    """Raises DeviceError where this build of ONNX Runtime can't have the device."""
    import onnxruntime as ort

    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"device must be auto, cpu or cuda, not {device!r}")
    if device == "cuda" and CUDA not in ort.get_available_providers():
        raise DeviceError(
            "this ONNX Runtime has no CUDA; install tapewatch[gpu] instead of tapewatch[cpu] (never both), "
            'or set [model] device = "cpu"'
        )
    if device == "cuda":
        _check_driver()
        _check_onnx()


def open_session(
    graph: Path, *, device: str, memory_mb: int | None = None, half: bool = False, profile: Path | None = None
) -> Any:
    """A session with one thread of its own: callers run as many at once as they have cores.

    ``half``: the graph's half-precision form, built in memory, the only one that CUDA runs. ``memory_mb`` bounds the
    arena of CUDA. ``profile``: how the name begins of the file in which ``end_profiling`` tells of every node.
    Raises DeviceError where the session ended up elsewhere than asked.
    """
    import onnxruntime as ort

    check_device(device)
    on_cuda = device == "cuda"
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if not on_cuda:
        # Without the arena and the pattern cache memory stays flat over batches of every shape.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
    source = half_precision(graph) if half else str(graph)
    try:
        session = ort.InferenceSession(
            source,
            options,
            providers=_providers(device, memory_mb),
            disabled_optimizers=[] if on_cuda else list(SLOWER_FUSED),
            enable_fallback=0,
        )
    except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
        raise DeviceError(f"{graph}: no session on {device}: {error}") from error
    if session.get_providers()[0] != (CUDA if on_cuda else CPU):
        raise DeviceError(
            f"no session on {device}, this one runs on {session.get_providers()[0]}; "
            "check the driver and CUDA libraries"
        )
    return session


def _providers(device: str, memory_mb: int | None) -> list[Any]:
    import onnxruntime as ort

    if device != "cuda":
        return [CPU]
    limit = {} if memory_mb is None else {"gpu_mem_limit": str(memory_mb * 2**20)}
    with contextlib.redirect_stdout(sys.stderr):  # it tells of its troubles where a command's results go
        ort.preload_dlls()  # those that came as packages lie where the loader does not look
    # Doubling instead, as is the default, would take up to twice of what is needed.
    return [(CUDA, {"arena_extend_strategy": "kSameAsRequested", **limit})]


def half_precision(graph: Path) -> bytes:
    """The graph that CUDA runs, made from the int8 one: CUDA has no kernels for that one's products of integers, which
    would run on the CPU without a word. Raises DeviceError where what builds it is not installed."""
    _check_onnx()
    import onnx

    from models.export import dequantise

    try:
        return bytes(dequantise(onnx.load(graph)).SerializeToString())
    except (KeyError, IndexError, ValueError) as error:
        raise DeviceError(f"{graph}: no graph for CUDA can be made of it ({error!r}); run it on the CPU") from error


def _check_driver() -> None:
    """What ONNX Runtime would tell in many lines, and then go on."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise DeviceError(
            f"no NVIDIA driver here ({error}); install it, or give the container the GPU (docs/deployment.md), "
            'or set [model] device = "cpu"'
        ) from None


def _check_onnx() -> None:
    if importlib.util.find_spec("onnx") is None:
        raise DeviceError(
            "the graph for CUDA is built with the package onnx, which is missing; install tapewatch[gpu], "
            'or set [model] device = "cpu"'
        )


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


def feeds(ids: Sequence[Sequence[int]], width: int = 0) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Token ids as the padded inputs of the graph: input_ids and attention_mask, both [texts, tokens]. ``width``:
    tokens to pad to, at least those of the longest text."""
    width = width or max(len(row) for row in ids)
    tokens = np.zeros((len(ids), width), np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    for place, row in enumerate(ids):
        tokens[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return {"input_ids": tokens, "attention_mask": mask}
