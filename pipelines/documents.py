"""The records that cross process boundaries, and how they become bytes.

Every record is a frozen ``msgspec.Struct`` with a ``schema`` number and is written as JSON, so that any log
tool can read it. Times are ISO 8601 in UTC with milliseconds on the wire and float seconds since 1970 in the
code: ``iso`` and ``epoch`` convert. Readers ignore fields they don't know and refuse a schema number they
don't know (``UnknownSchema``), which sends the record to the dead letters.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec

from alerts.episode import EpisodeEvent
from alerts.exhibits import Exhibit
from models.card import Reference
from models.reading import Span
from pipelines.scored import Risk, ScoredEntity, Sentiment, Topic

SCHEMA = 1

SourceClass = Literal["news", "filing", "social"]

_FORM = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", re.ASCII)

Time = Annotated[
    str,
    msgspec.Meta(
        description="ISO 8601, UTC, milliseconds",
        extra_json_schema={"format": "date-time", "pattern": _FORM.pattern},
    ),
]
"""Its form is for ``decode`` to check, which sees each time once: as a pattern of the type it would be tried on every
time of every record, which takes three times as long as all the rest of decoding."""


class RecordError(ValueError):
    """A record can't be read; ``reason`` is its dead letter's reason."""

    reason = "undecodable"


class UnknownSchema(RecordError):
    """The record's major version is newer than this reader."""

    reason = "unknown_schema"


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


@lru_cache(1_024)  # one document's times are asked for by every key that it is about
def epoch(time: str) -> float:
    """ISO 8601 with an offset as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()


class _Record(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename={"class_": "class"}):
    """Nothing in a record refers back to it, so that the garbage collector need not look at any."""

    schema: int = SCHEMA


class Document(_Record, frozen=True, kw_only=True):
    """One accepted text with its identity and its clocks."""

    id: str
    revision: int = 0
    source: str
    class_: SourceClass
    publisher: str | None = None
    author: str | None = None
    engagement: dict[str, int] = {}
    url: str | None = None
    title: str
    text: str = ""
    language: str
    published: Time
    updated: Time | None = None
    fetched: Time
    at: Time
    """Detection time: when this text counts."""
    backfill: bool = False
    """History: baselines learn from it and nothing opens."""


class ScoredDocument(Document, frozen=True, kw_only=True):
    """A document with its judgement; without one where its language is outside the model's card."""

    scored: Time
    supported: bool
    sentiment: Sentiment | None = None
    topic: Topic | None = None
    abstain: bool = False
    entities: tuple[ScoredEntity, ...] = ()
    signature: bytes
    model: str
    risk: Risk | None = None
    """None where the model has no head for adverse events."""


class Evidence(_Record, frozen=True, kw_only=True):
    """What one document says about one watched key."""

    id: str
    revision: int = 0
    key: str
    class_: SourceClass
    at: Time
    b: float
    """Probability that the document is bad news for the key: by its mood or by an adverse event."""
    relevance: float
    """How much the document is about the key, 0 to 1."""
    signature: bytes
    source: str
    publisher: str | None = None
    """Independent publisher, normalised; None for social authors."""
    by: str | None = None
    """Publisher or author as people know them."""
    title: str
    url: str | None = None
    published: Time
    fetched: Time
    scored: Time
    negative: float
    """Sentiment toward the key's company where the model judged that, else the document's."""
    neutral: float
    positive: float
    backfill: bool = False
    risk: float | None = None
    """Probability of an adverse event for the key; None where the model has no head for them."""
    events: tuple[str, ...] = ()
    """Kinds of adverse events that were named for it, the likeliest first."""
    model: str = ""
    """The one that judged, ``name@sha256[:12]``."""
    mentions: tuple[Span, ...] = ()
    """Where the company of which that is said stands in ``title``; none where it is said of the whole document."""
    rules: tuple[str, ...] = ()
    """Names of the flash rules that it speaks for."""
    also: tuple[tuple[str, float], ...] = ()
    """Other watched keys that the document counts for, with its relevance to each; the market, which all count for, is
    not told."""


class Watermark(_Record, frozen=True, kw_only=True):
    """The log is complete up to ``at``: lets time pass where no item comes."""

    at: Time


class SourceRecord(_Record, frozen=True, kw_only=True):
    """A source's health when it changed, and now and then in between."""

    source: str
    class_: SourceClass
    state: Literal["up", "stale", "down", "stopped"]
    at: Time
    last_success: Time | None = None
    last_new: Time | None = None
    interval: float
    streak: int = 0
    next_poll: Time | None = None
    reason: str | None = None
    items_total: int = 0
    frozen: bool = False
    unread: bool = False
    """Not read once so far, and not failed either: neither well nor lost."""


class SeriesPoint(_Record, frozen=True, kw_only=True):
    """One closed block of one key and class: what was counted against what was expected."""

    key: str
    class_: Literal["news", "social"]
    start: Time
    end: Time
    bad: float
    others: float
    documents: int = 0
    expected: float
    expected_low: float
    expected_high: float
    score: float
    threshold: float
    baseline_span: float
    closed: bool = True
    """False while the block is open: the point comes again with the same start."""
    closed_at: Time | None = None
    """When its key's next block began, which closed it."""
    backfill: bool = False


class Coverage(msgspec.Struct, frozen=True):
    """How much of the tape was seen when an alert was made: of all sources, and of those that its key lives on."""

    sources_expected: int
    sources_healthy: int
    stale: tuple[str, ...] = ()
    backlog_seconds: float = 0.0
    key_sources: int = 0
    """Sources that bring the key's evidence, as far as is known."""
    key_healthy: int = 0
    key_stale: tuple[str, ...] = ()
    key_seen: float = 1.0
    """Share of the key's evidence that comes from sources which can be seen."""
    unread: tuple[str, ...] = ()
    """Sources that are still to be read for the first time: neither healthy nor stale."""


