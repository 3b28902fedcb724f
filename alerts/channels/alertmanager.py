"""Alerts to a Prometheus Alertmanager: ``POST /api/v2/alerts``.

Alertmanager holds the alerts that it was told of lately, in memory: one that is not told again is over for it. So the
delivery loop sends what is firing again every ``resend`` seconds, and what has ended for some minutes; each time with
an end of its own, five re-sends ahead, so that no time-out configured there matters and a restart here goes unseen.

Labels are an alert's identity: rule, key, names, severity. What changes while it lasts (counts, the summary) stands in
annotations, and its start is the episode's own; the same event told twice is one alert there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from alerts.body import AlertBody, AlertData, OperationBody, Story
from alerts.channels.answers import carries_sign_in, check_address, judge, redacted
from alerts.channels.base import ChannelConfigError, HttpClient, Outcome, TransportError
from alerts.wording import iso

PATH = "/api/v2/alerts"
TIMEOUT = 20.0
"""Seconds for an answer."""

RESEND = 60.0
"""Seconds between two tellings of an alert that lasts, as Prometheus has it."""

AHEAD = 5
"""Re-sends by which an alert's end lies ahead: four of them may be lost, or the daemon be away as long."""

OPERATION_LASTS = 3_600.0
"""Seconds that an operational event stays: nothing but a recovered source ever ends one."""

TEST_LASTS = 60.0

REMEMBERED = 10_000
"""Alerts whose labels are kept, to end them when they change; more than that fire nowhere at once."""

EXAMPLE = "https://alertmanager.example:9093"
OWN_LABELS = frozenset({"alertname", "severity", "rule", "key", "name", "topic", "watchlist", "subject"})

LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class AlertmanagerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an Alertmanager. Of a cluster every member is a channel of its own."""

    url: str
    """Its address, with the path prefix if it has one; https, or http where the network settings allow it."""
    username: str = ""
    secret: str = ""
    """The password of ``username``; without one, a bearer token."""
    labels: dict[str, str] = {}
    """Added to every alert, as in ``{environment = "production"}``."""
    resend: float = RESEND
    """Seconds between two tellings of an alert that lasts, 1 to 300."""
    timeout: Annotated[float, msgspec.Meta(ge=1, le=30)] = TIMEOUT
    """Seconds for the whole answer."""

    def __repr__(self) -> str:
        return f"AlertmanagerOptions(url={redacted(self.url)!r}, username={self.username!r}, secret=<secret>)"


class Posted(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An alert as Alertmanager's API has it."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str
    ends_at: str
    generator_url: str | None = msgspec.field(name="generatorURL", default=None)


class _Kind(msgspec.Struct):
    type: str


def check_options(options: AlertmanagerOptions) -> None:
    """Refuses what can't work; the message names the field and what to do."""
    check_address(options.url, EXAMPLE)
    if carries_sign_in(options.url):
        raise ChannelConfigError("url: a user name or password in the address is refused; set username and secret")
    if options.username and not options.secret:
        raise ChannelConfigError("secret: missing; username needs its password in secret or secret_file")
    if not 1.0 <= options.resend <= 300.0:
        raise ChannelConfigError(f'resend: {options.resend:g} s is not between "1s" and "5m"')
    for label in options.labels:
        if not LABEL.fullmatch(label) or label.startswith("__"):
            raise ChannelConfigError(f"labels: {label!r} is no label's name; letters, digits and _ make one")
    if taken := sorted(OWN_LABELS & set(options.labels)):
        raise ChannelConfigError(f"labels: {taken[0]!r} is one of tapewatch's own; choose another name")


class AlertmanagerChannel:
    """Posts alerts to one Alertmanager."""

    kind = "alertmanager"

    def __init__(self, name: str, options: AlertmanagerOptions, http: HttpClient) -> None:
        check_options(options)
        self.name = name
        self._options = options
        self._url = options.url.rstrip("/").removesuffix(PATH) + PATH
        self._headers = {"content-type": "application/json", **_sign_in(options)}
        self._http = http
        self._told: dict[str, Posted] = {}

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        order, alert = render(event, body, timestamp, self._options)
        former = self._told.get(order)
        alerts = [alert]
        if former is not None and former.labels != alert.labels:
            # Its severity rose, or its watch-lists changed: another identity there, and the former is over.
            alerts.append(msgspec.structs.replace(former, ends_at=iso(timestamp)))
        try:
            response = await self._http.post(
                self._url, body=msgspec.json.encode(alerts), headers=self._headers, deadline=self._options.timeout
            )
        except TransportError as error:
            return Outcome(ok=False, reason=error.reason, detail=str(error))
        outcome = judge(response, timestamp)
        if outcome.ok:
            self._remember(order, alert, over=alert.ends_at <= iso(timestamp))
        # 410 is what an address of the old API answers: a mistake to mend, no wish to hear nothing any more.
        return msgspec.structs.replace(outcome, reason="rejected", gone=False) if outcome.gone else outcome

    def _remember(self, order: str, alert: Posted, *, over: bool) -> None:
        self._told.pop(order, None)
        if not over:
            self._told[order] = alert
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]


