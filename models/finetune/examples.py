"""A user's rows as texts with checked labels, some to learn from and some to judge by."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from models.card import Card, Head, RiskHead
from models.finetune.split import groups, held_back
from models.finetune.table import LABELS, NONE, SPLIT, TEXT, Faults, FinetuneError, Row, read
from models.labels import MIXED, Labels
from models.reading import Span, scoring_text, spans_of

TRAIN, VALID = "train", "valid"
LEAST, LEAST_VALID = 40, 20
"""Rows with a label in a column, to learn from and to judge by: of fewer than twenty one is more than 5 points."""
LEAST_NEW, LEAST_NEW_VALID = 20, 5
"""Rows with a new label: the model starts from nothing there."""
FOREIGN = 0.3
"""Share of a text's letters that are not Latin, from which a model of English alone is not asked."""
LONGEST = 60
"""Characters of a new label, which stands in metrics, on the page and in alerts."""


class Toward(NamedTuple):
    """What is said of one entity of a text."""

    spans: tuple[Span, ...]
    sentiment: str | None = None
    risks: tuple[str, ...] | None = None


class Example(NamedTuple):
    """A text as the model reads it, with the labels it has; None where a column says nothing of it."""

    line: int
    text: str
    sentiment: str | None
    topic: str | None
    risks: tuple[str, ...] | None
    toward: dict[str, Toward]
    split: str

    def labels(self) -> Iterator[tuple[str, str]]:
        """(column, label), of lists without labels NONE."""
        own = [("sentiment", self.sentiment), ("topic", self.topic)]
        own += [("risk", risk) for risk in _named(self.risks)]
        for one in self.toward.values():
            own += [("entity_sentiment", one.sentiment), *[("entity_risk", risk) for risk in _named(one.risks)]]
        return ((column, label) for column, label in own if label is not None)


def _named(risks: Sequence[str] | None) -> Sequence[str | None]:
    return () if risks is None else risks or (NONE,)


class Own(NamedTuple):
    """A user's texts, and the labels that the new model will have."""

    examples: list[Example]
    labels: Labels
    new: tuple[str, ...]
    ignored: tuple[str, ...]
    rows: int
    alike: int
    """Texts that tell nearly the same as one before them."""

    def part(self, split: str) -> list[Example]:
        return [one for one in self.examples if one.split == split]

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Column to label to split to the number of rows."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for one in self.examples:
            for column, label in one.labels():
                by = found.setdefault(column, {}).setdefault(label, {TRAIN: 0, VALID: 0})
                by[one.split] += 1
        return found

    def summary(self) -> dict[str, Any]:
        """The counts, for people and for the card; no text."""
        return {
            "rows": self.rows,
            "texts": len(self.examples),
            TRAIN: len(self.part(TRAIN)),
            VALID: len(self.part(VALID)),
            "alike": self.alike,
            "new_labels": self.new,
            "ignored_columns": self.ignored,
            "labels": self.counts(),
        }


def load(path: Path, card: Card, topics: Sequence[str] = (), risks: Sequence[str] = ()) -> Own:
    """The texts of a file for a model with this card. ``topics``, ``risks``: labels that it has not yet.

    Raises FinetuneError with the count, the first lines and the remedy of everything that is wrong.
    """
    if card.risk is None or card.mention is None or card.story is None:
        raise FinetuneError(f"model {card.name!r} has not all five heads; adapt one that has")
    known = Labels(_with_new("topic", card.topic, topics), _with_new("risk", card.risk, risks))
    faults = Faults(path)
    table = read(path, faults)
    joined = _Joined(faults, known, card.sentiment.labels)
    for row in table.rows:
        joined.add(row)
    examples = joined.examples()
    _check_toward(examples, faults)
    if card.languages == ("en",):
        _check_readable(examples, faults)
    faults.refuse()
    together = groups([one.text for one in examples])
    if not any(SPLIT in row.cells for row in table.rows):
        examples = _split(examples, together)
    alike = sum(place != leader for place, leader in enumerate(together))
    own = Own(examples, known, (*topics, *risks), table.ignored, len(table.rows), alike)
    _check_enough(own, faults)
    faults.refuse()
    return own


