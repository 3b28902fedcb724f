"""The rules ``flash`` and ``silence`` in the aggregate stage: what they are told, what they keep, when they ring.

Their state is keyed as the detector's is, and changes with evidence and watermarks alone: a silence begins at the
moment at which its gap was long enough, whether a watermark or the next item shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop
from typing import NamedTuple

from alerts import flash, silence
from alerts.baseline import Shape
from alerts.episode import EpisodeEvent
from alerts.exhibits import Exhibit
from alerts.flash import Flash, Telling
from alerts.rules import FlashRule, Rules, SilenceRule
from alerts.silence import Quiet, Usual
from pipelines.coverage import Seeing, Sights
from pipelines.documents import Evidence
from pipelines.exhibits import exhibit_of
from pipelines.held import Flashes, Held, Standing
from pipelines.sieve import copied
from pipelines.stories import id64
from pipelines.streams.base import State, Table
from pipelines.watch import Watch

LOOK_AGAIN = 900.0
"""Seconds after which a key's silence is looked at again while some of its sources can't be seen."""


class Rung(NamedTuple):
    """An event of a rule. ``version`` and ``budget`` are None where the rule is no longer configured."""

    event: EpisodeEvent
    rule: str
    version: str | None
    budget: float | None
    exhibits: tuple[Exhibit, ...] = ()


class Moment(NamedTuple):
    """What is known of a key when a silence is asked about."""

    key: str
    held: Held
    seeing: Seeing
    shape: Callable[[float], Shape]
    """The week's shape that a time falls under."""


