"""The rule silence: its probabilities against tables, and through the stages when it rings, and when it does not."""

from __future__ import annotations

import heapq
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from alerts.rules import Rules, SilenceRule
from alerts.silence import Gaps, learn, needed, nothing, probability
from benchmarks.silences import Stream, clusters, nights, poisson, run
from pipelines.documents import epoch
from pipelines.streams.base import Output
from tests.stream_bench import DAY, HOUR, T0, Played, Tape, Told, report, stages, watermark

QUIET = SilenceRule(name="quiet", budget=0.5)
RULES = Rules(silence=(QUIET,))
LOST = T0 + 2.5 * DAY
NEVER = (math.inf, math.inf)
KEY = "entity:acme"


# -- the statistic ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "spread", "table"),
    [
        # R: ppois(0, mean); dnbinom(0, size = 1 / spread, mu = mean)
        (1.0, 0.0, 0.36787944),
        (5.0, 0.0, 0.006737947),
        (10.0, 0.0, 4.539993e-05),
        (10.0, 0.08, 0.0006446),
        (10.0, 0.5, 0.02777778),
        (6.0, 0.1, 0.009094947),
        (20.0, 0.1, 1.693509e-05),
    ],
)
def test_nothing_is_as_improbable_as_the_tables_say(mean: float, spread: float, table: float) -> None:
    assert nothing(mean, spread) == pytest.approx(table, rel=1e-3)
    if spread == 0.1:
        assert probability(mean, Gaps(), spread) == pytest.approx(table, rel=1e-3), "nothing was learned yet"
        assert needed(table, Gaps(), spread) == pytest.approx(mean, rel=1e-3)


def test_a_poisson_stream_learns_a_law_a_little_heavier_than_its_own() -> None:
    rng, gaps = random.Random(1), Gaps()
    for _ in range(40_000):
        learn(gaps, rng.expovariate(1.0), 50.0, 1.0)
    for mean in (5.0, 8.0, 11.0):
        assert math.exp(-mean) * 0.7 < probability(mean, gaps, 0.03) < math.exp(-mean) * 4.0


def test_nights_teach_it_to_wait_longer() -> None:
    """Eight hours of every night nothing comes, where the shape of the week says that ten items should."""
    rng, gaps = random.Random(2), Gaps()
    for _ in range(60):
        for _ in range(20):
            learn(gaps, rng.expovariate(1.0), 60.0, 1.0)
        learn(gaps, 10.0 + rng.expovariate(1.0), 60.0, 1.0)
    assert probability(11.0, gaps, 0.03) > 0.005
    assert needed(1e-5, gaps, 0.03) > 20.0
    assert needed(1e-5, Gaps(), 0.03) < 17.0


def test_stories_in_clusters_keep_a_small_budget() -> None:
    figures = run(Stream("one", False, 50.0, 60.0, clusters), keys=12, budget=0.2, seed=1)
    assert figures.expected > 4 and figures.alarms <= 1.5 * figures.expected


def test_reprints_make_it_no_more_patient() -> None:
    """Two of three documents reprint a story: what comes is three times what the baseline counts."""
    alone = run(Stream("one", False, 50.0, 45.0, poisson), keys=3, budget=0.2, seed=1)
    reprinted = run(Stream("one", False, 50.0, 45.0, poisson, new=1 / 3), keys=3, budget=0.2, seed=1)
    assert 0.7 * alone.hours < reprinted.hours < 1.5 * alone.hours


@pytest.mark.parametrize("make", [poisson, nights, clusters])
def test_streams_that_never_fall_silent_keep_its_budget(make: Callable[..., Any]) -> None:
    figures = run(Stream("one", False, 50.0, 45.0, make), keys=4, budget=4.0, seed=1)
    assert figures.expected > 19 and figures.alarms <= 1.5 * figures.expected


# -- through the stages -----------------------------------------------------------------------------------