def _with_new(column: str, head: Head | RiskHead, new: Sequence[str]) -> tuple[str, ...]:
    taken = {_bare(label): label for label in head.labels}
    for label in new:
        option = f"--new-{column} {label!r}"
        if not _bare(label) or label != label.strip() or len(label) > LONGEST or not label.isprintable():
            raise FinetuneError(f"{option}: a label is 1 to {LONGEST} printable characters, with a letter or figure")
        if ";" in label or _bare(label) in (NONE, MIXED):
            raise FinetuneError(f"{option}: a label is not {NONE!r} or {MIXED!r} and has no ';', which means others")
        if _bare(label) in taken:
            raise FinetuneError(f"{option}: is there as {taken[_bare(label)]!r}; use that, or another name")
        taken[_bare(label)] = label
    return (*head.labels, *new)


def _bare(label: str) -> str:
    """What the names of keys and metrics keep of a label."""
    return re.sub(r"[\W_]+", "", label.casefold())


class _Joined:
    """Rows by text: a text stands in as many rows as it has entities."""

    def __init__(self, faults: Faults, labels: Labels, sentiments: Sequence[str]) -> None:
        self._faults = faults
        self._known = {
            "sentiment": (*sentiments, MIXED),
            "entity_sentiment": (*sentiments, MIXED),
            "topic": labels.topics,
            "risk": (*labels.risks, NONE),
            "entity_risk": (*labels.risks, NONE),
        }
        self._order = {label: place for place, label in enumerate(labels.risks)}
        self._found: dict[str, Example] = {}
        self._halves: set[bool] = set()

    def examples(self) -> list[Example]:
        return list(self._found.values())

    def add(self, row: Row) -> None:
        text = scoring_text(row.cells.get(TEXT) or "")
        if not text:
            self._faults.add("empty", row.line)
            return
        one = Example(
            row.line,
            text,
            self._label(row, "sentiment"),
            self._label(row, "topic"),
            self._risks(row, "risk"),
            self._toward(row, text),
            self._split(row),
        )
        before = self._found.get(text.casefold())
        self._found[text.casefold()] = one if before is None else self._merged(before, one)

    def _label(self, row: Row, column: str) -> str | None:
        label = row.cells.get(column)
        if label is None or self._is_known(row, column, label):
            return label
        return None

    def _is_known(self, row: Row, column: str, label: str) -> bool:
        known = self._known[column]
        if label in known:
            return True
        near = get_close_matches(label.casefold(), [one.casefold() for one in known], 1, 0.6)
        hint = next((one for one in known if near and one.casefold() == near[0]), "")
        told = f"{column} {label[:LONGEST]!r}" + (f" (did you mean {hint!r}?)" if hint else f" (none of {len(known)})")
        self._faults.add("label", row.line, told)
        return False

    def _risks(self, row: Row, column: str) -> tuple[str, ...] | None:
        labels = row.cells.get(column)
        if labels is None:
            return None
        known = [label for label in labels if self._is_known(row, column, label)]
        if NONE in known and len(known) > 1:
            self._faults.add("label", row.line, f"{column} {NONE!r} beside {known[known[0] == NONE]!r}")
        return tuple(sorted((label for label in known if label != NONE), key=self._order.__getitem__))

    def _toward(self, row: Row, text: str) -> dict[str, Toward]:
        name = row.cells.get("entity")
        sentiment, risks = self._label(row, "entity_sentiment"), self._risks(row, "entity_risk")
        if sentiment is None and risks is None:
            return {}
        if name is None:
            self._faults.add("alone", row.line)
            return {}
        spans = spans_of(name, text)
        if not spans:
            self._faults.add("entity", row.line, repr(name[:LONGEST]))
            return {}
        return {name.casefold(): Toward(spans, sentiment, risks)}

    def _split(self, row: Row) -> str:
        split = row.cells.get(SPLIT)
        self._halves.add(split is None)
        if (split is None and len(self._halves) < 2) or split in (TRAIN, VALID):
            return split or TRAIN
        self._faults.add("split", row.line, "" if split is None else repr(split[:LONGEST]))
        return TRAIN

    def _merged(self, before: Example, after: Example) -> Example:
        where = f"lines {before.line} and {after.line}"
        if before.split != after.split:
            self._faults.add("both", after.line, where)
        toward = dict(before.toward)
        for name, one in after.toward.items():
            other = toward.get(name, Toward(one.spans))
            toward[name] = Toward(
                one.spans,
                self._agreed(other.sentiment, one.sentiment, after.line, where),
                self._agreed(other.risks, one.risks, after.line, where),
            )
        return before._replace(
            sentiment=self._agreed(before.sentiment, after.sentiment, after.line, where),
            topic=self._agreed(before.topic, after.topic, after.line, where),
            risks=self._agreed(before.risks, after.risks, after.line, where),
            toward=toward,
        )

    def _agreed(self, one: Any, other: Any, line: int, where: str) -> Any:
        if one is None or other is None or one == other:
            return other if one is None else one
        self._faults.add("contradiction", line, where)
        return one


