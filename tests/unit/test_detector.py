"""The statistic as laws: what must ring rings, what must not does not, and nothing depends on how it is fed."""

from __future__ import annotations

import copy
import gzip
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.baseline import DAY, MONDAY, NEWS, Profile, Shape, rates
from alerts.chance import surprise
from alerts.detector import Detector
from alerts.episode import EpisodeEvent
from alerts.key_state import Item, KeyState
from alerts.week import BlockSummary, learn_profile

FLAT = Shape(Profile())
T0 = 1_790_000_000.0


def poisson(rng: random.Random, start: float, end: float, rate: float) -> list[float]:
    found, at = [], start
    while (at := at + rng.expovariate(rate)) < end:
        found.append(at)
    return found


def background(seed: int, days: float, per_day: float, *, social: bool = False, bad: float = 0.15) -> list[Item]:
    rng = random.Random(seed)
    return [
        Item(at, 0.95 if rng.random() < bad else 0.05, 1.0, social, f"b{seed}-{n}", f"p{n % 5}")
        for n, at in enumerate(poisson(rng, T0, T0 + days * DAY, per_day / DAY))
    ]


def burst(
    at: float, count: int, gap: float, *, social: bool = False, b: float = 0.95, weight: float = 1.0
) -> list[Item]:
    return [Item(at + n * gap, b, weight, social, f"s{n}", f"p{n % 4}", weight > 0.5) for n in range(count)]


def run(items: list[Item], detector: Detector | None = None, until: float | None = None) -> list[EpisodeEvent]:
    detector = detector or Detector()
    state = detector.new(T0)
    events = [event for item in sorted(items) for event in detector.observe("k", state, item, FLAT).events]
    if until is not None:
        events += detector.advance("k", state, until, FLAT)
    return events


def test_a_crisis_on_a_quiet_company_rings_and_resolves_once() -> None:
    items = background(1, 60, 0.7) + burst(T0 + 60 * DAY, 8, 1800.0)
    events = run(items, until=T0 + 75 * DAY)
    kinds = [event.kind for event in events if event.at >= T0 + 60 * DAY]
    assert kinds[0] == "firing" and kinds[-1] == "resolved" and kinds.count("resolved") == kinds.count("firing") == 1
    fired = next(event for event in events if event.kind == "firing" and event.at >= T0 + 60 * DAY)
    assert fired.opened_by.startswith("s") and fired.score >= fired.threshold and fired.stories >= 2
    assert 59 * DAY < fired.baseline_span < 61 * DAY


def test_who_reprints_a_story_is_no_publisher_of_another() -> None:
    crisis = T0 + 60 * DAY
    told = [Item(crisis + n * 60.0, 0.95, 1.0, False, f"s{n}", f"p{n % 2}") for n in range(8)]
    reprints = [Item(crisis + n, 0.95, 0.02, False, f"r{n}", f"reprint{n}", False) for n in range(1, 21)]
    fired = [event for event in run(background(1, 60, 0.7) + told + reprints) if event.at >= crisis]
    assert fired[0].kind == "firing"
    assert max(event.publishers for event in fired) <= 3, "its two, and one that had said something bad just before"


def test_the_end_of_an_alert_names_the_threshold_of_its_own_budget() -> None:
    detector, state, events = Detector(budget=0.05), KeyState(T0, T0), list[EpisodeEvent]()
    for item in background(1, 60, 0.7) + burst(T0 + 60 * DAY, 8, 1800.0):
        events += detector.observe("k", state, item, FLAT, budget=0.5).events
    events += detector.advance("k", state, T0 + 75 * DAY, FLAT, budget=0.5)
    assert (events[-2].kind, events[-1].kind) != ("resolved", "resolved") and events[-1].kind == "resolved"
    firing = next(event for event in reversed(events) if event.kind == "firing")
    assert abs(events[-1].threshold - firing.threshold) < math.log(2.0), "ln(10) apart: the budget of all other keys"


def test_reprints_and_neutral_surges_do_not_ring() -> None:
    quiet = background(2, 30, 1.0, bad=0.0)
    assert run(quiet + burst(T0 + 30 * DAY, 40, 60.0, weight=0.0)) == []
    assert run(quiet + burst(T0 + 30 * DAY, 1, 60.0) + burst(T0 + 30 * DAY + 5, 40, 60.0, weight=0.0)) == []
    busy = background(3, 10, 400, social=True, bad=0.1)
    rng = random.Random(9)
    surge = [
        Item(T0 + 10 * DAY + n * 10.0, 0.95 if rng.random() < 0.1 else 0.05, 1.0, True, f"n{n}") for n in range(400)
    ]
    assert run(busy + surge) == []


