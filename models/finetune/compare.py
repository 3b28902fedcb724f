"""How good a model was before it learned and is after it: on the user's valid part, and on what it had learned before.

Both are judged as they run, by their int8 graphs, each with its own calibration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models import data as texts
from models.card import Card, Head, Mention, RiskHead
from models.data import ENTITIES, EVENTS, Row, pure, truth
from models.evaluate import best_threshold, temperature
from models.figures import Calibration, Logits, figures, platt_of, pure_mentions, right
from models.finetune.table import FinetuneError
from models.finetune.targets import ABSENT, OWN, widened
from models.heads import logistic
from models.labels import Labels

ENOUGH = 100
"""Judged rows from which a temperature is fitted; with fewer the former one is the better guess."""
BY_HAND = f"{EVENTS} by hand"


class WorseError(FinetuneError):
    """The model got worse on the user's own valid part."""


def parts_of(own: Sequence[Row], original: Path | None, labels: Labels) -> dict[str, list[Row]]:
    """Texts to judge by, by what is judged of them: the user's, then those of what was learned before."""
    parts = {
        f"sentiment_{OWN}": [row._replace(topic=None) for row in pure([row for row in own if row.sentiment])],
        f"topic_{OWN}": [row for row in own if row.topic is not None],
        f"entity_sentiment_{OWN}": [row for row in own if any(one.sentiment for one in row.mentions)],
        f"events_{OWN}": [_with_events(row) for row in own if row.risks],
    }
    if original is not None:
        parts |= {name: pure(texts.load(original, name, "valid")) for name in texts.SETS}
        parts[ENTITIES] = texts.mentions(original, "valid")
    parts |= {
        EVENTS: widened(texts.events("valid"), labels, ABSENT),
        BY_HAND: widened(texts.events("test"), labels, ABSENT),
    }
    return {name: rows for name, rows in parts.items() if rows}


def _with_events(row: Row) -> Row:
    return row._replace(mentions=tuple(one for one in row.mentions if one.risks))


def calibration_of(card: Card, labels: Labels) -> Calibration:
    """A card's, with labels that it has not."""
    assert card.risk is not None and card.mention is not None  # noqa: S101 (``examples.load`` refused others)
    return Calibration(
        card.sentiment,
        msgspec.structs.replace(card.topic, labels=labels.topics),
        msgspec.structs.replace(card.risk, labels=labels.risks),
        card.mention,
    )


def recalibrated(
    by: Calibration, parts: Mapping[str, Sequence[Row]], before: Mapping[str, Logits], after: Mapping[str, Logits]
) -> Calibration:
    """Calibration of what was learned, on the same valid parts.

    The odds of events keep their distance from those of the project's valid texts, two in five of which are adverse:
    that was the share of ordinary news when the model was made, and what a user labels says nothing of it.
    """
    found, known = _events(parts, after)
    was, _ = _events({EVENTS: parts[EVENTS]}, before)
    moved = by.risk.offset - platt_of(was.risk, np.array([row.risks for row in parts[EVENTS]]), 0.0)["offset"]
    risk = RiskHead(labels=by.risk.labels, call_at=by.risk.call_at, **platt_of(found.risk, known, moved))
    toward = np.array([one.risks for one in found.targets])
    kinds = logistic(found.risk[:, 1:], risk.kind_slope, risk.kind_offset)
    sentiments = [name for name in parts if name.startswith("sentiment")]
    return Calibration(
        _tempered(by.sentiment, [(after[name].sentiment, truth(parts[name])) for name in sentiments]),
        _tempered(by.topic, [(after[name].topic, truth(parts[name])) for name in parts if name.startswith("topic")]),
        msgspec.structs.replace(risk, kind_at=best_threshold(kinds.reshape(-1), known[:, 1:].reshape(-1))),
        Mention(
            sentiment_temperature=_temperature(
                by.mention.sentiment_temperature,
                [pure_mentions(after[name]) for name in parts if name.startswith("entity")],
            ),
            **platt_of(found.mention_risk, toward, moved),
        ),
    )


