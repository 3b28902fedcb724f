"""The bodies that receivers get: an alert, an operational event, a test ping.

Their JSON Schema is generated from these types (``make docs``). All times are ISO 8601 in UTC with
milliseconds; probabilities and shares lie between 0 and 1.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict, get_args

import msgspec

from alerts.episode import Reason, Severity
from alerts.rules import RuleKind
from alerts.wording import Time

AlertType = Literal["alert.firing", "alert.updated", "alert.resolved"]
OperationType = Literal[
    "ops.source_stale",
    "ops.source_recovered",
    "ops.pipeline_lag",
    "ops.channel_disabled",
    "ops.model_drift",
    "ops.model_drift_resolved",
    "test.ping",
]
ROUTED: tuple[str, ...] = tuple(kind for kind in get_args(AlertType) + get_args(OperationType) if kind != "test.ping")
"""What routes decide on: every event but the ping, which goes to the channel that is tried."""

Cut = Literal["headlines", "stories", "counter", "links", "entities", "watchlists", "stale", "details", "merged"]
Unexplained = Literal["model", "headline", "length", "time"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One story that speaks for an alert, or against it."""

    id: str
    """Id of the document."""
    headline: str
    source: str
    """Configured source that brought it."""
    publisher: str | None = None
    url: str | None = None
    published: Time
    first_seen: Time
    reprints: Count = 0
    """Further copies of the story, which count for nothing."""
    publishers: Count = 1
    """Publishers that told it, those that reprint it among them."""
    negative: Share
    neutral: Share
    positive: Share
    nats: float = 0.0
    """What it contributed to the score; 0 for counter-evidence."""
    social: bool = False
    """A post, not a publisher's story."""
    risk: Share | None = None
    """Probability of an adverse event for the subject; null where the model has no head for them."""
    events: tuple[str, ...] = ()
    """Kinds of adverse events that it tells, the likeliest first."""
    why: tuple[tuple[Count, Count, Share], ...] | None = None
    """The phrases that make the headline bad news, as (start, end, weight) in its code points: the part of the
    probability of bad news that goes with them. Null where it was not explained, and for counter-evidence."""
    unexplained: Unexplained | None = None
    """Why it was not."""


class SubjectEntity(TypedDict):
    """A company: its stable id, its name, its tickers."""

    id: str
    name: str
    tickers: list[str]


