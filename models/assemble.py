"""From trained weights to a model's folder: ranges, int8 graph, calibration, evaluation, card."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from models import card as cards
from models.card import Card, Head
from models.data import Row, load, pure, truth
from models.evaluate import report, temperature
from models.export import CALIBRATION_TEXTS, MAX_TOKENS, Encoder, encode, measure
from models.labels import SENTIMENTS, TOPICS
from models.session import feeds, open_session

SETS = {"sentiment_twitter": "sentiment", "topic_twitter": "topic", "sentiment_sentfin": "sentiment"}

ORIGINS = {
    "sentiment_twitter": ("Twitter Financial News Sentiment", "MIT", "zeroshot/twitter-financial-news-sentiment"),
    "topic_twitter": ("Twitter Financial News Topic", "MIT", "zeroshot/twitter-financial-news-topic"),
    "sentiment_sentfin": ("SEntFiN 1.0", "MIT", "Sinha, Kedas, Kumar and Malo, JASIST 2022"),
}

LIMITS = [
    "Sentiment is the market mood of the whole document; toward a company it is the document's (basis: document).",
    "Events without mood words (an arrest, a probe, a recall) are often judged neutral.",
    "English only; texts in other languages are kept and counted, never judged.",
    "Trained on tweets and mostly Indian business headlines of 2008 to 2022; calibration is worse elsewhere.",
]


def assemble(run: Path, data: Path, out: Path, name: str, version: str, *, bits: int = 8) -> Card:
    """Writes the folder ``out`` and returns its card."""
    weights = load_file(run / "weights.safetensors")
    config = json.loads((run / "encoder.json").read_text())
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    out.mkdir(parents=True, exist_ok=True)
    train = [row.text for part in SETS for row in load(data, part, "train")]
    picks = np.random.default_rng(7).choice(len(train), min(CALIBRATION_TEXTS, len(train)), replace=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ranges = measure(weights, config, encode(tokenizer, [train[i] for i in picks]), folder)
        onnx.save(Encoder(weights, config, kind="int8", ranges=ranges, bits=bits).build(), out / "model.onnx")
        onnx.save(Encoder(weights, config, kind="fp32").build(), folder / "fp32.onnx")
        shutil.copyfile(run / "tokenizer.json", out / "tokenizer.json")
        parts = {part: pure(load(data, part, "valid")) for part in SETS}
        int8 = {part: _logits(out / "model.onnx", tokenizer, rows) for part, rows in parts.items()}
        fp32 = {part: _logits(folder / "fp32.onnx", tokenizer, rows) for part, rows in parts.items()}
    temperatures = _temperatures(parts, int8)
    evaluation = {
        "sets": {part: _figures(parts[part], int8[part], SETS[part], temperatures) for part in SETS},
        "fp32_accuracy": {
            part: _figures(parts[part], fp32[part], SETS[part], temperatures)["accuracy"] for part in SETS
        },
        "int8_agreement": {part: _agreement(int8[part], fp32[part], SETS[part]) for part in SETS},
        "calibrated_on": "the same valid parts: expect an error of .09 to .12 on texts from elsewhere",
    }
    card = Card(
        name=name,
        version=version,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        description="One encoder, two heads: financial sentiment (3 labels) and topic (20 labels) in one pass.",
        languages=("en",),
        max_tokens=MAX_TOKENS,
        sentiment=Head(labels=SENTIMENTS, temperature=temperatures["sentiment"], abstain_below=0.5),
        topic=Head(labels=TOPICS, temperature=temperatures["topic"], abstain_below=0.4),
        files={file: cards.sha256(out / file) for file in ("model.onnx", "tokenizer.json")},
        weight_bits=bits,
        backbone={"name": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "parameters": "22.6 M"},
        data=[
            {"name": title, "rows": len(load(data, part, "train")), "licence": licence, "origin": origin}
            for part, (title, licence, origin) in ORIGINS.items()
        ],
        training=json.loads((run / "training.json").read_text()),
        evaluation=evaluation,
        limits=LIMITS,
    )
    cards.write(out, card)
    return card


def _logits(graph: Path, tokenizer: Tokenizer, rows: Sequence[Row]) -> dict[str, Any]:
    """Head to [rows, labels], one text a pass: the int8 graph gives the same in any batch."""
    session = open_session(graph, device="cpu")
    found: dict[str, list[Any]] = {"sentiment": [], "topic": []}
    for ids in encode(tokenizer, [row.text for row in rows]):
        sentiment, topic = session.run(["sentiment", "topic"], feeds([ids]))
        found["sentiment"].append(sentiment[0])
        found["topic"].append(topic[0])
    return {head: np.stack(values).astype(float) for head, values in found.items()}


def _temperatures(parts: Mapping[str, Sequence[Row]], logits: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    found = {}
    for head in ("sentiment", "topic"):
        names = [part for part, of in SETS.items() if of == head]
        stacked = np.concatenate([logits[part][head] for part in names])
        found[head] = temperature(stacked, [label for part in names for label in truth(parts[part])])
    return found


def _figures(
    rows: Sequence[Row], logits: Mapping[str, Any], head: str, temperatures: Mapping[str, float]
) -> dict[str, Any]:
    from models.classifier import softmax

    labels = SENTIMENTS if head == "sentiment" else TOPICS
    return report(softmax(logits[head], temperatures[head]), truth(rows), labels)


def _agreement(a: Mapping[str, Any], b: Mapping[str, Any], head: str) -> float:
    return round(float((a[head].argmax(1) == b[head].argmax(1)).mean()), 4)