def test_a_storm_of_reprints_does_not_ring_by_those_that_pass_for_new() -> None:
    """One story with 160 reprints within the hour, of which three are taken for stories of their own."""
    storm = T0 + 60 * DAY
    passed = [Item(storm + n * 1_200.0, 0.95, 1.0, False, f"s{n}", f"p{n}") for n in range(4)]
    reprints = [Item(storm + n * 15.0 + 1, 0.95, 0.02, False, f"r{n}", f"q{n}", False) for n in range(160)]
    usual = background(1, 59, 0.7)
    assert [event.kind for event in run(usual + passed) if event.at >= storm] == ["firing"], "alone they are a crisis"
    assert [event for event in run(sorted(usual + passed + reprints)) if event.at >= storm] == []


def test_a_short_burst_is_soon_over_however_old_the_excursion_is() -> None:
    """Posts about a company with six a day: one bad post in the morning, twelve within a quarter of an hour at night."""
    day = T0 + 30 * DAY
    early, quarter = burst(day, 1, 0.0, social=True), burst(day + 10 * 3600.0, 12, 75.0, social=True)
    events = run(background(2, 29.5, 6.0, social=True) + early + quarter, until=day + 2 * DAY)
    fired, resolved = (next(e for e in events if e.at >= day and e.kind == kind) for kind in ("firing", "resolved"))
    assert fired.since < day + 3600.0, "the excursion began in the morning: otherwise the test proved nothing"
    assert resolved.reason == "quiet" and resolved.at - quarter[-1].at < 2 * 3600.0


def test_a_burst_does_not_raise_its_own_threshold() -> None:
    detector, state = Detector(), Detector().new(T0)
    for item in background(5, 40, 0.7, bad=0.0):
        detector.observe("k", state, item, FLAT)
    assert state.news is not None
    state.news.run.clear()  # no excursion runs when the burst begins
    learned = state.news.base.bad
    first, *others = burst(T0 + 41 * DAY, 8, 7_200.0)
    steps = [detector.observe("k", state, first, FLAT)]
    before = copy.copy(state.news.tail)
    steps += [detector.observe("k", state, item, FLAT) for item in others]
    assert state.news.base.bad > learned + 3, "nothing of the burst was learned: the test proved nothing"
    assert len({step.threshold for step in steps}) == 1
    assert steps[-1].score > steps[0].score
    # Nor what chance is thought to bring: read with what was concluded before, the last score is the same.
    tail = state.news.tail
    assert steps[-1].score == surprise(before, state.news.score, NEWS) and tail.times == 1.0


def test_a_busy_keys_rate_is_its_own_however_quiet_most_others_are() -> None:
    """One bad story in two years is what most have: its half item must not weigh as a year of nothing."""
    prior = 1.0 / (730 * DAY)
    shape = Shape(Profile(prior={"news": prior, "social": prior}))
    detector, state = Detector(), Detector().new(T0)
    for item in background(11, 60, 50.0):
        detector.observe("k", state, item, shape)
    assert state.news is not None
    bad, every = (rate * DAY for rate in rates(state.news.base, prior))
    assert math.isclose(every, 50.0, rel_tol=0.25) and math.isclose(bad, 7.5, rel_tol=0.25)
    quiet = detector.new(T0)
    detector.observe("q", quiet, Item(T0 + 60 * DAY, 0.95), shape)
    assert quiet.news is not None and rates(quiet.news.base, prior)[0] < 2.0 * prior


def test_who_is_not_named_for_months_is_seldom_named() -> None:
    """The quiet before a key's first story is history, too, however often others are named meanwhile."""
    shape, detector = Shape(Profile(prior={"news": 1.0 / (30.4 * DAY), "social": 1.0 / DAY})), Detector()
    state, expected = detector.new(T0), list[float]()
    for day in (270, 290, 310):
        step = detector.observe("k", state, Item(T0 + day * DAY, 0.05, 1.0, False, f"d{day}", "p"), shape)
        expected += [block.closed.expected * 48 * 30.4 for block in step.blocks]
    assert expected[0] > 0.9, "a month, before anything was learned"
    assert expected[-1] < 0.25, "after nine months without a story"


def test_one_loud_story_is_not_enough() -> None:
    assert run(background(4, 30, 0.5, bad=0.0) + burst(T0 + 30 * DAY, 1, 1.0)) == []


