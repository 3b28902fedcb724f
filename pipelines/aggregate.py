"""Aggregate: evidence in; episodes' events and series out. One key's evidence comes in the order of the log.

Counts are idempotent twice: by the record's offset, kept with the key's state (a batch handled again), and by the
document's id in the key's memory of stories (a document scored again, a revision).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import Counter

from alerts.baseline import Profile, Shape
from alerts.detector import Detector, Step
from alerts.episode import EpisodeEvent
from alerts.excursions import began
from alerts.key_state import Item, KeyState
from alerts.rules import NO_RULES, Rules
from alerts.silence import Quiet
from pipelines import exhibits, retold, tally
from pipelines.alarms import Alarms, Moment, Rung
from pipelines.candidates import candidate
from pipelines.clock import Clock
from pipelines.coverage import Seeing, Sights, mark_of
from pipelines.documents import (
    Candidate,
    Evidence,
    RecordError,
    SourceRecord,
    Watermark,
    decode,
    encode,
    epoch,
)
from pipelines.exhibits import Shown
from pipelines.held import Derived, Flashes, Held, Profiles, Told, Watched
from pipelines.letters import dead_letter
from pipelines.memories import Starts, remember
from pipelines.points import point_of
from pipelines.stories import Bucket, Novelty, id64
from pipelines.streams.base import (
    CANDIDATES,
    EVIDENCE,
    PROFILES,
    SOURCES,
    WATERMARK,
    Output,
    Record,
    State,
    Table,
)
from pipelines.watch import Watch
from pipelines.week import Weeks

LATE = Counter("tapewatch_late_evidence_total", "Evidence further behind its key's clock than the lateness.")
REPRINTS = Counter("tapewatch_reprints_total", "Evidence that told a story again that its key had counted.")
COUNTED = Counter("tapewatch_counted_evidence_total", "Evidence counted once by its key.")
SHED_EVERY = 3_600.0
"""Seconds of the log between two looks for what need not be kept any more."""


class Aggregate:
    """The aggregate stage.

    ``since``: when the stream began, where exposure is counted from; ``start``: before it baselines learn and
    nothing opens. ``sources``: names of those that are configured; None knows of no settings. ``quotes``: seconds for
    which a story may be quoted as evidence; None knows of no end.
    """

    name = "aggregate"
    inputs: tuple[str, ...] = (EVIDENCE, PROFILES, SOURCES)
    tables: Mapping[str, type[Any]] = {
        "detector": Held,
        "starts": Starts,
        "buckets": Bucket,
        "shown": Shown,
        "told": Told,
        "flashes": Flashes,
        "silences": Quiet,
        "rung": Told,
        "coverage": Seeing,
        "profiles": Profiles,
        "begun": float,
        "watched": Watched,
    }

    def __init__(
        self,
        detector: Detector,
        watch: Watch,
        *,
        clock: Clock,
        model: str,
        start: float | None = None,
        provisional: bool = True,
        sources: Collection[str] | None = None,
        quotes: float | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        self._detector = detector
        self._watch = watch
        self._clock = clock
        self._model = model
        self._start = start
        self._counted = self._reprinted = 0
        """In the batch under way."""
        self._provisional = provisional
        self._sources = sources
        self._quotes = quotes
        self._alarms = Alarms(rules, watch)
        self._by_state: WeakKeyDictionary[State, Derived] = WeakKeyDictionary()
        self._here = Derived(-1)

    def adopt(self, watch: Watch, model: str, rules: Rules = NO_RULES) -> None:
        """Takes over new watch-lists and rules, or another model's name."""
        self._watch, self._model = watch, model
        self._alarms = Alarms(rules, watch)

    # -- the stage ----------------------------------------------------------------------------------------

    def recovered(self, state: State) -> list[Output]:
        """Says the last event of every open or just closed episode again: ids make it harmless."""
        now = self._clock.time()
        seeing = self._seeing(state)
        if self._sources is not None and seeing.keep(self._sources):
            state.table("coverage").put("all", seeing)
        self._shed(now, state)
        return list(retold.again(state, now))

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        self._turn_to(state)
        self._counted = self._reprinted = 0
        outputs: list[Output] = []
        for record in batch:
            try:
                self._one(record, state, outputs)
            except RecordError as error:
                outputs.append(self._dead(record, error))
        tally.inc(COUNTED, self._counted)
        tally.inc(REPRINTS, self._reprinted)
        return outputs

    def _one(self, record: Record, state: State, outputs: list[Output]) -> None:
        if record.topic == EVIDENCE:
            if record.key == WATERMARK:
                self._pass(epoch(decode(Watermark, record.value).at), state, outputs)
            else:
                self._count(decode(Evidence, record.value), record.offset, state, outputs)
        elif record.topic == SOURCES:
            seeing = self._seeing(state)
            seeing.note(decode(SourceRecord, record.value), record.offset)
            state.table("coverage").put("all", seeing)
        else:
            self._adopt(decode(Profile, record.value), state)

    def _turn_to(self, state: State) -> None:
        """Takes up what was derived from this partition's state, anew where that is void."""
        derived = self._by_state.get(state)
        if derived is None or derived.generation != state.generation:
            known: Profiles | None = state.table("profiles").get("all")
            derived = self._by_state[state] = Derived(
                state.generation,
                weeks=Weeks(known.versions) if known is not None else Weeks(),
                open={key for key, told in state.table("told").items() if told.open},
            )
        self._here = derived
        if derived.watch is not self._watch:
            self._note_watched(state)
            self._alarms.stand(derived.standing, state)
            derived.watch = self._watch

    def _note_watched(self, state: State) -> None:
        """Notes since when each key is watched: the exposure of one that came later doesn't begin with the stream."""
        table: Table[Watched] = state.table("watched")
        held = table.get("all")
        known, since = (held.since, self._clock.time()) if held is not None else ({}, 0.0)
        added = {key: since for key in self._watch.keys if key not in known}
        if added:
            table.put("all", Watched({**known, **added}))

    # -- one piece of evidence ----------------------------------------------------------------------------

    def _count(self, evidence: Evidence, offset: int, state: State, outputs: list[Output]) -> None:
        key, at = evidence.key, epoch(evidence.at)
        detectors: Table[Held] = state.table("detector")
        held = detectors.get(key)
        if held is None:
            held = Held(self._detector.new(self._since(key, at, state)))
        elif offset <= held.applied:
            return
        held.applied = offset
        detectors.put(key, held)
        memory = self._here.memories.of(key, state, len(self._by_state))
        number = id64(evidence.id)
        novelty = memory.judge(number, evidence.signature, at)
        if novelty.duplicate:
            return
        remember(evidence, number, memory, novelty, at, state)
        self._counted += 1
        self._reprinted += not novelty.new_story
        seeing = self._seeing(state)
        week = self._week(key)
        shape = week(at)
        social = evidence.class_ == "social"
        weight = novelty.weight * evidence.relevance
        learning = evidence.backfill or (self._start is not None and at < self._start)
        standing, moment = self._here.standing, Moment(key, held, seeing, week)
        for one in self._alarms.item(moment, max(at, held.state.clock), learning, state, standing):
            outputs.append(self._ring(one, held.sights, None, state))
        blind = self._look(evidence, held, seeing, at, novelty.weight, state)
        step = self._detector.observe(
            key,
            held.state,
            Item(at, evidence.b, weight, social, evidence.id, evidence.publisher, novelty.new_story),
            shape,
            blind=blind,
            learning=learning,
            budget=self._budget(key),
        )
        if step.late:
            tally.inc(LATE)
        shown = self._exhibit(evidence, novelty, step, held.state, state)
        self._here.touched[key] = evidence.backfill
        for block in step.blocks:
            outputs.append(point_of(key, block, closed_at=held.state.clock, backfill=evidence.backfill))
        for event in step.events:
            outputs.append(self._candidate(event, shown, held.sights, evidence, state))
        if evidence.rules and not (learning or step.late):
            told = self._alarms.story(evidence, held.state.clock, state, standing)
            outputs.extend(self._ring(one, held.sights, evidence, state) for one in told)

    def _budget(self, key: str) -> float | None:
        """A key's own false alarms a month; None: those of the settings."""
        watched = self._watch.keys.get(key)
        return watched.budget if watched is not None else None

    def _look(
        self, evidence: Evidence, held: Held, seeing: Seeing, at: float, novelty: float, state: State
    ) -> tuple[float, float]:
        """For how long the key could not be seen, by class; and counts the evidence towards what it lives on."""
        if evidence.backfill:
            return held.sights.blind  # history: of its own sources' outages nobody knows
        source, social = mark_of(evidence.source), evidence.class_ == "social"
        if seeing.may_bring(source, at) and seeing.bring(source, social, at, epoch(evidence.fetched)):
            state.table("coverage").put("all", seeing)
        at = max(at, held.state.clock)
        blind = seeing.look(held.sights, social, at)
        seeing.feed(held.sights, source, social, evidence.relevance, novelty, at)
        return blind

    def _since(self, key: str, at: float, state: State) -> float:
        """When a key's exposure began: when the stream did, or the key was first watched."""
        first = self._begun(at, state)
        watched: Watched | None = state.table("watched").get("all")
        return min(max(first, watched.since.get(key, 0.0) if watched is not None else 0.0), at)

    def _begun(self, at: float, state: State) -> float:
        """When the stream began: with the first item, or with the first watermark, which every partition hears."""
        begun: Table[float] = state.table("begun")
        first = begun.get("all")
        if first is None:
            begun.put("all", at)
        return at if first is None else first

    def _exhibit(self, evidence: Evidence, novelty: Novelty, step: Step, held: KeyState, state: State) -> Shown:
        """Keeps the evidence of a running excursion, and lets go of it when the excursion ended."""
        table: Table[Shown] = state.table("shown")
        shown = table.get(evidence.key)
        if step.late:
            return shown or Shown()  # it tells nothing of the excursion, not even that it is over
        closing = any(event.kind == "resolved" for event in step.events)
        if step.score <= 0 and held.episode is None and not closing:
            if shown is not None:
                table.delete(evidence.key)
            return shown or Shown()
        shown = shown or Shown()
        if not closing and (held.episode is None or any(event.kind == "firing" for event in step.events)):
            exhibits.forget(shown, began(held))
        if novelty.new_story:
            exhibits.hang(shown, evidence, novelty.story, step.nats, held.clock)
        else:
            exhibits.reprint(shown, evidence, novelty.story)
        exhibits.weigh(shown, evidence, id64(evidence.id), novelty.weight, held.clock)
        table.put(evidence.key, shown)
        return shown

    # -- time and profile ---------------------------------------------------------------------------------

    def _pass(self, watermark: float, state: State, outputs: list[Output]) -> None:
        """Lets time pass for open episodes, and tells the open blocks of keys that moved."""
        self._begun(watermark, state)
        detectors: Table[Held] = state.table("detector")
        seeing = self._seeing(state)
        for key in sorted(self._here.open):
            held = detectors.get(key)
            if held is None or held.state.episode is None:
                continue
            missing = seeing.missing(held.sights, held.state.episode.doubted_to, watermark)
            events = self._detector.advance(
                key, held.state, watermark, self._week(key)(watermark), missing=missing, budget=self._budget(key)
            )
            detectors.put(key, held)
            shown = state.table("shown").get(key) or Shown()
            outputs.extend(self._candidate(event, shown, held.sights, None, state) for event in events)

        def look(key: str) -> Moment | None:
            held = detectors.get(key)
            return None if held is None else Moment(key, held, seeing, self._week(key))

        for key, rung in self._alarms.passes(watermark, look, state, self._here.standing):
            held = detectors.get(key)
            outputs.append(self._ring(rung, Sights() if held is None else held.sights, None, state))
        if self._provisional:
            self._tell_open_blocks(state, outputs)
        if watermark - self._here.shed >= SHED_EVERY:
            self._here.shed = watermark
            self._shed(watermark, state)
            # By the log's time alone: after a stop the clock is ahead of stories that are still to be read.
            self._alarms.shed(watermark, state)

    def _shed(self, now: float, state: State) -> None:
        """Lets go of last events that nobody is told again, and of quotes that are too old."""
        retold.shed(state, now)
        if self._quotes is not None:
            retold.take_down(state, exhibits.older_than(now - self._quotes))

    def _tell_open_blocks(self, state: State, outputs: list[Output]) -> None:
        for key, backfill in self._here.touched.items():
            held = state.table("detector").get(key)
            if held is not None and not backfill:
                shape = self._week(key)(held.state.clock)
                for block in self._detector.open_blocks(held.state, shape, self._budget(key)):
                    outputs.append(point_of(key, block, closed_at=None, backfill=False))
        self._here.touched.clear()

    def _adopt(self, profile: Profile, state: State) -> None:
        table: Table[Profiles] = state.table("profiles")
        known = table.get("all") or Profiles([Profile()])
        if any(old.version >= profile.version for old in known.versions):
            return
        known = Profiles([*known.versions, profile][-3:])
        table.put("all", known)
        self._here.weeks.adopt(known.versions)

    def _week(self, key: str) -> Callable[[float], Shape]:
        """The week's shape by time, as a key's trading calendar has it."""
        return partial(self._here.weeks.at, calendar=self._watch.calendar(key))

    def _seeing(self, state: State) -> Seeing:
        return state.table("coverage").get("all") or Seeing()

    # -- candidates ---------------------------------------------------------------------------------------

    def _candidate(
        self, event: EpisodeEvent, shown: Shown, sights: Sights, evidence: Evidence | None, state: State
    ) -> Output:
        """A burst's event."""
        value = encode(self._build(event, shown, sights, evidence, state))
        is_open = event.kind != "resolved"
        state.table("told").put(event.key, Told(is_open, event.at, value))
        if is_open:
            self._here.open.add(event.key)
        else:
            self._here.open.discard(event.key)
            state.table("shown").delete(event.key)
        return Output(CANDIDATES, event.key, value)

    def _build(
        self, event: EpisodeEvent, shown: Shown, sights: Sights, evidence: Evidence | None, state: State
    ) -> Candidate:
        return candidate(
            event,
            shown,
            evidence,
            now=self._clock.time(),
            quotes=self._quotes,
            coverage=partial(self._seeing(state).coverage, sights, event.at),
            model=self._model,
        )

    def _ring(self, rung: Rung, sights: Sights, evidence: Evidence | None, state: State) -> Output:
        """Another rule's event."""
        return retold.ring(rung, self._build(rung.event, Shown(list(rung.exhibits)), sights, evidence, state), state)

    def _dead(self, record: Record, error: RecordError) -> Output:
        return dead_letter(self.name, record, error.reason, str(error), self._clock.time())