def clockwork(
    end: float,
    *,
    passes: float = 300.0,
    down: tuple[float, float] = NEVER,
    known: float = 0.0,
    stopped: tuple[float, float] = NEVER,
) -> Iterator[tuple[float, int, int, Output]]:
    """The records of both sources once a minute, from an hour before the loss on, and watermarks every ``passes`` seconds.

    ``down``: from when to when ``main`` is lost, which is known ``known`` seconds later; ``stopped``: from when to when
    the daemon does not run.
    """
    at, number, passed = LOST - HOUR, 0, T0
    while (at := at + 60.0) < end:
        if stopped[0] < at < stopped[1]:
            continue
        for number, source in enumerate(("main", "side"), number + 1):
            lost = source == "main" and down[0] + known < at < down[1]
            yield at, 0, number, report(source, at, down="HTTP 503" if lost else None, success=down[0] if lost else at)
        if at - passed >= passes:
            passed = at
            yield at, 2, number, watermark(at)


def log(stories: Iterable[Told], marks: Iterable[tuple[float, int, int, Output]]) -> Iterator[tuple[float, Output]]:
    documents = ((story.fetched, 1, story.number, story.output()) for story in sorted(stories))
    for at, _, _, output in heapq.merge(documents, marks):
        yield at, output


def posts(seed: int, start: float, end: float, per_day: float, source: str, name: str) -> list[Told]:
    tape, found, at = Tape(seed), list[Told](), start
    while (at := at + tape.rng.expovariate(per_day / DAY)) < end:
        number = seed * 10**6 + len(found)
        found.append(tape.story(at, source, name, bad=False, social=True, number=number))
    return found


def stream(end: float, *, until: float = LOST, after: float = math.inf) -> list[Told]:
    """Posts about Acme on ``main``, 96 a day, none from ``until`` to ``after``; about Borealis 48 on ``side``."""
    acme = [one for one in posts(1, T0, end, 96.0, "main", "Acme") if not until < one.at < after]
    return [*acme, *posts(2, T0, end, 48.0, "side", "Borealis")]


def play(end: float, *, until: float = LOST, after: float = math.inf, cut: int = 10, **marks: Any) -> Played:
    """In small bites: as in a daemon, what is told of sources comes with what it speaks of."""
    return Played(rules=RULES).play(log(stream(end, until=until, after=after), clockwork(end, **marks)), cut)


def told(played: Played, key: str = KEY) -> list[dict[str, Any]]:
    """The bodies of a key's alerts for silence."""
    bodies = [json.loads(bytes(alert.body)) for alert in played.alerts(key)]
    return [body["data"] for body in bodies if body["data"]["rule"]["kind"] == "silence"]


def moments(played: Played, key: str = KEY) -> list[tuple[str, str, str | None]]:
    return [(one["status"], one["unusual"]["until"], one["reason"]) for one in told(played, key)]


def test_a_company_that_falls_silent_rings_and_is_over_when_it_is_back() -> None:
    first, last = told(play(LOST + DAY, after=LOST + 9 * HOUR))
    assert first["status"] == "firing" and first["severity"] == "warning"
    assert first["rule"] == {"name": "quiet", "version": QUIET.version, "kind": "silence"}
    unusual = first["unusual"]
    assert unusual["observed"] == 0.0 and 10.0 < unusual["expected"]["value"] < 20.0
    assert unusual["score"] == unusual["threshold"] > 10.0
    assert unusual["false_alarms_per_month"] == pytest.approx(0.5 / 9), "eight companies and their list share it"
    assert first["summary"].startswith("Acme Corp: nothing for ")
    assert first["summary"].endswith("were expected from 2 days of history, while its sources live.")
    assert first["evidence"]["stories"] == [] and first["coverage"]["subject_stale"] == []
    assert (last["status"], last["reason"]) == ("resolved", "back")
    assert re.fullmatch(
        r"Acme Corp: the silence is over after (9|10) hours \(it is back to a usual volume\)\.", last["summary"]
    )


def test_it_rings_at_the_same_moment_however_often_time_is_let_pass() -> None:
    back = LOST + 9 * HOUR
    each = [moments(play(back + 6 * HOUR, after=back, passes=passes)) for passes in (60.0, 900.0, 12 * HOUR)]
    assert len(each[0]) == 2 and each[0] == each[1] == each[2]


def test_batches_change_nothing() -> None:
    whole = [one["id"] for one in told(play(LOST + DAY, after=LOST + 9 * HOUR))]
    assert whole == [one["id"] for one in told(play(LOST + DAY, after=LOST + 9 * HOUR, cut=37))] != []