def test_a_young_baseline_asks_for_more() -> None:
    detector = Detector()
    young = [e for e in run(burst(T0 + 3600.0, 20, 60.0), detector) if e.kind == "firing"]
    old = [e for e in run(burst(T0 + 30 * DAY, 20, 60.0), detector) if e.kind == "firing"]
    assert old and (not young or young[0].observed > old[0].observed)


def test_learning_opens_nothing_and_leaves_no_excursion() -> None:
    detector, state = Detector(), Detector().new(T0)
    for item in burst(T0 + 5 * DAY, 30, 60.0):
        step = detector.observe("k", state, item, FLAT, learning=True)
        assert (step.events, step.score) == ([], 0.0)
    assert state.news is not None and state.news.tail.times == 1.0, "a burst in history is one that there was"
    step = detector.observe("k", state, Item(T0 + 5 * DAY + 1900.0, 0.05), FLAT)
    assert step.score < 0.1 and [run.since for run in state.news.run] == [T0 + 5 * DAY + 1900.0]


def test_blind_time_is_no_quiet_time_and_its_end_no_news() -> None:
    detector = Detector()
    items = background(6, 20, 20.0)
    seeing, blind = detector.new(T0), detector.new(T0)
    for item in items:
        detector.observe("k", seeing, item, FLAT)
        detector.observe("k", blind, item, FLAT)
    end = T0 + 30 * DAY
    more = [Item(end + n * 4000.0, 0.95 if n % 7 == 0 else 0.05, 1.0, False, f"m{n}") for n in range(60)]
    for item in more:
        detector.observe("k", seeing, item, FLAT)
        assert detector.observe("k", blind, item, FLAT, blind=(10 * DAY, 0.0)).events == []
    assert blind.news is not None and seeing.news is not None
    assert blind.news.base.all_exposure < seeing.news.base.all_exposure


def test_while_blind_nothing_is_taken_for_quiet() -> None:
    detector, state = Detector(), Detector().new(T0)
    for item in background(7, 30, 0.5, bad=0.0) + burst(T0 + 30 * DAY, 10, 300.0):
        detector.observe("k", state, item, FLAT)
    assert state.episode is not None
    at = T0 + 30 * DAY + 3000
    assert detector.advance("k", state, at + 5 * DAY, FLAT, missing=(1.0, 1.0)) == []
    assert [e.reason for e in detector.advance("k", state, at + 30 * DAY, FLAT, missing=(1.0, 1.0))] == ["expired"]


def test_a_late_item_scores_nothing_and_is_counted() -> None:
    detector, state = Detector(lateness=600.0), Detector().new(T0)
    detector.observe("k", state, Item(T0 + 10 * DAY, 0.05), FLAT)
    before = msgspec.msgpack.encode(state.news.run if state.news else None)
    step = detector.observe("k", state, Item(T0 + 9 * DAY, 0.95), FLAT)
    assert step.late and state.late == 1 and msgspec.msgpack.encode(state.news.run if state.news else None) == before
    assert not detector.observe("k", state, Item(T0 + 10 * DAY - 300, 0.95), FLAT).late


ITEMS = st.lists(
    st.tuples(st.floats(0, 30 * DAY), st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=60
).map(lambda rows: sorted(Item(T0 + a, b, w, s, f"d{n}", f"p{n % 3}", w > 0.5) for n, (a, b, w, s) in enumerate(rows)))


@settings(max_examples=40, deadline=None)
@given(ITEMS, st.integers(0, 59))
def test_saving_and_loading_changes_no_bit(items: list[Item], cut: int) -> None:
    detector, kept = Detector(), Detector().new(T0)
    state = detector.new(T0)
    for place, item in enumerate(items):
        a, b = detector.observe("k", kept, item, FLAT), detector.observe("k", state, item, FLAT)
        assert (a.score, a.threshold, a.events) == (b.score, b.threshold, b.events)
        if place == cut or place % 5 == 0:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=KeyState)
    assert msgspec.msgpack.encode(kept) == msgspec.msgpack.encode(state)
    assert len(msgspec.msgpack.encode(state)) <= 1024


@settings(max_examples=30, deadline=None)
@given(ITEMS, st.lists(st.floats(0, 31 * DAY), max_size=20))
def test_firing_does_not_depend_on_how_often_time_is_let_pass(items: list[Item], marks: list[float]) -> None:
    detector = Detector()
    plain, marked = detector.new(T0), detector.new(T0)
    waiting = sorted(T0 + mark for mark in marks)
    one: list[tuple[str, str]] = []
    two: list[tuple[str, str]] = []
    for item in items:
        while waiting and waiting[0] <= item.at:
            two += [(e.kind, e.opened_by) for e in detector.advance("k", marked, waiting.pop(0), FLAT)]
        one += [(e.kind, e.opened_by) for e in detector.observe("k", plain, item, FLAT).events]
        two += [(e.kind, e.opened_by) for e in detector.observe("k", marked, item, FLAT).events]
    assert [event for event in one if event[0] == "firing"][:1] == [event for event in two if event[0] == "firing"][:1]