class SubjectData(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert is about."""

    key: str
    """The watched key: ``entity:ACME``, ``topic:…``, ``entity:ACME/topic:…``, ``list:…`` or ``market``."""
    name: str
    entities: tuple[SubjectEntity, ...]
    topic: str | None
    watchlists: tuple[str, ...]


class CoverageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the tape was seen when an alert was decided: of all sources, and of those the subject lives on."""

    sources_expected: int
    sources_healthy: int
    stale: tuple[str, ...] = ()
    backlog_seconds: float = 0.0
    subject_sources: int = 0
    subject_healthy: int = 0
    subject_stale: tuple[str, ...] = ()
    subject_seen: float = 1.0
    unread: tuple[str, ...] = ()


class Coverage(msgspec.Struct, frozen=True):
    """How much of the tape was seen when an alert was made."""

    sources_expected: Count
    sources_healthy: Count
    stale: tuple[str, ...] = ()
    backlog_seconds: float = 0.0
    late: bool = False
    """Made from a backlog of more than a minute."""
    degraded: bool = False
    """Late, or made while sources were missing."""
    subject_sources: Count = 0
    """Sources that bring the subject's evidence, as far as is known."""
    subject_healthy: Count = 0
    subject_stale: tuple[str, ...] = ()
    subject_seen: Share = 1.0
    """Share of the subject's evidence that comes from sources which could be seen."""
    unread: tuple[str, ...] = ()
    """Sources still to be read for the first time, as after a start; stale once that takes too long."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What made the alert."""

    version: str
    """Of tapewatch."""
    model: str
    """Name and digest of the classifier: ``name@sha256[:12]``."""
    detector: str
    configuration: str
    """SHA-256 of the resolved settings."""
    latency_seconds: dict[str, float] = {}
    """What the crossing document spent on its way, by step; empty where time itself made the event."""


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go on; null where the daemon does not know the page's or Grafana's address."""

    alert: str | None = None
    grafana: str | None = None
    silence: str | None = None
    feedback: str | None = None
    replay: str | None = None
    """A command line, not an address: it replays what led to the alert from the daemon's own log."""


class Rule(msgspec.Struct, frozen=True):
    """What rang."""

    name: str
    """As it is configured; a burst's is ``burst``."""
    version: str
    kind: RuleKind = "burst"


class EpisodeIdentity(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    number: int
    """Counts the episodes of the rule and key, for display only."""
    opened: Time
    sequence: Count
    """Counts the episode's events from 0."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """Expectation of the observed evidence and its 90 % interval."""

    value: float
    low: float
    high: float


class Unusual(msgspec.Struct, frozen=True, kw_only=True):
    """How unusual it is. Evidence is weighed: a story counts by novelty, relevance and certainty."""

    since: Time
    until: Time
    seconds: float
    negative_stories: Count
    negative_documents: Count
    """Stories with the reprints of those that were kept as evidence: at least so many."""
    publishers: Count
    """Independent ones, told apart up to a dozen."""
    observed: float
    expected: Expected
    ratio: float
    share: Share
    usual_share: Share
    score: float
    """ln(1 + 1/n), n the times a month that chance would bring the key to so much evidence."""
    threshold: float
    """The same of the budget: ln(1 + 1/B)."""
    class_scores: dict[str, float]
    baseline_span_seconds: float
    """How much history the expectation rests on."""
    false_alarms_per_month: float
    """Expected for this key at this threshold."""


class FirstSource(msgspec.Struct, frozen=True, kw_only=True):
    """Who told it first, by publication."""

    source: str
    publisher: str | None
    url: str | None
    published: Time


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Why to believe it."""

    stories: tuple[Story, ...]
    first_source: FirstSource | None
    counter: tuple[Story, ...]
    events: dict[str, Count] = {}
    """Kind of adverse event to how many of the stories kept as evidence tell it, the most frequent first."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Another burst that is the same event, or a part of it, and has no alert of its own."""

    key: str
    name: str
    severity: Severity
    explained: Share
    """Share of its excess that this alert's stories account for."""
    part: Share
    """Share of this alert's excess that its stories account for."""


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What else burns with it."""

    total: Count = 0
    keys: tuple[Held, ...] = ()
    """Some of them, those with the largest excess first."""


class AlertData(msgspec.Struct, frozen=True, kw_only=True):
    summary: str
    id: str
    """The event's id, also sent as ``webhook-id``."""
    dedupe_key: str
    """The same for every episode of one rule and key."""
    episode: EpisodeIdentity
    status: Literal["firing", "updated", "resolved"]
    reason: Reason | None
    """Why it resolved; null otherwise."""
    severity: Severity
    rule: Rule
    subject: SubjectData
    unusual: Unusual
    evidence: Shown
    coverage: Coverage
    provenance: Provenance
    links: Links
    truncated: tuple[Cut, ...] = ()
    """What was shortened or left out to keep the body small."""
    merged: Merged = Merged()
    follows: str | None = None
    """Id of an alert that is over and told of a part of this, or of the key's own that ended within the hour before."""


class AlertBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an alert."""

    type: AlertType
    timestamp: Time
    """When it happened; the attempt's own time is in the ``webhook-timestamp`` header."""
    data: AlertData


Detail = str | int | float | bool | None


class OperationData(msgspec.Struct, frozen=True, kw_only=True):
    summary: str
    id: str
    dedupe_key: str
    severity: Severity
    subject: str
    """Name of the source, stage or channel; of drift the class of texts and the reference, as in ``news/stream``."""
    details: dict[str, Detail] = {}
    truncated: tuple[Cut, ...] = ()


class OperationBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an event about the daemon itself, and of a test."""

    type: OperationType
    timestamp: Time
    data: OperationData


encode = msgspec.json.Encoder().encode
"""A body as the bytes that are stored, signed and sent."""