def test_a_trickle_is_no_end_of_it() -> None:
    """An item in ten hours, where four an hour are usual, is no volume."""
    end, tape = LOST + 3 * DAY, Tape(9)
    drops = [
        tape.story(LOST + n * 10 * HOUR, "main", "Acme", bad=False, social=True, number=10**9 + n) for n in range(1, 7)
    ]
    played = Played(rules=RULES).play(log([*stream(end), *drops], clockwork(end, passes=1_800.0)))
    assert [status for status, _, _ in moments(played)] == ["firing"]


# -- a lost source is no silence --------------------------------------------------------------------------


def test_the_loss_of_its_source_explains_a_silence() -> None:
    lost = play(LOST + 2 * DAY, down=(LOST, math.inf))
    assert told(lost) == [], "the source that brings it can't be seen"
    assert moments(play(LOST + 2 * DAY)) != [], "without that it rings: otherwise the test proved nothing"


def test_a_source_that_is_back_and_says_nothing_of_it_is_a_silence() -> None:
    back = LOST + DAY
    (first,) = told(play(back + DAY, down=(LOST, back)))
    assert epoch(first["unusual"]["until"]) > back, "what could not be seen is no silence"
    assert first["coverage"]["subject_seen"] == 1.0


def test_a_loss_that_is_known_late_takes_the_alert_back() -> None:
    first, last = told(play(LOST + DAY, down=(LOST, math.inf), known=8 * HOUR))
    assert first["status"] == "firing" and (last["status"], last["reason"]) == ("resolved", "unseen")
    assert last["coverage"]["subject_stale"] == ["main"] and last["coverage"]["subject_seen"] == 0.0
    assert last["summary"].endswith("(its sources could not be seen).")


@pytest.mark.parametrize("hours", [0.24, 12.0])
def test_a_daemon_that_did_not_run_takes_nothing_for_silent(hours: float) -> None:
    """Also where it was away for a quarter of an hour, in which of a busy key much is to be expected."""
    away, end = (LOST, LOST + hours * HOUR), LOST + hours * HOUR + HOUR
    busy = posts(3, T0, end, 1_500.0, "main", "Cygnus")
    stories = [one for one in [*stream(end, until=math.inf), *busy] if not away[0] < one.at < away[1]]
    rules = Rules(silence=(SilenceRule(name="quiet", budget=50.0),))

    def rang(**marks: Any) -> list[list[dict[str, Any]]]:
        played = Played(rules=rules).play(log(stories, clockwork(end, **marks)), 10)
        return [told(played, f"entity:{name}") for name in ("acme", "cygnus")]

    assert rang(stopped=away) == [[], []]
    assert rang()[1] != [], "if it had run it would ring: otherwise the test proved nothing"


# -- what lasts -------------------------------------------------------------------------------------------


def test_a_silence_that_lasts_for_a_week_expires() -> None:
    first, last = told(play(LOST + 7.5 * DAY, passes=3_600.0, cut=200))
    assert (first["status"], last["reason"]) == ("firing", "expired")


def test_it_outlives_restarts_and_redelivery() -> None:
    back, end = LOST + 9 * HOUR, LOST + DAY
    records = list(log(stream(end, after=back), clockwork(end)))
    calm = [one["id"] for one in told(Played(rules=RULES).play(records, 10))]
    played = Played(rules=RULES)
    for place in range(0, len(records), len(records) // 7):
        played.play(records[place : place + len(records) // 7], 10)
        played.engine.restart(stages(played.clock, rules=RULES))
    assert [one["id"] for one in told(played)] == calm and len(calm) == 2


def test_a_rule_that_left_the_settings_ends_its_alert() -> None:
    played = play(LOST + 9 * HOUR)
    played.engine.restart(stages(played.clock))
    played.play(log([], clockwork(LOST + 10 * HOUR, passes=60.0)), 10)
    assert [(one["status"], one["reason"]) for one in told(played)] == [("firing", None), ("resolved", "operator")]
    assert told(played)[0]["rule"] == told(played)[1]["rule"]