def _check_toward(examples: Sequence[Example], faults: Faults) -> None:
    for one in examples:
        known = [to.risks for to in one.toward.values() if to.risks is not None]
        if any(one.risks is None or set(risks) - set(one.risks) for risks in known):
            faults.add("toward", one.line)


def _check_readable(examples: Sequence[Example], faults: Faults) -> None:
    for one in examples:
        letters = [sign for sign in one.text if sign.isalpha()]
        latin = sum(sign.isascii() or "LATIN" in unicodedata.name(sign, "") for sign in letters)
        if not letters or latin < (1 - FOREIGN) * len(letters):
            faults.add("unreadable", one.line)


def _split(examples: Sequence[Example], together: Sequence[int]) -> list[Example]:
    labels = [[f"{column} {label}" for column, label in one.labels()] for one in examples]
    back = held_back([one.text for one in examples], labels, together)
    return [one._replace(split=VALID if place in back else TRAIN) for place, one in enumerate(examples)]


def _check_enough(own: Own, faults: Faults) -> None:
    counts = own.counts()
    for column in LABELS:
        if column in counts:
            _check_column(column, counts[column], faults)
    if not counts:
        faults.add("few", 0, "no row has a label")
    for label in own.new:
        found = Counter[str]()
        for column in ("topic", "risk", "entity_risk"):
            found.update(counts.get(column, {}).get(label, {}))
        if found[TRAIN] < LEAST_NEW or found[VALID] < LEAST_NEW_VALID:
            least = f"a new label needs {LEAST_NEW} and {LEAST_NEW_VALID}"
            faults.add("few", 0, f"{label!r} has {found[TRAIN]} to learn from and {found[VALID]} to judge by, {least}")


def _check_column(column: str, counts: dict[str, dict[str, int]], faults: Faults) -> None:
    sums = {split: sum(one[split] for one in counts.values()) for split in (TRAIN, VALID)}
    if sums[TRAIN] < LEAST or sums[VALID] < LEAST_VALID:
        faults.add(
            "few",
            0,
            f"column {column} has {sums[TRAIN]} to learn from and {sums[VALID]} to judge by, a column needs {LEAST} "
            f"and {LEAST_VALID}; without a column split one in five is held back, and texts that tell nearly the same "
            "stay together",
        )
    elif len(counts) == 1:
        faults.add("few", 0, f"column {column} says {next(iter(counts))!r} everywhere; add rows that say otherwise")
    elif column.endswith("risk") and NONE not in counts:
        faults.add("few", 0, f"column {column} has no {NONE!r}; add texts that tell no adverse event")
