"""What would it catch: the figures beside a plain simulation, and as laws."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from alerts.baseline import DAY, Profile, Shape
from alerts.detector import Detector
from alerts.key_state import Item
from alerts.power import AlwaysRinging, Chance, Past, Reach, Story, TooShort, Trials
from models.evaluate import wilson
from pipelines.documents import SeriesPoint, decode
from pipelines.points import point_of
from pipelines.power import Question, run
from pipelines.recorded import Recorded

FLAT = Shape(Profile())
T0 = 1_790_000_000.0
STORIES = [Story(0.95, 1.0), Story(0.8, 0.9), Story(0.6, 1.0)]


def tape(seed: int, days: float, per_day: float, *, social: bool = False, bad: float = 0.1) -> list[Item]:
    rng, found, at = random.Random(seed), list[Item](), T0
    while (at := at + rng.expovariate(per_day / DAY)) < T0 + days * DAY:
        b = 0.95 if rng.random() < bad else 0.05
        found.append(Item(at, b, 1.0, social, f"b{len(found)}", None if social else f"p{len(found) % 5}"))
    return found


def trials(items: Sequence[Item], days: float, *, seed: int = 1, count: int = 150, social: bool = False) -> Trials:
    return Trials(
        Past("k", T0, T0 + days * DAY, sorted(items)),
        STORIES,
        social=social,
        detector=Detector(),
        budget=None,
        shape=lambda at: FLAT,
        lengths=(DAY,),
        trials=count,
        rng=random.Random(seed),
    )


def interval(chance: Chance) -> list[float]:
    return wilson(chance.rang, chance.trials)


def rang(items: Sequence[Item], onset: float, length: float) -> float | None:
    """When the whole tape, from its beginning, first rings after an onset; None where it rings already or never."""
    detector, at = Detector(), None
    state = detector.new(T0)
    for item in sorted(items):
        if item.at > onset and at is None:
            at = onset
            detector.advance("k", state, onset, FLAT)
            assert state.episode is None, "this seed rings already"
        if item.at > onset + length:
            return None
        if any(event.kind == "firing" for event in detector.observe("k", state, item, FLAT).events) and at is not None:
            return item.at
    return None


@pytest.mark.parametrize(
    ("per_day", "social", "length"), [(0.7, False, DAY), (6.0, False, DAY / 4), (20.0, True, 3600.0)]
)
def test_the_figures_are_those_of_a_plain_simulation(per_day: float, social: bool, length: float) -> None:
    """Every crisis of it is played from the tape's beginning, by other code, with other numbers of chance."""
    days = 60.0
    items = tape(3, days, per_day, social=social, bad=0.03)
    reach = trials(items, days, social=social).reach(length)
    half = reach.smallest[0]
    assert half is not None and half.trials >= 20
    rng, delays, count = random.Random(77), list[float](), 200
    first = T0 + (1 if social else 7) * DAY
    for _ in range(count):
        onset = first + rng.random() * (T0 + (days - 1) * DAY - first)
        crisis = []
        for n in range(half.stories):
            story = rng.choice(STORIES)
            at = onset + length * rng.random()
            crisis.append(Item(at, story.b, story.weight, social, f"c{n}", None if social else f"q{n}"))
        fired = rang([*items, *crisis], onset, length)
        if fired is not None:
            delays.append(fired - onset)
    plain = Chance(half.stories, len(delays), count)
    print(f"\n{half.stories} stories: {half.probability:.2f} of {half.trials}, plainly {plain.probability:.2f}")
    # Two independent 95 % intervals: both ends of each within the other's reach but once in some hundred seeds.
    assert interval(half)[0] <= interval(plain)[1] and interval(plain)[0] <= interval(half)[1]
    assert half.delay is not None
    assert half.delay == pytest.approx(sorted(delays)[len(delays) // 2], rel=0.12)


def test_a_larger_crisis_rings_no_less_often() -> None:
    reach = trials(tape(4, 60, 1.0), 60).reach(DAY)
    shares = [probability for _, probability in reach.curve]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    half, most = reach.smallest
    assert half is not None and most is not None and half.stories <= most.stories
    assert half.rang <= most.rang and most.probability >= 0.9


def test_without_a_crisis_it_rings_as_often_as_the_past_did() -> None:
    """A burst in the past rings for the crises that are thrown in the hours before it, and for no others."""
    burst = [Item(T0 + 30.2 * DAY + n * 900, 0.95, 1.0, False, f"s{n}", f"q{n}") for n in range(8)]
    reach = trials([*tape(5, 60, 0.7, bad=0.02), *burst], 60, count=400).reach(DAY)
    assert reach.anyway.stories == 0
    assert 0 < reach.anyway.probability <= 3 / 53
    assert trials(tape(5, 60, 0.7, bad=0.02), 60).reach(DAY).anyway.rang == 0


def test_moments_at_which_it_rings_already_are_left_out() -> None:
    """Twenty days of unrest within sixty: nothing can begin to ring that rings."""
    unrest = [Item(T0 + 20 * DAY + n * 600, 0.95, 1.0, False, f"s{n}", f"q{n}") for n in range(6 * 24 * 20)]
    assert 0.5 < trials([*tape(6, 60, 0.5), *unrest], 60).at_rest < 0.95
    lasting = [Item(T0 + 6 * DAY + n * 600, 0.95, 1.0, False, f"s{n}", f"q{n}") for n in range(6 * 24 * 3)]
    with pytest.raises(AlwaysRinging):
        trials([*tape(6, 5, 0.5), *lasting], 8.5)


def test_a_past_that_is_too_short_has_no_figure() -> None:
    with pytest.raises(TooShort, match=r"7\.9 days of history, where 8\.0 are needed"):
        trials(tape(7, 7.9, 3.0), 7.9)
    assert trials(tape(7, 8.5, 3.0), 8.5).reach(DAY).smallest[0] is not None


def test_the_same_seed_gives_the_same_figures_and_another_does_not() -> None:
    items = tape(8, 40, 2.0)

    def figures(seed: int) -> Reach:
        return trials(items, 40, seed=seed, count=60).reach(DAY)

    assert figures(1) == figures(1) != figures(2)


# -- what is recorded -------------------------------------------------------------------------------------


def recorded(tapes: dict[str, list[Item]], *asked: str) -> Recorded:
    """Tapes as the aggregate stage tells of them, in closed blocks."""
    points: dict[str, list[SeriesPoint]] = {}
    for key, items in tapes.items():
        detector = Detector()
        state = detector.new(T0)
        told = points[key] = []
        for item in items:
            for block in detector.observe(key, state, item, FLAT).blocks:
                told.append(decode(SeriesPoint, point_of(key, block, closed_at=state.clock, backfill=False).value))
    return Recorded(points.items(), asked or tapes, {})


def ask(*keys: str, **more: object) -> Question:
    known = {"watched": keys, "budget": 0.05, "min_open": 600.0, "lateness": 600.0, "lengths": (DAY,)}
    return msgspec.convert({"keys": keys, **known, **more}, Question)


@pytest.mark.parametrize(("per_day", "social"), [(0.5, False), (8.0, False), (60.0, True)])
def test_a_past_from_blocks_gives_the_figures_of_the_items_themselves(per_day: float, social: bool) -> None:
    items = tape(9, 40, per_day, social=social, bad=0.2)
    past = recorded({"entity:a": items}).past("entity:a", random.Random(1))
    assert past.since == pytest.approx(T0, abs=1) and len(past.items) == pytest.approx(len(items), abs=60)
    for kept, came in zip(past.items, items, strict=False) if per_day < 1 else ():
        assert kept.at == pytest.approx(came.at, abs=1800) and kept.b == pytest.approx(came.b, abs=1e-3)
    length = 3600.0 if social else DAY
    own = trials(items, 40, social=social, count=200).reach(length)
    blocks = trials(past.items, 40, social=social, count=200).reach(length)
    for (stories, first), (_, second) in zip(own.curve, blocks.curve, strict=True):
        assert first == pytest.approx(second, abs=0.16), stories


def test_what_is_told_of_a_key_does_not_depend_on_who_else_is_asked_about() -> None:
    tapes = {f"entity:{name}": tape(10 + n, 30, 2.0, bad=0.25) for n, name in enumerate("abcd")}
    keys = ("entity:a", "entity:b", "entity:silent")
    together = list(run(recorded(tapes), ask(*keys, watched=(*tapes, "entity:silent"))))
    alone = [one for key in keys for one in run(recorded(tapes, key), ask(key, watched=(*tapes, "entity:silent")))]
    assert together == alone and len(together) == 3
    assert together[0].drawn_from == together[2].drawn_from == "alike" and together[0].stories_known >= 20


def test_a_key_that_nothing_is_known_of_is_taken_for_one_of_its_kind_and_says_so() -> None:
    tapes = {f"entity:{name}": tape(20 + n, 30, 2.0, bad=0.25) for n, name in enumerate("abcd")}
    (answer,) = run(recorded(tapes, "entity:new"), ask("entity:new", watched=(*tapes, "entity:new")))
    assert answer.documents == 0 and answer.drawn_from == "alike" and "no item of its own" in answer.notes[0]
    assert answer.within[0].half is not None and (answer.since or "").startswith("2026-09-21")


def test_of_a_busy_key_the_latest_time_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it knows it has from there: with the whole past the figures are the same."""
    tapes = {"entity:a": tape(11, 60, 30.0, bad=0.1)}
    (whole,) = run(recorded(tapes), ask("entity:a", trials=300))
    monkeypatch.setattr("pipelines.recorded.ITEMS", 100)
    monkeypatch.setattr("pipelines.recorded.LATEST", 28 * DAY)
    (latest,) = run(recorded(tapes), ask("entity:a", trials=300))
    assert whole.since == "2026-09-21T14:13:20.000Z" and latest.since is not None and latest.since > "2026-10-22"
    assert whole.documents == latest.documents > 1_500
    for (stories, first), (_, second) in zip(whole.within[0].curve, latest.within[0].curve, strict=True):
        assert first == pytest.approx(second, abs=0.3), stories


def test_before_anything_is_recorded_that_is_told() -> None:
    for points in ({}, {"entity:a": []}):
        (answer,) = run(recorded(points, "entity:a"), ask("entity:a"))
        assert answer.why == "nothing is recorded yet of any key" and answer.since is None


def test_without_any_bad_story_there_is_no_figure() -> None:
    (answer,) = run(recorded({"entity:a": tape(1, 30, 2.0, bad=0.0)}), ask("entity:a"))
    assert answer.within == () and answer.why == "no bad story is known of any key"
