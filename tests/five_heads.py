"""A model of five heads small enough to reckon by hand: every word has its own logits, a text has their mean.

``TOKENS`` gives the outputs of a word: negative, neutral, positive, any event, recall, fraud. A word that is not there
is unknown and has zeros, as the marks at both ends of a text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from models import card as cards
from models import golden
from models.card import Card, Head, Mention, RiskHead, StoryHead
from models.classifier import load

KINDS = ("recall", "fraud")
TOKENS = {
    "acme": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "beta": (0.0, 2.0, 0.0, -4.0, -4.0, -4.0),
    "corp": (4.0, 0.0, 0.0, 8.0, 8.0, -8.0),
    "wins": (0.0, 0.0, 6.0, -8.0, -8.0, -8.0),
    "recall": (3.0, 1.0, 0.0, 6.0, 6.0, -2.0),
    "fraud": (5.0, 0.0, 0.0, 9.0, 0.0, 9.0),
    "and": (0.0, 3.0, 0.0, -3.0, -3.0, -3.0),
    ".": (0.0, 1.0, 0.0, -1.0, -1.0, -1.0),
}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *TOKENS)
STORY = 8
WINDOW = 12

CARD = Card(
    name="five",
    version="1",
    created="2026-01-01",
    description="Five heads.",
    languages=("en",),
    max_tokens=WINDOW,
    sentiment=Head(labels=("negative", "neutral", "positive")),
    topic=Head(labels=("Earnings", "Markets")),
    risk=RiskHead(labels=KINDS, slope=2.0, offset=-1.0, kind_slope=0.5, kind_offset=0.25, call_at=0.6, kind_at=0.6),
    mention=Mention(sentiment_temperature=2.0, slope=1.5, offset=-0.5, kind_slope=0.75, kind_offset=-0.25),
    story=StoryHead(dimensions=STORY, slope=10.0, offset=-5.0),
    files={},
)
TWO_HEADS = replace(CARD, name="two", risk=None, mention=None, story=None)


def write(folder: Path, *, without: tuple[str, ...] = (), card: Card = CARD, seed: int = 7) -> Path:
    """The model's folder. ``without``: outputs that the graph shall lack; ``seed``: another has another story."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    onnx.save(_graph(without, seed), str(folder / "model.onnx"))
    files = {name: cards.sha256(folder / name) for name in ("model.onnx", "tokenizer.json")}
    cards.write(folder, replace(card, files=files))
    return folder


def say(folder: Path) -> Path:
    """Writes the golden predictions; there is no half-precision graph of this one, so they are one graph's."""
    texts = ["acme recall", "beta wins", "corp fraud and recall"]
    classifier = load(str(folder), device="cpu", threads=1)
    said = golden.answers(classifier, texts, [[]] * len(texts))
    lines = [msgspec.json.encode(golden.Text(text, one, one)) for text, one in zip(texts, said, strict=True)]
    head = msgspec.json.encode({"graph": classifier.card.digest()})
    (folder / golden.FILE).write_bytes(b"\n".join([head, *lines]) + b"\n")
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(mark, WORDS.index(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _graph(without: tuple[str, ...], seed: int) -> Any:
    table = np.zeros((len(WORDS), 6), np.float32)
    for word, logits in TOKENS.items():
        table[WORDS.index(word)] = logits
    wording = np.random.default_rng(seed).normal(size=(len(WORDS), STORY)).astype(np.float32)
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in (
            ("table", table),
            ("wording", wording),
            ("swap", np.eye(6, 2, dtype=np.float32)),
            ("first", np.array([0], np.int64)),
            ("third", np.array([3], np.int64)),
            ("last", np.array([6], np.int64)),
            ("labels", np.array([-1], np.int64)),
        )
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("ReduceMean", ["tokens"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Slice", ["mean", "first", "third", "labels"], ["sentiment"]),
        helper.make_node("Slice", ["mean", "third", "last", "labels"], ["risk"]),
        helper.make_node("MatMul", ["mean", "swap"], ["topic"]),
        helper.make_node("Gather", ["wording", "input_ids"], ["worded"]),
        helper.make_node("ReduceMean", ["worded"], ["whole"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["whole"], ["story"], axis=1, p=2),
    ]
    sizes = {"sentiment": ["B", 3], "topic": ["B", 2], "risk": ["B", 3], "tokens": ["B", "T", 6], "story": ["B", STORY]}
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in sizes.items()
        if name not in without
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in ("input_ids", "attention_mask")
    ]
    graph = helper.make_graph(nodes, "five", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