@settings(max_examples=30, deadline=None)
# Hours without any item are 0; nothing learned lies between that and a millionth.
@given(st.lists(st.just(0.0) | st.floats(1e-6, 3), min_size=168, max_size=168), st.floats(0, 3e9), st.floats(0, 1e6))
def test_exposure_is_the_integral_of_the_week(hours: list[float], start: float, length: float) -> None:
    mean = sum(hours) / 168 or 1.0
    shape = Shape(Profile(hours=tuple(value / mean for value in hours) if sum(hours) else (1.0,) * 168))
    middle = start + length / 2
    whole = shape.integral(start + length) - shape.integral(start)
    parts = shape.integral(middle) - shape.integral(start) + shape.integral(start + length) - shape.integral(middle)
    assert whole >= -1e-3 and math.isclose(whole, parts, rel_tol=1e-6, abs_tol=1e-3)
    assert math.isclose(shape.integral(MONDAY + 7 * DAY) - shape.integral(MONDAY), 7 * DAY, rel_tol=1e-9)


def test_a_learned_profile_has_mean_one_and_later_versions() -> None:
    blocks = [BlockSummary("a", "news", T0 + h * 3600.0, 1.0, 50.0 if h % 24 == 14 else 2.0) for h in range(24 * 28)]
    profile = learn_profile(blocks, Profile(), effective_from=T0, span=28 * DAY)
    assert math.isclose(sum(profile.hours) / 168, 1.0, rel_tol=1e-3)
    assert profile.version == 1 and max(profile.hours) > 2 * min(profile.hours)
    assert profile.prior["social"] == Profile().prior["social"] and profile.prior["news"] > Profile().prior["news"]


def test_false_alarms_stay_below_the_budget_and_crises_are_found() -> None:
    """200 keys over 10 months at B = .3: at most 2B; and of 40 crises of ten stories in a day nearly all."""
    alarms = sum(
        event.kind == "firing"
        for seed in range(200)
        for event in run(background(1000 + seed, 304, 0.6), Detector(budget=0.3))
    )
    assert alarms / 2000 <= 0.6, alarms
    found = 0
    for seed in range(40):
        items = background(5000 + seed, 120, 0.6) + burst(T0 + 120 * DAY, 10, 8000.0)
        found += any(e.kind == "firing" and e.opened_by.startswith("s") for e in run(items))
    assert found >= 36, found


def test_detect_command(tmp_path: Path) -> None:
    items = background(1, 60, 0.7) + burst(T0 + 60 * DAY, 8, 1800.0)
    rows = [{"key": "公司 A/b:c", "ts": i.at, "p_negative": i.b, "id": i.id, "class": "news"} for i in sorted(items)]
    lines = [json.dumps(row).encode() for row in rows]
    lines[3:3] = [b"{broken", b'{"key": "", "ts": 1, "p_negative": 0.5}']
    path = tmp_path / "items.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    command = [sys.executable, "-m", "monitor", "detect", str(path), "--end", str(T0 + 80 * DAY)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"line 4" in done.stderr and b"line 5" in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["type"] == "alert.firing" and events[-1]["type"] == "alert.resolved"
    assert events[0]["key"] == "公司 A/b:c" and events[0]["ts"].endswith("Z")
    later = subprocess.run([*command, "--start", str(T0 + 70 * DAY)], capture_output=True, timeout=60)
    assert later.stdout == b""


def test_stories_and_publishers_are_those_since_the_burst_began() -> None:
    """On a key that is never quiet one excursion follows another without a pause: what they brought is told once."""
    checked = 0
    for seed in range(8):
        # A fading unrest, in which evidence stays a little above what is expected, before the burst.
        unrest = [one._replace(b=0.95) for one in background(100 + seed, 90, 0.5 + 0.02 * seed)]
        items = sorted(background(seed, 120, 2.0) + unrest + burst(T0 + 110 * DAY, 10, 1_800.0))
        for event in run(items):
            if event.kind == "resolved":
                continue  # decided by time, which the next item let pass
            told = [one for one in items if event.since <= one.at <= event.at and one.b > 0.5]
            assert event.stories == len(told), (seed, event)
            assert event.publishers == len({one.publisher for one in told})
            checked += 1
    assert checked > 8