def _events(parts: Mapping[str, Sequence[Row]], seen: Mapping[str, Logits]) -> tuple[Logits, Any]:
    """Answers to all valid texts whose events are known, and these."""
    names = [name for name in (EVENTS, f"events_{OWN}") if name in parts]
    found = seen[names[0]]
    for name in names[1:]:
        other = seen[name]
        found = Logits(*(_joined(one, two) for one, two in zip(found, other, strict=True)))
    return found, np.array([row.risks for name in names for row in parts[name]])


def _joined(one: Any, two: Any) -> Any:
    return [*one, *two] if isinstance(one, list) else np.concatenate([one, two])


def _tempered(head: Head, judged: Sequence[tuple[Any, Sequence[int]]]) -> Head:
    return msgspec.structs.replace(head, temperature=_temperature(head.temperature, judged))


def _temperature(former: float, judged: Sequence[tuple[Any, Sequence[int]]]) -> float:
    labels = [label for _, labels in judged for label in labels]
    return former if len(labels) < ENOUGH else temperature(np.concatenate([logits for logits, _ in judged]), labels)


class Compared(NamedTuple):
    """What is judged, the model's figures before and after, and how many answers it gained and lost."""

    name: str
    before: dict[str, Any]
    after: dict[str, Any]
    gained: int
    lost: int

    @property
    def worse(self) -> bool:
        """More answers lost than chance would take: by more than one standard error (McNemar 1947)."""
        return self.lost - self.gained > math.sqrt(self.lost + self.gained)

    def own(self) -> bool:
        return self.name.endswith(f"_{OWN}")


def compare(
    parts: Mapping[str, Sequence[Row]],
    before: tuple[Mapping[str, Logits], Calibration],
    after: tuple[Mapping[str, Logits], Calibration],
) -> list[Compared]:
    found = []
    for name, rows in parts.items():
        was, is_ = (right(name, rows, seen[name], by) for seen, by in (before, after))
        old, new = (figures(name, rows, seen[name], by) for seen, by in (before, after))
        found.append(Compared(name, old, new, int((~was & is_).sum()), int((was & ~is_).sum())))
    return found


def check(compared: Sequence[Compared]) -> None:
    """Raises WorseError where the user's own valid part is judged worse than before."""
    own = [one for one in compared if one.own()]
    worse = [one for one in own if one.worse]
    if not worse and sum(one.gained for one in own) < sum(one.lost for one in own):
        worse = own
    if worse:
        told = "; ".join(f"{one.name}: {one.gained} answers gained, {one.lost} lost" for one in worse)
        raise WorseError(
            f"the model got worse on your own valid part ({told}); it was not exported. Add texts of what it got "
            "wrong, look for labels that contradict each other, or export it as it is with --keep-anyway"
        )


def table(compared: Sequence[Compared]) -> str:
    """Before and after, for people."""
    lines = [f"{'':26} {'n':>6} {'':12} {'before':>7} {'after':>7} {'gained':>7} {'lost':>5}"]
    for one in compared:
        moved: tuple[Any, ...] = (one.gained, one.lost)
        for figure, count, was, is_ in _figures(one):
            lines.append(f"{one.name:26} {count:6} {figure:12} {was:7.4f} {is_:7.4f} {moved[0]:>7} {moved[1]:>5}")
            moved = ("", "")
    return "\n".join(lines)


def _figures(one: Compared) -> Iterator[tuple[str, int, float, float]]:
    if "any" not in one.after:
        for figure in ("accuracy", "macro_f1", "ece"):
            yield figure, one.after["n"], one.before[figure], one.after[figure]
        return
    for part in ("any", "mention", "kinds", "mention_kinds"):
        if one.after[part]["n"]:
            yield f"{part} f1", one.after[part]["n"], one.before[part]["f1"], one.after[part]["f1"]


def summary(compared: Sequence[Compared]) -> dict[str, dict[str, Any]]:
    """Before and after, for the card."""
    return {
        one.name: {figure: {"before": was, "after": is_} for figure, _, was, is_ in _figures(one)}
        | {"gained": one.gained, "lost": one.lost}
        for one in compared
    }