class Alarms:
    """The rules over one watch."""

    def __init__(self, rules: Rules, watch: Watch) -> None:
        self.rules = rules
        self._flash = {rule.name: rule for rule in rules.flash}
        self._silence = silences(rules, watch)

    def stand(self, standing: Standing, state: State) -> None:
        """Takes up where the rules stood, of keys that they still watch."""
        flashes: Table[Flashes] = state.table("flashes")
        standing.flashing = {key for key, row in flashes.items() if any(one.alarm for one in row.rules.values())}
        quiets: Table[Quiet] = state.table("silences")
        for key, quiet in list(quiets.items()):
            if quiet.alarm is not None:
                standing.silent.add(key)
            elif key in self._silence:
                standing.wake(key, quiet.last)
            else:
                quiets.delete(key)

    def shed(self, now: float, state: State) -> None:
        """Lets go of stories that can't ring any more, and of keys that are slow by now; how often a rule rang of a key
        is kept, for few ever do."""
        flashes: Table[Flashes] = state.table("flashes")
        for key, row in list(flashes.items()):
            live = {name: kept for name, one in row.rules.items() if (kept := self._left(name, one, now)) is not None}
            if not live:
                flashes.delete(key)
            elif live != row.rules:
                flashes.put(key, Flashes(live))
        quiets: Table[Quiet] = state.table("silences")
        for key, quiet in list(quiets.items()):
            if quiet.alarm is None and now - quiet.last > silence.LASTS:
                quiets.delete(key)

    def _left(self, name: str, one: Flash, now: float) -> Flash | None:
        """What is still to be known of one rule's stories: those that may ring, and how often it rang."""
        if one.alarm is not None or self._recent(name, one, now):
            return one
        return Flash([], one.last, None, one.episodes) if one.episodes and name in self._flash else None

    def _recent(self, name: str, one: Flash, now: float) -> bool:
        return name in self._flash and now - one.last <= self._flash[name].within

    # -- flash --------------------------------------------------------------------------------------------

    def story(self, evidence: Evidence, at: float, state: State, standing: Standing) -> list[Rung]:
        """Takes in a story that speaks for rules; ``at``: where its key's clock stands."""
        publisher = evidence.publisher
        rules = [self._flash[name] for name in evidence.rules if name in self._flash]
        if not rules or publisher is None:
            return []
        table: Table[Flashes] = state.table("flashes")
        row = table.get(evidence.key) or Flashes({})
        found: list[Rung] = []
        for rule in rules:
            one = row.rules.setdefault(rule.name, Flash())
            found += self._over(rule, evidence.key, one, at)
            exhibit = exhibit_of(evidence, id64(evidence.id), flash.nats(evidence.b), at)
            telling = Telling(at, publisher, evidence.b, evidence.signature, exhibit)
            event = flash.tell(rule, evidence.key, one, telling, evidence.id, copied(one, telling))
            if event is not None:
                found.append(_flashed(rule, event, one))
        table.put(evidence.key, row)
        if any(one.alarm is not None for one in row.rules.values()):
            standing.flashing.add(evidence.key)
        return found

    def _over(self, rule: FlashRule, key: str, one: Flash, until: float) -> list[Rung]:
        event = flash.over(rule, key, one, until)
        return [] if event is None else [_flashed(rule, event, one)]

    def _end_flashes(self, watermark: float, state: State, standing: Standing) -> list[tuple[str, Rung]]:
        table: Table[Flashes] = state.table("flashes")
        found: list[tuple[str, Rung]] = []
        for key in sorted(standing.flashing):
            row = table.get(key)
            if row is None:
                continue
            for name, one in row.rules.items():
                rule = self._flash.get(name)
                if rule is not None:
                    found += [(key, rung) for rung in self._over(rule, key, one, watermark)]
                elif (event := flash.close(key, one, watermark, "operator")) is not None:
                    found.append((key, Rung(event, FlashRule(name=name).id, None, None, flash.shown(one))))
            table.put(key, row)
            if all(one.alarm is None for one in row.rules.values()):
                standing.flashing.discard(key)
        return found

    # -- silence ------------------------------------------------------------------------------------------

    def item(self, moment: Moment, at: float, history: bool, state: State, standing: Standing) -> list[Rung]:
        """An item, before the detector folds it. ``history``: baselines learn from it and nothing rings."""
        key = moment.key
        if key not in self._silence:
            return []
        rule, _ = self._silence[key]
        table: Table[Quiet] = state.table("silences")
        quiet = table.get(key)
        if quiet is None:
            usual = silence.usual(moment.held.state, at, silence.Gaps())
            if usual.rate * silence.LONGEST < rule.expected:
                return []
            quiet = Quiet(at, history)
        found: list[Rung] = []
        if at > quiet.last:
            found = self._gap(moment, quiet, at, history, standing)
        elif quiet.alarm is None:
            silence.together(quiet.gaps)
        if quiet.alarm is not None:
            mean = _mean(moment, quiet.last, self._usual(moment, quiet))(at)
            rang = quiet.alarm.rule
            event = silence.came(key, quiet, at, mean)
            if event is not None:
                standing.silent.discard(key)
                found.append(self._silenced(event, rang))
        quiet.last, quiet.history = max(at, quiet.last), history
        table.put(key, quiet)
        self._wake(moment, quiet, rule, standing)
        return found

    def _gap(self, moment: Moment, quiet: Quiet, at: float, history: bool, standing: Standing) -> list[Rung]:
        """Judges a gap that ended, and learns it."""
        if quiet.history != history or (quiet.alarm is not None and quiet.alarm.returned is not None):
            return []
        rule, budget = self._silence[moment.key]
        usual = self._usual(moment, quiet)
        if usual.rate <= 0:
            return []
        mean = _mean(moment, quiet.last, usual)(at)
        most = self._needed(rule, budget, quiet, usual)
        found = [] if history or quiet.alarm is not None or mean < most else self._ring(moment, quiet, at, standing)
        if _whole(moment, quiet.last, at, usual):
            silence.learn(quiet.gaps, mean, most, usual.documents)
        return found

    def _ring(self, moment: Moment, quiet: Quiet, until: float, standing: Standing) -> list[Rung]:
        """The silence that began up to ``until``, if one did; looks again when it may have."""
        key = moment.key
        rule, budget = self._silence[key]
        usual = self._usual(moment, quiet)
        if not usual.known:
            return []
        expected = _mean(moment, quiet.last, usual)
        wanted = self._needed(rule, budget, quiet, usual)
        begun = silence.due(expected, quiet.last, wanted)
        if begun is None or begun > until:
            if begun is not None:
                standing.wake(key, begun)
            if not _whole(moment, quiet.last, until, usual) and until - quiet.last < silence.LASTS:
                standing.wake(key, until + LOOK_AGAIN)
            return []
        chance = silence.chance(usual, budget)
        event = silence.ring(rule, key, quiet, begun, expected(begun), usual, chance)
        standing.silent.add(key)
        return [self._silenced(event, rule.id)]

    def _silenced(self, event: EpisodeEvent, rang: str) -> Rung:
        """``rang``: the id of the rule whose alert it is."""
        rule, budget = self._silence.get(event.key, (None, None))
        if rule is None or rule.id != rang:
            return Rung(event, rang, None, None)
        return Rung(event, rang, rule.version, budget)

    def _usual(self, moment: Moment, quiet: Quiet) -> Usual:
        """As it was with the latest item: what passed since changes nothing of it."""
        return silence.usual(moment.held.state, quiet.last, quiet.gaps)

    def _needed(self, rule: SilenceRule, budget: float, quiet: Quiet, usual: Usual) -> float:
        return max(rule.expected, silence.needed(silence.chance(usual, budget), quiet.gaps, usual.spread))

    def _wake(self, moment: Moment, quiet: Quiet, rule: SilenceRule, standing: Standing) -> None:
        """Not before the least that is asked could be expected."""
        usual = self._usual(moment, quiet)
        if quiet.alarm is None and not quiet.history and usual.known:
            peak = max(moment.shape(quiet.last).hours)
            standing.wake(moment.key, quiet.last + rule.expected / (usual.rate * peak))

    def _fall_silent(self, watermark: float, look: Look, state: State, standing: Standing) -> list[tuple[str, Rung]]:
        """Silences that began up to a watermark."""
        table: Table[Quiet] = state.table("silences")
        found: list[tuple[str, Rung]] = []
        while standing.due and standing.due[0][0] <= watermark:
            at, key = heappop(standing.due)
            if standing.next.get(key) != at:
                continue
            del standing.next[key]
            quiet, moment = table.get(key), look(key)
            if quiet is None or moment is None or quiet.alarm is not None or quiet.history or key not in self._silence:
                continue
            rung = self._ring(moment, quiet, watermark, standing)
            if rung:
                table.put(key, quiet)
                found += [(key, one) for one in rung]
        return found

    def _end_silences(self, watermark: float, look: Look, state: State, standing: Standing) -> list[tuple[str, Rung]]:
        """Silences that nobody asks about any more, that lasted for good, or that a loss of sources explains."""
        table: Table[Quiet] = state.table("silences")
        found: list[tuple[str, Rung]] = []
        for key in sorted(standing.silent):
            quiet, moment = table.get(key), look(key)
            if quiet is None or quiet.alarm is None or moment is None:
                continue
            alarm, configured = quiet.alarm, self._silence.get(key)
            event = None
            if configured is None or configured[0].id != alarm.rule:
                event = silence.close(key, quiet, watermark, "operator")
            elif watermark - alarm.since > silence.LASTS:
                event = silence.close(key, quiet, alarm.since + silence.LASTS, "expired")
            elif alarm.returned is None and self._explained(moment, quiet):
                event = silence.close(key, quiet, watermark, "unseen")
            if event is None:
                continue
            standing.silent.discard(key)
            found.append((key, self._silenced(event, alarm.rule)))
            if event.reason == "unseen":
                table.put(key, quiet)
                standing.wake(key, watermark + LOOK_AGAIN)
            else:
                table.delete(key)
        return found

    def _explained(self, moment: Moment, quiet: Quiet) -> bool:
        """Whether it would not have rung, had been known what could not be seen."""
        alarm = quiet.alarm
        if alarm is None:
            return False
        rule, budget = self._silence[moment.key]
        usual = self._usual(moment, quiet)
        if _whole(moment, alarm.since, alarm.opened_at, usual):
            return False
        return _mean(moment, alarm.since, usual)(alarm.opened_at) < self._needed(rule, budget, quiet, usual)

    # -- time ---------------------------------------------------------------------------------------------

    def passes(self, watermark: float, look: Look, state: State, standing: Standing) -> list[tuple[str, Rung]]:
        """Lets time pass: what begins and ends by it, with its key."""
        return [
            *self._end_flashes(watermark, state, standing),
            *self._end_silences(watermark, look, state, standing),
            *self._fall_silent(watermark, look, state, standing),
        ]