def render(event: str, body: bytes, timestamp: float, options: AlertmanagerOptions) -> tuple[str, Posted]:
    """(dedupe key, alert) for a body that is sent at ``timestamp``. Pure."""
    if msgspec.json.decode(body, type=_Kind).type.startswith("alert."):
        told = msgspec.json.decode(body, type=AlertBody)
        return told.data.dedupe_key, _alert(event, told, timestamp, options)
    operation = msgspec.json.decode(body, type=OperationBody)
    return operation.data.dedupe_key, _operation(event, operation, timestamp, options)


def _alert(event: str, body: AlertBody, timestamp: float, options: AlertmanagerOptions) -> Posted:
    data, started = body.data, body.data.episode.opened
    over = data.status == "resolved"
    return Posted(
        labels=_labels(
            options,
            alertname=f"Tapewatch{data.rule.kind.title()}",
            severity=data.severity,
            rule=data.rule.name,
            key=data.subject.key,
            name=data.subject.name,
            topic=data.subject.topic or "",
            watchlist=",".join(sorted(data.subject.watchlists)),
        ),
        annotations=_annotations(event, data),
        starts_at=started,
        ends_at=max(body.timestamp, started) if over else iso(timestamp + AHEAD * options.resend),
        generator_url=data.links.alert,
    )


def _operation(event: str, body: OperationBody, timestamp: float, options: AlertmanagerOptions) -> Posted:
    """A trouble and its end have one name, so that the one ends the other."""
    data = body.data
    word = body.type.partition(".")[2].replace("recovered", "stale").removesuffix("_resolved")
    recovered = body.type == "ops.source_recovered"
    over = recovered or body.type == "ops.model_drift_resolved"
    lasts = TEST_LASTS if body.type == "test.ping" else OPERATION_LASTS
    return Posted(
        labels=_labels(
            options,
            alertname="Tapewatch" + word.title().replace("_", ""),
            # A recovered source is no trouble, but it ends one: it must bear that one's labels.
            severity="warning" if recovered else data.severity,
            subject=data.subject,
        ),
        annotations={"summary": data.summary, "event_id": event, "dedupe_key": data.dedupe_key},
        # A source's trouble begins with the event that tells it; what ends it need not know when that was, since
        # Alertmanager keeps the earlier of two starts.
        starts_at=body.timestamp,
        ends_at=body.timestamp if over else iso(timestamp + lasts),
    )


def _labels(options: AlertmanagerOptions, **own: str) -> dict[str, str]:
    """Without empty ones, which mean the same as none there."""
    return {**options.labels, **{name: value for name, value in own.items() if value}}


def _annotations(event: str, data: AlertData) -> dict[str, str]:
    unusual = data.unusual
    figures: Mapping[str, Any] = {
        "summary": data.summary,
        "description": _description(data),
        "status": data.status,
        "event_id": event,
        "episode_id": data.episode.id,
        "dedupe_key": data.dedupe_key,
        "stories": unusual.negative_stories,
        "events": ", ".join(f"{kind} ({number})" for kind, number in data.evidence.events.items()) or None,
        "publishers": unusual.publishers,
        "observed": unusual.observed,
        "expected": unusual.expected.value,
        "score": unusual.score,
        "threshold": unusual.threshold,
        "reason": data.reason,
        "alert_url": data.links.alert,
        "grafana_url": data.links.grafana,
        "replay": data.links.replay,
    }
    return {name: str(value) for name, value in figures.items() if value is not None}


def _description(data: AlertData) -> str:
    """Why to believe it, a story a line."""
    coverage = data.coverage
    told = [f"{story.headline} ({_origin(story)})" for story in data.evidence.stories]
    seen = f"{coverage.sources_healthy} of {coverage.sources_expected} sources healthy"
    if coverage.unread:
        seen += f", {len(coverage.unread)} not read yet"
    if coverage.backlog_seconds >= 1:
        seen += f", {coverage.backlog_seconds:.0f} s behind"
    return "\n".join([*told, seen])


def _origin(story: Story) -> str:
    return ", ".join(part for part in (story.publisher or story.source, *story.events, story.url) if part)


def _sign_in(options: AlertmanagerOptions) -> dict[str, str]:
    if not options.secret:
        return {}
    if not options.username:
        return {"authorization": f"Bearer {options.secret}"}
    pair = base64.b64encode(f"{options.username}:{options.secret}".encode()).decode()
    return {"authorization": f"Basic {pair}"}
