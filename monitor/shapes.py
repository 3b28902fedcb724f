"""What the API's answers hold, as its OpenAPI document tells it and as ``monitor.client`` reads it.

Records that go through the log are told as they are there (``pipelines.documents``, docs/schemas); times in those of
deliveries and silences are seconds since 1970, all others ISO 8601 in UTC. ``next`` of a list is the cursor to what
follows, null at its end.

A type stands here only where its answer is no record as it is: documents are told without their text, their signature
and what the log alone needs, and with the keys that they count for; events with a body that is typed (the record's is
raw bytes); deliveries without the body; dead letters with their number.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from alerts.body import AlertBody
from alerts.outbox import DeliveryAttempt
from alerts.rules import Silence
from alerts.verdicts import Said, Verdict
from pipelines.audit import Entry
from pipelines.documents import SeriesPoint, SourceClass, SourceRecord, Time
from pipelines.power import Answer
from pipelines.scored import Risk, Sentiment, Topic


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as RFC 9457 has it. What is wrong with a parameter names it, its value and what is allowed."""

    type: str
    title: str
    status: int
    detail: str = ""
    parameter: str | None = None
    value: str | None = None
    allowed: str | None = None


class Lag(msgspec.Struct, frozen=True):
    seconds: float
    records: int


class SourcesSeen(msgspec.Struct, frozen=True):
    expected: int
    healthy: int
    unread: int


class ModelInUse(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    since: str
    by: str
    configured: str
    before: str | None = None
    languages: dict[str, str] = {}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is."""

    version: str
    uptime_seconds: float
    time: Time
    engine: str
    parts: list[str]
    stands_by: list[str]
    model: str
    model_in_use: ModelInUse
    languages: list[str]
    configuration: str
    """The first twelve digits of the SHA-256 of the resolved settings."""
    ready: bool
    reasons: list[str]
    lag: dict[str, Lag]
    coverage: SourcesSeen
    watched_keys: int
    outbox: dict[str, int]
    min_open_seconds: float
    false_alarms_per_key_month: float


class Sources(msgspec.Struct, frozen=True):
    sources: list[SourceRecord]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    name: str
    version: str
    digest: str
    languages: list[str]
    origin: str
    folder: str
    added: str | None
    in_use: bool
    before: bool
    judges: str | None
    problem: str | None


class Models(msgspec.Struct, frozen=True):
    models: list[Model]
    in_use: ModelInUse


class Measure(msgspec.Struct, frozen=True):
    measure: str
    reference: str
    effect: float
    limit: float


class Drifted(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    model: str
    class_: str
    blocks_learned: int
    blocks_needed: int
    rings_since: dict[str, str]
    measures: list[Measure]


class Drift(msgspec.Struct, frozen=True):
    drift: list[Drifted]


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    schema: int
    id: str
    type: str
    key: str
    at: Time
    alert: str
    severity: str
    watchlists: list[str] = []
    channels: list[str] = []
    silenced_by: str | None = None
    merged_into: str | None = None


class Event(_Event, frozen=True, kw_only=True):
    """An event of an alert, with the body that webhooks get."""

    body: AlertBody


class AnyEvent(_Event, frozen=True, kw_only=True):
    """An event of an alert, or one about the daemon itself: docs/schemas/alert.schema.json has its body."""

    body: dict[str, Any]


class Alerts(msgspec.Struct, frozen=True):
    alerts: list[Event]
    next: str | None = None


class Alert(msgspec.Struct, frozen=True):
    events: list[AnyEvent]
    attempts: list[DeliveryAttempt]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A watched key as it stands."""

    key: str
    name: str
    topic: str | None
    watchlists: list[str]
    firing: str | None
    """The severity, where it fires."""
    score: float
    threshold: float | None
    baseline_span: float
    sentiment_index: float | None
    latest: SeriesPoint | None


class Keys(msgspec.Struct, frozen=True):
    keys: list[Key]
    next: str | None = None


class Series(msgspec.Struct, frozen=True):
    key: str
    series: list[SeriesPoint]
    next: str | None = None


class Power(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    name: str | None = None
    computed: Time | None = None
    configuration: str | None = None
    answers: list[Answer] = []
    state: Literal["computing"] | None = None
    """With 202: not known yet."""


class Posted(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """A document as it is pushed: title or text has to be there. What else it has is left out."""

    title: str | None = None
    text: str | None = None
    id: str | None = None
    """Told again under the same id it is a revision; without one its address or its words make one."""
    url: str | None = None
    published: str | float | None = None
    """ISO 8601, or seconds since 1970; now, where there is none."""
    publisher: str | None = None
    author: str | None = None
    class_: SourceClass | None = None
    language: str | None = None
    engagement: dict[str, int] | None = None


class DocumentEntity(msgspec.Struct, frozen=True):
    id: str
    name: str
    sentiment: str
    basis: str
    events: list[str] = []


class Document(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """A document with its judgement; without one where its language is not judged."""

    id: str
    revision: int
    at: Time
    published: Time
    fetched: Time
    source: str
    class_: SourceClass
    publisher: str | None
    author: str | None
    title: str
    url: str | None
    language: str
    supported: bool
    sentiment: Sentiment | None
    topic: Topic | None
    risk: Risk | None
    entities: list[DocumentEntity]
    backfill: bool
    keys: list[str] = []
    """Watched keys that it counts for."""
    reprints: int = 0
    """Other documents that told the same headline on its day (UTC)."""


class Documents(msgspec.Struct, frozen=True):
    documents: list[Document]
    next: str | None = None


class ListedSilence(Silence, frozen=True, kw_only=True):
    state: Literal["active", "over"]


class Silences(msgspec.Struct, frozen=True):
    silences: list[ListedSilence]
    next: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed to a channel and what became of it; times in seconds since 1970, 0 for what never was."""

    id: str
    key: str | None
    summary: str | None
    schema: int
    event: str
    channel: str
    type: str
    order: str
    created: float
    published: float | None
    attempts: int
    unscheduled: int
    due: float
    state: Literal["pending", "standing", "delivered", "failed"]
    reason: str
    settled: float | None
    resend: float | None
    told: float | None


class Deliveries(msgspec.Struct, frozen=True):
    deliveries: list[Delivery]
    next: str | None = None


class WaitingLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter; its payload in base64."""

    number: int
    schema: int
    id: str
    stage: str
    reason: str
    detail: str
    at: Time
    topic: str
    payload: str


class DeadLetters(msgspec.Struct, frozen=True):
    dead_letters: list[WaitingLetter]
    next: str | None = None


class Audit(msgspec.Struct, frozen=True):
    audit: list[Entry]
    next: str | None = None


class Judged(msgspec.Struct, frozen=True):
    alert: str
    verdict: Said | None
    """The one that counts."""
    verdicts: list[Verdict]


class Feedback(msgspec.Struct, frozen=True):
    feedback: list[Verdict]
    next: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    all: dict[str, Any]
    watchlists: dict[str, dict[str, Any]]
    no_watchlist: dict[str, Any]


class Named(msgspec.Struct, frozen=True):
    """The id of what was made or asked for."""

    id: str


class Given(msgspec.Struct, frozen=True):
    id: str
    alert: str


class Switched(ModelInUse, frozen=True, kw_only=True):
    model: str
    until_now: str


class Reloaded(msgspec.Struct, frozen=True):
    changed: list[str]
    """Sections of the settings."""