Look = Callable[[str], Moment | None]
"""What is known of a key."""


def silences(rules: Rules, watch: Watch) -> dict[str, tuple[SilenceRule, float]]:
    """Key to the rule that watches it, and its share of that one's budget."""
    chosen: dict[str, SilenceRule] = {}
    for key, watched in watch.keys.items():
        if watched.is_company or key.startswith("list:"):
            rule = next((one for one in rules.silence if one.watches(watched.watchlists)), None)
            if rule is not None:
                chosen[key] = rule
    counts = {rule.name: sum(one is rule for one in chosen.values()) for rule in rules.silence}
    return {key: (rule, rule.budget / counts[rule.name]) for key, rule in chosen.items()}


def _flashed(rule: FlashRule, event: EpisodeEvent, one: Flash) -> Rung:
    return Rung(event, rule.id, rule.version, rule.budget, flash.shown(one))


def _whole(moment: Moment, since: float, until: float, usual: Usual) -> bool:
    """Whether all of a key could be seen between two times."""
    shape = moment.shape(since)
    everything = usual.rate * (shape.integral(until) - shape.integral(since))
    return _mean(moment, since, usual)(until) >= 0.999 * everything


def _mean(moment: Moment, since: float, usual: Usual) -> Callable[[float], float]:
    """Items that were expected of a key from ``since`` up to a time, by what could be seen of it."""
    return partial(_expected, moment.seeing, moment.held.sights, moment.shape(since), usual, since)


def _expected(seeing: Seeing, sights: Sights, shape: Shape, usual: Usual, since: float, until: float) -> float:
    if until <= since:
        return 0.0
    news, social = seeing.watched(sights, since, until)
    return (shape.integral(until) - shape.integral(since)) * (usual.news * news + usual.social * social)
