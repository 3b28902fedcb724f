"""Notify: candidates in; alerts, and what is owed to each channel, out. One instance, one partition.

Silences and routing are decided here, the outbox is written here in the same unit as the offset, and delivery
attempts are applied here. Everything is idempotent by the event's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, get_args

import structlog
from prometheus_client import Counter, Gauge

from alerts.episode import SEVERITIES, episode_id, event_id
from alerts.evidence import Alert, build_operation
from alerts.exhibits import Exhibit
from alerts.merging import Burning
from alerts.outbox import DeliveryAttempt, Endpoint, Obligation
from alerts.quotes import older_than
from alerts.rules import Route, RuleKind, Silence, kind_of
from alerts.verdicts import VERDICTS
from pipelines import burning, drift, exhibits, merging, owing, tally, week
from pipelines.audience import Audience, moment
from pipelines.burning import Burst, Episodes
from pipelines.candidates import BURST
from pipelines.clock import Clock
from pipelines.commands import ended, silence_of, verdict_of
from pipelines.documents import (
    Candidate,
    Command,
    Operation,
    Reading,
    RecordError,
    SeriesPoint,
    decode,
    encode,
    epoch,
)
from pipelines.explain import Explainer
from pipelines.letters import dead_letter
from pipelines.merging import Telling
from pipelines.particulars import Context, alert_of, record_of
from pipelines.remembered import Sent, Told, forget, reached
from pipelines.streams.base import (
    CANDIDATES,
    COMMANDS,
    DELIVERIES,
    PROFILES,
    READINGS,
    SERIES,
    Output,
    Record,
    State,
    Table,
)
from pipelines.watch import Watch

log = structlog.get_logger(__name__)

ALERTS_TOTAL = Counter("tapewatch_alerts_total", "Alert events.", ["rule", "severity", "type"])
ALERTS_FIRING = Gauge("tapewatch_alerts_firing", "Alerts that are firing now.", ["rule", "severity"])
SILENCED = Counter("tapewatch_alerts_silenced_total", "Alert events that a silence kept from being sent.")
VERDICTS_TOTAL = Counter("tapewatch_verdicts_total", "Verdicts that were given on alerts.", ["verdict"])
RULES: tuple[RuleKind, ...] = get_args(RuleKind)
for _rule in RULES:  # a rate needs the zero before the first
    for _severity in SEVERITIES:
        for _kind in ("firing", "updated", "resolved"):
            ALERTS_TOTAL.labels(_rule, _severity, _kind)
for _verdict in VERDICTS:
    VERDICTS_TOTAL.labels(_verdict)

OPERATION = "~operation"
"""Prefix of the key of an Operation on the candidates topic."""

HOUSEKEEPING = 3_600.0


class Notify:
    """The notify stage."""

    name = "notify"
    inputs: tuple[str, ...] = (CANDIDATES, COMMANDS, DELIVERIES, SERIES, READINGS)
    tables: Mapping[str, type[Any]] = {
        "silences": Silence,
        "outbox": Obligation,
        "endpoints": Endpoint,
        "sent": Sent,
        "burning": Burning,
        "burst": Burst,
        "events": Told,
        **week.TABLES,
        **drift.TABLES,
    }

    def __init__(
        self,
        watch: Watch,
        *,
        context: Context,
        routes: Sequence[Route],
        channels: Sequence[str],
        clock: Clock,
        silences: Sequence[Silence] = (),
        resend: Mapping[str, float] | None = None,
        texts: float | None = None,
        explainer: Explainer | None = None,
    ) -> None:
        """``resend``: seconds between two tellings, for the channels whose receiver holds alerts. ``texts``: seconds
        for which a story may be kept; None knows of no end. ``explainer``: None knows of no model."""
        self._watch = watch
        self._context = context
        self._routes = tuple(routes)
        self._channels = tuple(channels)
        self._resend = dict(resend or {})
        self._texts = texts
        self.explainer = explainer or Explainer({}, within=None)
        self._clock = clock
        self._configured = tuple(silences)
        self._episodes: Episodes | None = None

    def adopt(self, watch: Watch, context: Context, routes: Sequence[Route], silences: Sequence[Silence]) -> None:
        """Takes over new watch-lists, routes and configured silences, and what alerts say of the settings."""
        self._watch, self._context = watch, context
        self._routes, self._configured = tuple(routes), tuple(silences)

    def recovered(self, state: State) -> list[Output]:
        """Nothing is said again; what is owed since long ago is owed without its quotes, before it is sent."""
        self._gauge(state)
        drift.show(state)
        return self._unquote(state, self._clock.time())

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        outputs: list[Output] = []
        self.explainer.search(list(self._shown(batch, state)))
        for record in batch:
            try:
                self._one(record, state, outputs)
            except RecordError as error:
                outputs.append(self._dead(record, error))
            except ValueError as error:  # 2026-99-99 has the form of a day and is none
                outputs.append(self._dead(record, RecordError(str(error))))
        if any(record.topic == CANDIDATES for record in batch):
            self._gauge(state)
        self._housekeeping(state, outputs)
        return outputs

    def _one(self, record: Record, state: State, outputs: list[Output]) -> None:
        if record.topic == CANDIDATES:
            if record.key.startswith(OPERATION):
                self._operate(decode(Operation, record.value), state, outputs)
            else:
                self._alert(decode(Candidate, record.value), state, outputs)
        elif record.topic == DELIVERIES:
            given_up, operation = owing.tried(decode(DeliveryAttempt, record.value), state)
            outputs.extend(given_up)
            if operation is not None:
                self._operate(operation, state, outputs)
        elif record.topic == SERIES:
            profile = week.learn(decode(SeriesPoint, record.value), state, self._watch.calendar)
            if profile is not None:
                outputs.append(Output(PROFILES, str(profile.version), encode(profile)))
        elif record.topic == READINGS:
            for operation in drift.take(decode(Reading, record.value), state):
                self._operate(operation, state, outputs)
        else:
            self._obey(decode(Command, record.value), state, outputs)

    def _shown(self, batch: Sequence[Record], state: State) -> Iterator[Sequence[Exhibit]]:
        """The stories of each alert that this batch will make."""
        events: Table[Told] = state.table("events")
        for record in batch:
            if record.topic == CANDIDATES and not record.key.startswith(OPERATION):
                with suppress(ValueError):  # it is a dead letter when its turn comes
                    candidate = decode(Candidate, record.value)
                    if events.get(_named(candidate)[1]) is None:
                        yield candidate.exhibits

    # -- alerts -------------------------------------------------------------------------------------------

    def _alert(self, candidate: Candidate, state: State, outputs: list[Output]) -> None:
        events: Table[Told] = state.table("events")
        episode, name = _named(candidate)
        if (told := events.get(name)) is not None:
            if not told.alert:  # noted by a version that didn't know how long it matters
                events.put(name, Told(told.at, episode))
            return
        at = moment(candidate)
        audience = self._audience(at, state)
        if candidate.rule == BURST:
            for telling in merging.settle(candidate, self._open(state), audience):
                self._tell(telling, audience, state, outputs)
        else:
            self._tell(Telling(candidate), audience, state, outputs)
        events.put(name, Told(self._clock.time(), episode))
        reached(at, state)

    def _open(self, state: State) -> Episodes:
        """The open bursts, read anew where what was read is void."""
        if self._episodes is None or not self._episodes.holds(state):
            self._episodes = Episodes(state)
        return self._episodes

    def _audience(self, at: float, state: State) -> Audience:
        silences = [*self._configured, *(silence for _, silence in state.table("silences").items())]
        return Audience(
            self._watch,
            self._routes,
            self._channels,
            silences,
            at,
            told=lambda holder: self._sent(holder.alert, state).channels,
        )

    def _tell(self, telling: Telling, audience: Audience, state: State, outputs: list[Output]) -> None:
        candidate, event = telling.candidate, telling.candidate.event
        besides = self._besides(telling, audience, state) if telling.late else ()
        if telling.late and not besides:
            return
        alert = alert_of(
            candidate,
            self._watch,
            self._context,
            why=self.explainer.explain(candidate.exhibits),
            holder=telling.holder,
            members=telling.members,
        )
        lists = audience.facts(alert.type, alert.key, alert.severity).watchlists
        if telling.into is not None:
            outputs.append(record_of(alert, event.at, lists, merged_into=telling.into))
            return
        if telling.late:
            sent = self._sent(alert.alert, state)
            sent.channels += besides
            state.table("sent").put(alert.alert, sent)
            outputs.append(record_of(alert, event.at, lists, channels=tuple(sent.channels)))
            outputs.extend(self._owe(alert, besides, candidate.published, state))
            return
        kind, _ = kind_of(candidate.rule)
        tally.inc(ALERTS_TOTAL.labels(kind, event.severity, event.kind))
        members = telling.members
        self._emit(alert, event.at, audience, state, outputs, published=candidate.published, rule=kind, members=members)

    def _besides(self, telling: Telling, audience: Audience, state: State) -> tuple[str, ...]:
        """Channels that an alert was not told to, and that are named by the routes of what it holds."""
        event = telling.candidate.event
        alert, _ = _named(telling.candidate)
        facts = audience.facts(f"alert.{event.kind}", event.key, event.severity)
        if telling.holder is None or audience.silence(facts) is not None:
            return ()
        named = self._living(audience.named(facts, telling.members), state)
        return tuple(channel for channel in named if channel not in self._sent(alert, state).channels)

    def _emit(
        self,
        alert: Alert,
        at: float,
        audience: Audience,
        state: State,
        outputs: list[Output],
        *,
        published: str | None = None,
        rule: RuleKind = "burst",
        members: Sequence[Burning] = (),
    ) -> None:
        """Records the alert and what is owed for it."""
        facts = audience.facts(alert.type, alert.key, alert.severity)
        silence = audience.silence(facts)
        if alert.alert:
            named = () if silence is not None else audience.named(facts, members)
            targets = self._targets(alert, named, rule, state, outputs)
        else:
            targets = () if silence is not None else self._living(audience.named(facts), state)
            # Of alerts the candidate is noted: the end of what merged away has the id of the end that is to come.
            state.table("events").put(alert.id, Told(self._clock.time()))
        if silence is not None:
            tally.inc(SILENCED)
        silenced_by = silence.id if silence is not None else None
        outputs.append(record_of(alert, at, facts.watchlists, channels=targets, silenced_by=silenced_by))
        outputs.extend(self._owe(alert, targets, published, state))

    def _owe(self, alert: Alert, channels: Sequence[str], published: str | None, state: State) -> list[Output]:
        since = epoch(published) if published else None
        return owing.owe_all(alert, channels, state, self._clock.time(), published=since, resend=self._resend)

    def _targets(
        self, alert: Alert, named: Sequence[str], rule: RuleKind, state: State, outputs: list[Output]
    ) -> tuple[str, ...]:
        """Channels for an event. A resolved goes where its firing went, silenced or not; nowhere else."""
        sent = self._sent(alert.alert, state)
        sent.rule = rule
        if alert.type == "alert.resolved":
            targets = self._living(sent.channels, state)
            outputs.extend(owing.leave(alert.order, set(sent.channels) - set(targets), self._clock.time(), state))
        else:
            targets = self._living(named, state)
        sent.channels = list(dict.fromkeys([*sent.channels, *targets]))
        sent.status, sent.severity, sent.at = alert.type.removeprefix("alert."), alert.severity, self._clock.time()
        state.table("sent").put(alert.alert, sent)
        return targets

    def _sent(self, alert: str, state: State) -> Sent:
        known: Sent | None = state.table("sent").get(alert)
        return known or Sent(alert, 0.0, "", 0, "", [])

    def _living(self, channels: Sequence[str], state: State) -> tuple[str, ...]:
        return owing.living([channel for channel in channels if channel in self._channels], state)

    def _gauge(self, state: State) -> None:
        counts: dict[tuple[str, str], int] = dict.fromkeys(product(RULES, SEVERITIES), 0)
        for _, sent in state.table("sent").items():  # noqa: PERF102 (a table has no values())
            if sent.status in ("firing", "updated"):
                counts[sent.rule, sent.severity] += 1
        for labels, count in counts.items():
            ALERTS_FIRING.labels(*labels).set(count)

    # -- operations, commands, attempts -------------------------------------------------------------------

    def _operate(self, operation: Operation, state: State, outputs: list[Output]) -> None:
        at = epoch(operation.at)
        alert = build_operation(
            operation.type,
            at=at,
            subject=operation.subject,
            summary_text=operation.summary,
            severity=operation.severity,
            details=operation.details,
        )
        if state.table("events").get(alert.id) is None:
            log.warning("operation", action=operation.type, subject=operation.subject, summary=operation.summary)
            tally.inc(ALERTS_TOTAL.labels("operations", operation.severity, operation.type))
            self._emit(alert, at, self._audience(at, state), state, outputs)
            reached(at, state)

    def _obey(self, command: Command, state: State, outputs: list[Output]) -> None:
        at = epoch(command.at)
        if command.kind == "silence":
            state.table("silences").put(command.subject, silence_of(command))
        elif command.kind == "expire_silence":
            silences: Table[Silence] = state.table("silences")
            known = silences.get(command.subject)
            if known is not None:
                silences.put(command.subject, ended(known, at))
        elif command.kind == "feedback":
            tally.inc(VERDICTS_TOTAL.labels(verdict_of(command).verdict))
        elif command.kind == "retry_delivery":
            outputs.extend(owing.retry(command.subject, at, state))
        elif command.kind == "enable_channel":
            owing.enable(command.subject, state)

    def _housekeeping(self, state: State, outputs: list[Output]) -> None:
        """Once an hour: forgets what is long settled."""
        now, kept = self._clock.time(), state.table("kept")
        if now - (kept.get("house") or 0.0) < HOUSEKEEPING:
            return
        kept.put("house", now)
        owing.forget(state, now)
        outputs.extend(self._unquote(state, now))
        forget(state, now)

    def _unquote(self, state: State, now: float) -> list[Output]:
        """Takes quotes that are too old out of what is owed; those of the next hour too, for then it looks again."""
        if self._texts is None:
            return []
        before = now + HOUSEKEEPING - self._texts
        burning.unquote(state, exhibits.older_than(before))
        return owing.unquote(older_than(before), state)

    def _dead(self, record: Record, error: RecordError) -> Output:
        return dead_letter(self.name, record, error.reason, str(error), self._clock.time())


def _named(candidate: Candidate) -> tuple[str, str]:
    """The ids of the episode and of its event."""
    event = candidate.event
    episode = episode_id(candidate.rule, event.key, event.opened_by)
    return episode, event_id(episode, event.kind, event.sequence)
