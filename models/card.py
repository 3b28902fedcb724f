"""The model's card: what it is, what it was trained on, how well it does, and the hash of every file.

ModelError
+-- CardError       a card that can't be read, or a file that is missing, foreign or changed
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

CARD = "card.json"
WEIGHTS = Path(__file__).parent / "weights"


class ModelError(Exception):
    """A model can't be used."""


class CardError(ModelError):
    """A model's folder is not what its card says."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """One head: its labels in the order of its outputs, and how its logits become probabilities."""

    labels: tuple[str, ...]
    temperature: float = 1.0
    abstain_below: float = 0.0
    """Probability of the best label below which the judgement is marked as abstaining."""


class Platt(msgspec.Struct, frozen=True, kw_only=True):
    """How logits of adverse events become probabilities: sigmoid(slope * logit + offset) (Platt 1999)."""

    slope: float = 1.0
    offset: float = 0.0
    kind_slope: float = 1.0
    """The same for every kind of event, pooled: most kinds are too rare for a slope of their own."""
    kind_offset: float = 0.0


class RiskHead(Platt, frozen=True, kw_only=True):
    """Adverse events: output 0 is "any of them", outputs 1 and on are the kinds of ``labels``."""

    labels: tuple[str, ...]
    call_at: float = 0.5
    """Probability of any event from which a text is called adverse."""
    kind_at: float = 0.5
    """Probability of a kind from which it is named."""


class Mention(Platt, frozen=True, kw_only=True):
    """What a text says of one company in it: sentiment, and the kinds of ``RiskHead``, each by its own calibration."""

    sentiment_temperature: float = 1.0


class StoryHead(msgspec.Struct, frozen=True, kw_only=True):
    """The story embedding: P(same story) = sigmoid(slope * cosine + offset), for two headlines about one company within
    48 hours."""

    dimensions: int
    slope: float
    offset: float


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What the texts are to the model on which it was validated: what the drift watch compares live ones with."""

    bins: int
    """Version of the bins (``models.measures``); a reference with others is no reference."""
    parts: dict[str, dict[str, tuple[int, ...]]]
    """Set to measure to texts by bin."""
    centres: bytes = b""
    """Story embeddings in the midst of ordinary texts, one after another, each as ``Prediction`` has it."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A model's card. ``files``: name in the model's folder to sha256; a head that is None the graph has not."""

    schema: int = 1
    name: str
    version: str
    created: str
    description: str
    languages: tuple[str, ...]
    max_tokens: int
    sentiment: Head
    topic: Head
    risk: RiskHead | None = None
    mention: Mention | None = None
    story: StoryHead | None = None
    files: dict[str, str]
    weight_bits: int = 8
    backbone: dict[str, str] = {}
    data: list[dict[str, Any]] = []
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    reference: Reference | None = None
    limits: list[str] = []
    parent: dict[str, str] = {}
    """Of a model that was adapted: name, version and sha256 of the one that it was made of."""
    licence: str = "Apache-2.0"

    @property
    def risks(self) -> tuple[str, ...]:
        """The kinds of adverse events that it names; none without a head for them."""
        return self.risk.labels if self.risk is not None else ()

    def digest(self) -> str:
        """Hash of the graph, which names the model together with ``name``."""
        return self.files["model.onnx"]

    def identity(self) -> str:
        """``name@sha256[:12]``, by which records and metrics name the model."""
        return f"{self.name}@{self.digest()[:12]}"


def folder_of(name_or_path: str) -> Path:
    """The folder of a shipped model by its name, or of any other by its path."""
    path = Path(name_or_path)
    if path.is_dir():
        return path
    shipped = WEIGHTS / name_or_path
    if "/" not in name_or_path and shipped.is_dir():
        return shipped
    known = ", ".join(names()) or "none"
    raise CardError(f"no model {name_or_path!r}: neither a folder nor a shipped model ({known})")


def names() -> list[str]:
    """The shipped models."""
    return sorted(path.parent.name for path in WEIGHTS.glob(f"*/{CARD}"))


def read(folder: Path) -> Card:
    path = folder / CARD
    try:
        return msgspec.json.decode(path.read_bytes(), type=Card)
    except FileNotFoundError:
        raise CardError(f"{path}: not found; a model's folder holds {CARD}, model.onnx and tokenizer.json") from None
    except msgspec.DecodeError as error:
        raise CardError(f"{path}: {error}") from error
    except OSError as error:
        raise CardError(_closed(path, error)) from None


