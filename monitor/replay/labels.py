"""What is known to have happened, and which alerts found it."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from alerts.baseline import DAY
from monitor.assembly import Parts
from monitor.commands.detect import LineError, day_or_moment, is_day
from monitor.replay.curve import Rang
from monitor.settings import SettingsError
from pipelines.entities import AmbiguousEntityError, EntityConfigError, load_universe, resolve
from pipelines.watch import MARKET, Watch

BEFORE = DAY
AFTER = 3 * DAY
"""An alert of an event's key from a day before its onset (dates are days) to three days after finds it."""

NEEDED = "needed are the columns entity (or key) and onset or onset_date; what and verdict may follow"

VERDICTS = {"": True, "true": True, "false": False, "unsure": None}


class Label(msgspec.Struct, frozen=True):
    """That something happened, or that somebody looked and nothing had."""

    subject: str
    """A company, or a watched key."""
    onset: float
    """Seconds since 1970; of a day without an hour its midnight, UTC."""
    what: str = ""
    dated: bool = False
    """Whether only the day is known."""
    happened: bool = True
    keys: frozenset[str] = frozenset()
    """The watched keys that it is about."""

    @property
    def window(self) -> tuple[float, float]:
        """The time in which an alert would find it."""
        return self.onset - BEFORE, self.onset + AFTER


class Told(NamedTuple):
    """What a file of events says."""

    labels: list[Label]
    """By their onset, each once."""
    unsure: int
    """Rows of which nobody knows."""
    again: int
    """Rows that say of the same company or key and onset what another row said already."""


State = Literal["found", "missed", "unwatched", "outside"]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a label that something happened."""

    label: Label
    state: State
    first: Rang | None = None
    """The alert that found it first."""


def read_labels(path: Path, parts: Parts) -> Told:
    """The labels of a CSV. Raises SettingsError that names line and field, or says that nothing could be found."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            lines = stream.read().decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SettingsError(f"--events {path}: {getattr(error, 'strerror', None) or error}") from None
    if not any(line.strip() for line in lines):
        raise SettingsError(f"--events {path}: is empty; {NEEDED}")
    rows, found, unsure, again = csv.DictReader(lines), dict[tuple[object, float], tuple[int, Label]](), 0, 0
    columns = set(rows.fieldnames or ())
    if not columns & {"entity", "key"} or not columns & {"onset", "onset_date"}:
        raise SettingsError(f"--events {path}: columns {', '.join(rows.fieldnames or ())!r}; {NEEDED}")
    for number, row in enumerate(rows, 2):
        happened = VERDICTS.get((row.get("verdict") or "").strip().lower(), "unknown")
        if happened == "unknown":
            raise SettingsError(f"{path}, line {number}: verdict {row['verdict']!r}: is true, false or unsure")
        if happened is None:
            unsure += 1
            continue
        onset = (row.get("onset") or row.get("onset_date") or "").strip()
        try:
            at = day_or_moment(onset)
        except LineError as error:
            raise SettingsError(f"{path}, line {number}: onset: {error}") from None
        subject = (row.get("key") or row.get("entity") or "").strip()
        try:
            keys = frozenset(keys_of(subject, parts.watch))
        except AmbiguousEntityError as error:
            raise SettingsError(f"{path}, line {number}: entity: {error}") from None
        label = Label(subject, at, row.get("what") or "", is_day(onset), bool(happened), keys)
        before, same = found.setdefault((keys or subject, at), (number, label))
        if same.happened != label.happened:
            raise SettingsError(
                f"{path}, line {number}: verdict {str(label.happened).lower()}, where line {before} says "
                f"{str(same.happened).lower()} of the same company or key and onset; keep the one that holds"
            )
        again += before != number
    labels = sorted((label for _, label in found.values()), key=lambda label: (label.onset, label.subject))
    if not labels:
        raise SettingsError(f"--events {path}: holds no event; give a row each, or leave the option out")
    if not any(label.keys for label in labels):
        raise SettingsError(
            f"--events {path}: none of its {len(labels)} events is about a watched key ({labels[0].subject!r}, …): "
            "nothing could be found; watch these companies, or leave the option out"
        )
    return Told(labels, unsure, again)


def about_events(told: Told) -> Iterator[str]:
    """What was done about the rows of a file of events, a sentence each."""
    if told.unsure:
        yield f"{told.unsure} events are marked unsure: they count nowhere"
    if told.again:
        yield f"{told.again} events are given again, with the same company or key and onset: each counts once"


def keys_of(name: str, watch: Watch) -> set[str]:
    """The keys that a label's subject may have: itself, or all those of the company that it names as an entry of a
    watch-list does: by id, ticker, name or alias. Raises AmbiguousEntityError where it names several."""
    if name in watch.keys:
        return {name}
    if name.casefold() in ("market", "the market"):
        return {MARKET}
    company = _company(name, watch)
    return {
        key
        for key, watched in watch.keys.items()
        if key.startswith("entity:") and company in {entity.id for entity in watched.entities}
    }


def _company(name: str, watch: Watch) -> str | None:
    """The id of the company that a name means; where names clash the user's own company is meant."""
    own = [entity for entity in watch.entities() if entity.custom]
    for known in (own, load_universe()):
        try:
            return resolve(name, known).id
        except AmbiguousEntityError:
            raise
        except EntityConfigError:
            continue
    return None


def match(
    labels: Sequence[Label], rang: Iterable[Rang], begin: float, end: float
) -> tuple[list[Outcome], set[str], set[str]]:
    """What became of each label between two times, and the ids of the alerts that found one, and of those that rang
    only where nothing had happened."""
    alerts = sorted(rang, key=lambda one: (one.at, one.key))
    near = [
        [one for one in alerts if one.key in label.keys and label.window[0] <= one.at < label.window[1]]
        for label in labels
    ]
    found = {one.id for label, those in zip(labels, near, strict=True) if label.happened for one in those}
    wrong = {one.id for label, those in zip(labels, near, strict=True) if not label.happened for one in those} - found
    outcomes = []
    for label, those in zip(labels, near, strict=True):
        state: State = "found" if those else "missed"
        if not label.keys:
            state = "unwatched"
        elif not those and not begin <= label.onset <= end:
            state = "outside"
        if label.happened:
            outcomes.append(Outcome(label, state, those[0] if those else None))
    return outcomes, found, wrong


def scope(labels: Iterable[Label], watch: Watch) -> set[str]:
    """The keys that are judged by labels: those of the kinds that labels speak of. A company's topics count beside it
    only where labels name them."""
    kinds = {_kind(key) for label in labels for key in label.keys}
    kinds = kinds - {"pair"} or kinds
    return {key for key in watch.keys if _kind(key) in kinds}


def _kind(key: str) -> str:
    return "pair" if "/" in key else key.partition(":")[0]