class Candidate(_Record, frozen=True, kw_only=True):
    """An episode's event on its way to the notify stage."""

    event: EpisodeEvent
    rule: str
    exhibits: tuple[Exhibit, ...]
    counter: tuple[Exhibit, ...] = ()
    coverage: Coverage
    model: str
    published: Time | None = None
    fetched: Time | None = None
    scored: Time | None = None
    decided: Time
    resent: bool = False
    """Sent again after a restart; everything downstream is idempotent by id."""
    version: str = ""
    """Of the rule; the detector's has none of its own."""
    budget: float | None = None
    """The rule's false alarms a month; None for the key's own."""
    shared: dict[str, float] = {}
    """Another watched key to the share of the observed evidence that is its own as well: of 64 documents drawn from the
    burst, and up to 64 keys. The market, whose own is all of it, is not told."""
    came: tuple[float, ...] = ()
    """By when so much of the observed evidence had come, of the same documents: a sixteenth, two sixteenths, all of it;
    seconds since 1970."""


class Operation(_Record, frozen=True, kw_only=True):
    """Something to be told about the daemon itself: an ``ops.*`` event."""

    type: Literal[
        "ops.source_stale",
        "ops.source_recovered",
        "ops.pipeline_lag",
        "ops.channel_disabled",
        "ops.model_drift",
        "ops.model_drift_resolved",
    ]
    at: Time
    subject: str
    summary: str
    severity: Literal["info", "warning", "error", "critical"] = "warning"
    details: dict[str, Any] = {}


class Reading(_Record, frozen=True, kw_only=True):
    """What the texts of one batch were to the model, by class and measure: how many fell into which bin."""

    at: Time
    model: str
    bins: int
    """Version of the bins."""
    counts: dict[Literal["news", "social"], dict[str, list[int]]] = {}
    reference: Reference | None = None
    """The card's, with the first batch that a process scores with a model."""


CommandKind = Literal[
    "silence",
    "expire_silence",
    "retry_delivery",
    "feedback",
    "enable_channel",
    "retry_dead_letter",
    "reload",
    "use_model",
]


class Command(_Record, frozen=True, kw_only=True):
    """What an operator asked for; the notify stage applies it, and the view remembers it.

    ``retry_dead_letter``: the dead letter with the offset ``subject`` was written to its topic again. ``reload``,
    ``use_model``: that was done already, and is told for the audit log alone.
    """

    kind: CommandKind
    at: Time
    subject: str
    details: dict[str, Any] = {}


class AlertRecord(_Record, frozen=True, kw_only=True):
    """An alert event after silences and routing, with the body that webhooks get."""

    id: str
    """The event id, which is the ``webhook-id``."""
    type: str
    key: str
    at: Time
    alert: str
    """The episode's id, constant from firing to resolved; empty for operational events."""
    severity: str
    watchlists: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    silenced_by: str | None = None
    body: msgspec.Raw
    merged_into: str | None = None
    """The alert that tells of it as well; with one it is recorded, and told to nobody by itself."""


class DeadLetter(_Record, frozen=True, kw_only=True):
    """A record that could not be handled, with its bytes."""

    id: str
    stage: str
    reason: str
    detail: str
    at: Time
    topic: str
    payload: bytes


class _Numbered(msgspec.Struct, frozen=True):
    """Any record, as far as its version."""

    schema: int = SCHEMA


R = TypeVar("R", bound=msgspec.Struct)

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What bytes raise that are no record; the last, nested a thousandfold."""

_encoder = msgspec.json.Encoder()
encode = _encoder.encode


@cache
def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)


@cache
def _times(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a record that are times."""
    return tuple(name for name, hint in get_type_hints(kind, include_extras=True).items() if _is_time(hint))


def _is_time(hint: Any) -> bool:
    return hint == Time or Time in get_args(hint)


def decode(kind: type[R], value: bytes) -> R:
    """Bytes to a record; raises RecordError for bytes that are none, UnknownSchema for a newer one."""
    try:
        record: R = _decoder(kind).decode(value)
    except _UNREADABLE as error:
        with contextlib.suppress(*_UNREADABLE):
            # A newer version may well have other fields: its number says more than what they lack here.
            _check(kind, _decoder(_Numbered).decode(value).schema)
        raise RecordError(f"not a {kind.__name__}: {error}") from error
    _check(kind, getattr(record, "schema", SCHEMA))
    names = _times(kind)
    if wrong := _untimely(names, tuple([getattr(record, name) for name in names])):
        raise RecordError(f"not a {kind.__name__}: {wrong}")
    return record


@lru_cache(1_024)  # one document's times stand in every record that tells of it
def _untimely(names: tuple[str, ...], moments: tuple[str | None, ...]) -> str:
    """Which of a record's times is none, and why; nothing where all are."""
    for name, moment in zip(names, moments, strict=True):
        if moment is not None and (why := _no_time(moment)):
            return f"{name} {moment!r} is no time: {why}"
    return ""


@lru_cache(1_024)  # and what was scored or fetched together was so at one time
def _no_time(moment: str) -> str:
    if _FORM.fullmatch(moment) is None:
        return "it is written as 2026-01-31T12:00:00.000Z"
    try:
        epoch(moment)
    except ValueError as error:  # 2026-99-99 has the form of a day and is none
        return str(error)
    return ""


def _check(kind: type[msgspec.Struct], schema: int) -> None:
    if not 0 < schema <= SCHEMA:
        raise UnknownSchema(f"{kind.__name__} of schema {schema}; this version reads up to {SCHEMA}")