def _closed(path: Path, error: OSError) -> str:
    return f"{path}: can't be read: {error.strerror or error}; give it to the account that this runs as"


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(folder: Path) -> Card:
    """The card of a folder whose every file is there, is a plain file, and has the hash that the card gives."""
    card = read(folder)
    for needed in ("model.onnx", "tokenizer.json"):
        if needed not in card.files:
            raise CardError(f"{folder / CARD}: lists no {needed}")
    for name, expected in card.files.items():
        path = folder / name
        if Path(name).name != name:
            raise CardError(f"{folder / CARD}: {name!r} lies outside the model's folder")
        if path.is_symlink() or not path.is_file():
            raise CardError(f"{path}: missing, or not a plain file; install or export the model again")
        try:
            found = sha256(path)
        except OSError as error:
            raise CardError(_closed(path, error)) from None
        if found != expected:
            raise CardError(
                f"{path}: was changed (sha256 {found[:12]}…, the card says {expected[:12]}…); "
                "install or export the model again"
            )
    return card


def write(folder: Path, card: Card) -> None:
    """Writes the card, and its readable form beside it."""
    encoded = msgspec.json.format(msgspec.json.encode(card), indent=2)
    (folder / CARD).write_bytes(encoded + b"\n")
    (folder / "README.md").write_text(readable(card))


def _answers(card: Card) -> list[str]:
    """What the model has heads for."""
    found = [f"sentiment: {', '.join(card.sentiment.labels)}", f"topic: {len(card.topic.labels)} labels"]
    if card.risk is not None:
        found.append(
            f"adverse events: any (called from {card.risk.call_at:g}) and {len(card.risk.labels)} kinds "
            f"(named from {card.risk.kind_at:g})"
        )
    if card.mention is not None:
        found.append("what is said of each company in a text")
    if card.story is not None:
        found.append(f"story embedding of {card.story.dimensions} dimensions")
    return found


def readable(card: Card) -> str:
    """The card as a page."""
    lines = [f"# {card.name} {card.version}", "", card.description, ""]
    lines += [f"Languages: {', '.join(card.languages)}. Window: {card.max_tokens} tokens. Licence: {card.licence}.", ""]
    if card.parent:
        parent = f"{card.parent['name']}@{card.parent['sha256'][:12]}"
        lines += [f"Adapted from {parent}, version {card.parent['version']}.", ""]
    lines += ["## Answers", "", *[f"- {line}" for line in _answers(card)], ""]
    lines += ["## Trained on", ""]
    lines += [f"- {entry['name']}: {entry['rows']} rows, {entry['licence']}. {entry['origin']}" for entry in card.data]
    lines += ["", "## Evaluation", ""]
    sets = card.evaluation.get("sets", {})
    lines += ["| set | n | accuracy | 95 % interval | macro F1 | ECE | answered | accuracy on them |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    lines += [_judged(card, name, figures) for name, figures in sets.items() if "any" not in figures]
    lines += [line for name, figures in sets.items() if "any" in figures for line in _events(name, figures)]
    lines += _compared(card.evaluation.get("compared", {}))
    agreement = card.evaluation.get("int8_agreement", {})
    if agreement:
        shares = ", ".join(f"{name} {share:.4f}" for name, share in agreement.items())
        lines += ["", f"Labels equal to fp32's: {shares}."]
    if card.reference is not None:
        sets = ", ".join(card.reference.parts)
        lines += ["", f"Live texts are compared with what it made of the valid parts of {sets} (docs/models.md)."]
    lines += ["", "## Limits", "", *[f"- {limit}" for limit in card.limits], ""]
    return "\n".join(lines)


def _judged(card: Card, name: str, figures: Mapping[str, Any]) -> str:
    """Of a set with one label a text. Cards of older exports have neither intervals nor coverage."""
    head = card.topic if name.startswith("topic") else card.sentiment
    interval = " to ".join(f"{edge:.4f}" for edge in figures.get("interval", ()))
    kept = [one for one in figures.get("coverage", ()) if one[0] <= head.abstain_below]
    answered = f"{kept[-1][1]:.3f} | {kept[-1][2]:.4f}" if kept else " | "
    values = f"{figures['accuracy']:.4f} | {interval} | {figures['macro_f1']:.4f} | {figures['ece']:.4f}"
    return f"| {name} | {figures['n']} | {values} | {answered} |"


def _compared(compared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of a model that was adapted: what it was before and is after."""
    if not compared:
        return []
    lines = ["", "### Before and after", "", "| set | figure | before | after |", "|---|---|---|---|"]
    return lines + [
        f"| {name} | {figure} | {values['before']:.4f} | {values['after']:.4f} |"
        for name, figures in compared.items()
        for figure, values in figures.items()
        if isinstance(values, Mapping)
    ]


def _events(name: str, figures: Mapping[str, Any]) -> list[str]:
    """Adverse events: whether there is one, toward whom, and each kind."""
    lines = ["", f"### {name}", "", "| adverse | n | positives | precision | recall | F1 | average precision |"]
    lines.append("|---|---|---|---|---|---|---|")
    shown = {part: figures[part] for part in ("any", "mention", "kinds", "mention_kinds")} | figures["per_kind"]
    return lines + [
        f"| {part} | {one['n']} | {one['positives']} | {one['precision']:.3f} | {one['recall']:.3f} | {one['f1']:.3f} "
        f"| {one['average_precision']:.3f} |"
        for part, one in shown.items()
    ]
