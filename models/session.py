"""ONNX Runtime sessions: the device that was asked for or an error, bounded threads and memory."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from models.card import ModelError

log = structlog.get_logger(__name__)

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


def open_model(folder: Path, *, device: str = "auto", memory_mb: int | None = None) -> Any:
    """A session of a model's folder. ``auto`` takes CUDA where all that it needs is there and a session starts on it,
    else the CPU; the log says which, and why. Raises DeviceError where ``cuda`` was asked for and can't be had."""
    graph = folder / "model.onnx"
    if device != "auto":
        return open_session(graph, device=device, memory_mb=memory_mb)
    try:
        session = open_session(graph, device="cuda", memory_mb=memory_mb)
    except DeviceError as error:
        log.info("device", action="choose", device="cpu", reason=str(error))
        return open_session(graph, device="cpu")
    log.info("device", action="choose", device="cuda", reason="a session of the half-precision graph starts on it")
    return session


def open_session(graph: Path, *, device: str, memory_mb: int | None = None) -> Any:
    """A session with one thread of its own: callers run as many at once as they have cores.

    On ``cuda`` it runs the graph's half-precision form, built in memory, and ``memory_mb`` bounds the arena. Raises
    DeviceError where the session ended up elsewhere than asked.
    """
    import onnxruntime as ort

    check_device(device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    on_cuda = device == "cuda"
    if on_cuda:
        limit = {} if memory_mb is None else {"gpu_mem_limit": str(memory_mb * 2**20)}
        with contextlib.redirect_stdout(sys.stderr):  # it tells of its troubles where a command's results go
            ort.preload_dlls()  # those that came as packages lie where the loader does not look
        providers: list[Any] = [(CUDA, {"arena_extend_strategy": "kSameAsRequested", **limit})]
    else:
        # Without the arena and the pattern cache memory stays flat over batches of every shape.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        providers = [CPU]
    source = half_precision(graph) if on_cuda else str(graph)
    try:
        session = ort.InferenceSession(
            source, options, providers=providers, disabled_optimizers=list(SLOWER_FUSED), enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
        raise DeviceError(f"{graph}: no session on {device}: {error}") from error
    if session.get_providers()[0] != (CUDA if on_cuda else CPU):
        raise DeviceError(
            f"no session on {device}, this one runs on {session.get_providers()[0]}; "
            "check the driver and CUDA libraries"
        )
    return session


def half_precision(graph: Path) -> bytes:
    """The graph that CUDA runs, made from the int8 one: CUDA has no kernels for that one's products of integers, which
    would run on the CPU without a word. Raises DeviceError where what builds it is not installed."""
    if importlib.util.find_spec("onnx") is None:
        raise DeviceError(
            "the graph for CUDA is built with the package onnx, which is missing; install tapewatch[gpu], "
            'or set [model] device = "cpu"'
        )
    import onnx

    from models.export import dequantise

    try:
        return bytes(dequantise(onnx.load(graph)).SerializeToString())
    except (KeyError, IndexError, ValueError) as error:
        raise DeviceError(f"{graph}: no graph for CUDA can be made of it ({error!r}); run it on the CPU") from error


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
