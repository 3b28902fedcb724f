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
from models import data as texts
from models.card import Card
from models.data import CHINESE, ENTITIES, EVENTS, MOODS, SETS, Row
from models.export import CALIBRATION_TEXTS, MAX_TOKENS, Encoder, encode, measure
from models.figures import (
    Calibration,
    Logits,
    agreement,
    answers,
    calibrate,
    figures,
    headline,
    story_of_pairs,
)

ORIGINS = {
    "sentiment_twitter": ("Twitter Financial News Sentiment", "MIT", "zeroshot/twitter-financial-news-sentiment"),
    "topic_twitter": ("Twitter Financial News Topic", "MIT", "zeroshot/twitter-financial-news-topic"),
    "sentiment_sentfin": ("SEntFiN 1.0", "MIT", "Sinha, Kedas, Kumar and Malo, JASIST 2022"),
    ENTITIES: ("SEntFiN 1.0, sentiment toward entities", "MIT", "the same"),
    EVENTS: ("Adverse events and look-alikes", "Apache-2.0", "this project: models/risk, docs/risk.md"),
    MOODS: ("Moods of headlines, sentences and posts", "Apache-2.0", "this project: models/moods"),
    CHINESE: ("Chinese headlines and posts", "Apache-2.0", "this project: models/chinese"),
}

Written = dict[str, dict[str, list[Row]]]
"""By set and split."""

ORDINARY = 3_000
"""Training texts on which the share of adverse events in ordinary news is estimated."""

LIMITS = [
    "Sentiment is market mood; what is adverse without mood words (an arrest, a probe, a recall) the risk head tells.",
    "Toward a company the tokens of its mention are read; one beyond the window gets the document's (basis: document).",
    "Kinds of events are often missed or mistaken for a neighbour: read them as a hint; whether a text is adverse at "
    "all is told better.",
    "The risk head learned from texts composed by a grammar; its probabilities are moved to the share of adverse texts "
    "among the training tweets and headlines, and to no other.",
    "Texts in other languages are kept and counted, never judged.",
    "Trained on tweets and mostly Indian business headlines of 2008 to 2022; calibration is worse elsewhere.",
]


def assemble(
    run: Path,
    data: Path,
    out: Path,
    name: str,
    version: str,
    *,
    bits: int = 8,
    smooth: bool = False,
    events: Mapping[str, Any] | None = None,
) -> Card:
    """Writes the folder ``out`` and returns its card. ``smooth``: as ``models.export.measure`` has it. ``events``: rows
    by split, the project's own where None."""
    weights = load_file(run / "weights.safetensors")
    config, backbone = (json.loads((run / file).read_text()) for file in ("encoder.json", "backbone.json"))
    training = json.loads((run / "training.json").read_text())
    languages = backbone.pop("languages")
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    out.mkdir(parents=True, exist_ok=True)
    own = events or {split: texts.events(split) for split in ("train", "valid", "test")}
    written = _written(languages, training["recipe"])
    train = [row for part in SETS for row in texts.load(data, part, "train")]
    seen = [*train, *own["train"], *(row for part in written.values() for row in part["train"])]
    parts = _valid_parts(data, own, written)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        calibration = [row.text for row in _drawn(seen, CALIBRATION_TEXTS)]
        ranges = measure(weights, config, encode(tokenizer, calibration), folder, smooth=smooth, bits=bits)
        onnx.save(Encoder(weights, config, kind="int8", ranges=ranges, bits=bits).build(), out / "model.onnx")
        onnx.save(Encoder(weights, config, kind="fp32").build(), folder / "fp32.onnx")
        shutil.copyfile(run / "tokenizer.json", out / "tokenizer.json")
        int8 = {part: answers(out / "model.onnx", tokenizer, rows, MAX_TOKENS) for part, rows in parts.items()}
        fp32 = {part: answers(folder / "fp32.onnx", tokenizer, rows, MAX_TOKENS) for part, rows in parts.items()}
        ordinary = answers(out / "model.onnx", tokenizer, _drawn(train, ORDINARY), MAX_TOKENS)
        by = calibrate(parts, int8, ordinary)
    card = Card(
        name=name,
        version=version,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        description="One encoder, five answers in one pass: sentiment (3 labels), topic (20), adverse events (25), "
        "sentiment and events toward each mentioned company, and an embedding of the story.",
        languages=tuple(languages),
        max_tokens=MAX_TOKENS,
        sentiment=by.sentiment,
        topic=by.topic,
        risk=by.risk,
        mention=by.mention,
        story=story_of_pairs(out / "model.onnx", tokenizer, MAX_TOKENS),
        files={file: cards.sha256(out / file) for file in ("model.onnx", "tokenizer.json")},
        weight_bits=bits,
        backbone=backbone,
        data=_data(data, own["train"], written),
        training=training,
        evaluation=_evaluation(parts, int8, fp32, by),
        limits=LIMITS,
    )
    cards.write(out, card)
    return card


def _evaluation(
    parts: Mapping[str, Sequence[Row]], int8: Mapping[str, Logits], fp32: Mapping[str, Logits], by: Calibration
) -> dict[str, Any]:
    """What the card says of each set: the shipped graph's figures, and how near it is to fp32's."""
    return {
        "sets": {part: figures(part, rows, int8[part], by) for part, rows in parts.items()},
        "fp32": {part: headline(figures(part, rows, fp32[part], by)) for part, rows in parts.items()},
        "int8_agreement": {part: agreement(part, int8[part], fp32[part], by) for part in parts},
        "calibrated_on": "the same valid parts: expect an error of .09 to .12 on texts from elsewhere",
    }


def _written(languages: Sequence[str], recipe: Mapping[str, Any]) -> Written:
    """The project's own texts with several targets that this run learned from."""
    found: Written = {}
    if recipe.get("moods"):
        found[MOODS] = {split: texts.moods(split) for split in ("train", "valid")}
    if "zh" in languages:
        found[CHINESE] = {split: texts.chinese(split) for split in ("train", "valid")}
    return found


def _valid_parts(data: Path, own: Mapping[str, Any], written: Written) -> dict[str, Sequence[Row]]:
    """What a model is judged by, by set."""
    parts: dict[str, Sequence[Row]] = {part: texts.pure(texts.load(data, part, "valid")) for part in SETS}
    parts |= {ENTITIES: texts.mentions(data, "valid"), EVENTS: own["valid"], f"{EVENTS} by hand": own["test"]}
    for name, splits in written.items():
        parts |= texts.by_target(splits["valid"], name)
    return parts


def _drawn(rows: Sequence[Row], count: int) -> list[Row]:
    picks = np.random.default_rng(7).choice(len(rows), min(count, len(rows)), replace=False)
    return [rows[i] for i in picks]


def _data(data: Path, events: Sequence[Row], written: Written) -> list[dict[str, Any]]:
    counts = {part: len(texts.load(data, part, "train")) for part in SETS}
    counts |= {ENTITIES: sum(len(row.mentions) for row in texts.mentions(data, "train")), EVENTS: len(events)}
    counts |= {name: len(splits["train"]) for name, splits in written.items()}
    return [
        {"name": title, "rows": counts[part], "licence": licence, "origin": origin}
        for part, (title, licence, origin) in ORIGINS.items()
        if part in counts
    ]
