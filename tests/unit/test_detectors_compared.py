"""The detectors that the shipped one is compared with: they find a burst, see no future, and are judged fairly."""

from collections.abc import Callable

import numpy as np
import pytest

from alerts.baseline import Profile, Shape
from alerts.chance import threshold
from alerts.key_state import Item
from benchmarks.crises import Recorder, compared, table
from benchmarks.detectors import sequential, shipped
from benchmarks.detectors.counts import Counts, count
from benchmarks.detectors.judge import Truth, judge, matched, recall, share
from benchmarks.detectors.rules import RULES
from benchmarks.detectors.scores import Alarms, Scores, alarms, apart, of_matrix
from benchmarks.simulator.items import HAPPENING, Items, Population, simulate
from benchmarks.simulator.world import NEWS, SOCIAL, START
from pipelines.documents import iso

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0
BURST = 300
"""The period, an hour, in which it begins."""
PATHS: dict[str, Callable[[Counts], np.ndarray]] = {
    **RULES,
    "BOCPD": sequential.change_points,
    "FOCuS": sequential.focus,
}


@pytest.fixture(scope="module")
def burst() -> Counts:
    """Two keys with a bad story in two hours; the second has 120 within four hours, from all publishers."""
    rng = np.random.default_rng(3)
    bad = rng.poisson(0.5, (2, 400)).astype(float)
    bad[1, BURST : BURST + 4] += [30, 40, 30, 20]
    every = bad + rng.poisson(2.5, bad.shape)
    return Counts(NEWS._replace(step=HOUR), bad, every, np.stack([bad] * 3))


@pytest.fixture(scope="module")
def posts() -> Population:
    """Seldom talked about, so that they are quickly gone through."""
    return simulate(SOCIAL._replace(rates=(2e-4, 2e-3), weeks=4), 6, 11)


@pytest.mark.parametrize("name", PATHS)
def test_a_burst_scores_highest(burst: Counts, name: str) -> None:
    scores = PATHS[name](burst)
    scores[:, :200] = -np.inf  # before there is a history
    key, period = np.unravel_index(np.nanargmax(scores), scores.shape)
    assert key == 1
    assert BURST <= period <= BURST + 24


@pytest.mark.parametrize("name", PATHS)
def test_what_comes_later_changes_no_score(burst: Counts, name: str) -> None:
    cut = 320
    early = Counts(burst.world, burst.bad[:, :cut], burst.every[:, :cut], burst.told[..., :cut])
    assert PATHS[name](early) == pytest.approx(PATHS[name](burst)[:, :cut])


def test_page_hinkley_and_the_oracle_ring_at_the_burst_alone(burst: Counts) -> None:
    world = burst.world._replace(warm=200 * HOUR)
    for rang in (
        sequential.page_hinkley(burst._replace(world=world), 12.0),
        sequential.oracle(sequential.Truth(burst.bad, np.full(burst.bad.shape, 0.5), np.ones(2)), world, 8.0),
    ):
        assert rang.key.tolist() == [1]
        assert START + BURST * HOUR < rang.at[0] <= START + (BURST + 5) * HOUR


def test_focus_is_the_best_of_all_windows() -> None:
    rng = np.random.default_rng(8)
    mean = rng.uniform(0.05, 0.4, 300)
    bad = rng.poisson(mean * np.where(np.arange(300) > 200, 3, 1)).astype(float)
    ends, longest = np.cumsum(mean), 100
    at = np.nonzero(bad)[0]
    found = sequential.windows(at.tolist(), bad[at].tolist(), (ends - mean)[at].tolist(), ends[at].tolist(), longest)
    for period, ratio in zip(at, found, strict=True):
        every = [(bad[first : period + 1].sum(), mean[first : period + 1].sum()) for first in range(period + 1)]
        every = every[max(0, period - longest + 1) :]
        assert ratio == pytest.approx(max(n * np.log(n / m) - (n - m) if n > m else 0.0 for n, m in every))


def test_the_oracle_knows_what_is_expected(posts: Population) -> None:
    for population in (simulate(NEWS, 30, 4), posts):
        usual = [Items(*(part[key.items.cause != HAPPENING] for part in key.items)) for key in population.keys]
        keys = [key._replace(items=items) for key, items in zip(population.keys, usual, strict=True)]
        truth = sequential.truth_of(population, count(population._replace(keys=keys)))
        assert truth.bad.sum() == pytest.approx(truth.expected.sum(), rel=0.2)


def test_counts_hold_all_evidence_and_merge(posts: Population) -> None:
    counts = count(posts)
    assert counts.every.sum() == pytest.approx(sum(key.items.weight.sum() for key in posts.keys))
    hourly = counts.merged(HOUR)
    assert hourly.world.step == HOUR
    assert hourly.bad[:, 5] == pytest.approx(counts.bad[:, 60:72].sum(1))


def test_the_shipped_detectors_scores_ring_where_it_does(posts: Population) -> None:
    scores = shipped.scores(posts)
    for budget in (0.05, 1.0):
        since = START + posts.world.warm
        rang = alarms(scores, threshold(budget), posts.world.quiet)
        found = [one for one in shipped.episodes(posts, budget) if one.fired >= since]
        assert found
        assert {one.key for one in found} == set(rang.key.tolist())
        assert all(one.resolved > one.fired for one in found)
        for key in set(rang.key.tolist()):
            assert rang.at[rang.key == key][0] == min(one.fired for one in found if one.key == key)


def test_alarms_within_the_quiet_time_are_one() -> None:
    key, at = np.array([0, 0, 0, 1]), np.array([10.0, 20.0, 200.0, 210.0])
    assert apart(key, at, at + 5, 100.0).at.tolist() == [10.0, 200.0, 210.0]
    scores = of_matrix(np.tile([0.0] * 50 + [9.0, 8.0], (2, 1)), NEWS._replace(warm=0.0))
    assert alarms(scores, 8.5, DAY).at.tolist() == [START + 51 * HOUR] * 2
    assert len(alarms(scores, 9.5, DAY).at) == 0


@pytest.fixture
def truth() -> Truth:
    """Two keys; the first has a spike, then a distractor."""
    return Truth(
        world=NEWS,
        rate=np.array([1e-5, 1e-5]),
        weeks=np.array([10.0, 10.0]),
        key=np.array([0, 0]),
        kind=np.array(["fast", "surge"]),
        ratio=np.array([4.0, 8.0]),
        onset=START + np.array([13, 20]) * WEEK,
        end=START + np.array([13, 20]) * WEEK + HOUR,
        real=np.array([True, False]),
    )


def test_an_alarm_is_a_hit_false_or_neither(truth: Truth) -> None:
    onset = START + 13 * WEEK
    moments = [onset - 60, onset + 60, onset + NEWS.tail, onset + 2 * NEWS.tail]
    verdict = judge(truth, Alarms(np.array([0, 0, 0, 0, 1]), np.array([*moments, onset])))
    assert verdict.false.tolist() == [2.0, 1.0]
    assert verdict.found.tolist() == [True, False]
    assert verdict.delay[0] == 60.0
    assert recall(truth, verdict, truth.real).value == 1.0
    late = judge(truth, Alarms(np.array([0]), np.array([onset + NEWS.tail])))
    assert not late.found.any()
    assert late.false.sum() == 0


def test_the_threshold_is_the_lowest_with_no_more_false_alarms(truth: Truth) -> None:
    at = START + (14 + 0.5 * np.arange(8)) * WEEK
    scores = Scores(np.zeros(8, int), at, at, np.arange(8.0))
    ladder = np.arange(0.5, 9.0)

    def ring(threshold: float) -> Alarms:
        return alarms(scores, threshold, NEWS.quiet)

    assert matched(truth, ring, ladder, 4 / 20) == 3.5
    assert matched(truth, ring, ladder, 0.0) == 7.5


def test_on_recorded_evidence_all_ring_as_often_and_what_each_finds_is_counted() -> None:
    """Ten companies with a story every other day, seldom a bad one; one of them has ten bad ones within a day."""
    rng, recorder, shape = (
        np.random.default_rng(8),
        Recorder((0.05, 1.0), min_open=600.0, lateness=600.0),
        Shape(Profile()),
    )
    crisis = START + 20 * WEEK
    for key in range(10):
        moments = np.sort(rng.uniform(START, START + 26 * WEEK, 90)).tolist()
        items = [Item(at, 0.95 if rng.random() < 0.1 else 0.05, 1.0, False, f"{at}", "p1", True) for at in moments]
        if key == 3:
            items += [Item(crisis + n * HOUR, 0.95, 1.0, False, f"c{n}", f"p{n % 3}", True) for n in range(10)]
        for item in sorted(items, key=lambda one: one.at):
            recorder.observe(f"entity:{key}", START, item, shape, {})
    recorder.observe("market", START, item, shape, {})
    events = [
        {"entity": name, "onset": iso(at), "what": "", "dated": True, "keys": keys}
        for name, at, keys in (("3", crisis, ["entity:3"]), ("4", crisis, ["entity:4"]), ("all", crisis, ["market"]))
    ]
    found = compared(recorder, {"figures": {"to": iso(START + 26 * WEEK), "entity_keys": 10}, "events": events})
    own = found["tapewatch"]
    assert own[0.05]["hits"] == [0] and 1 <= own[0.05]["alarms"] <= own[1.0]["alarms"]
    assert (own[0.05]["events_counted"], own[0.05]["events_found"]) == (2, 1), "the market is no company"
    assert 0.0 < own[0.05]["delay_days"] < 0.5
    for name, one in found.items():
        assert all(one[budget]["alarms"] <= own[budget]["alarms"] for budget in (0.05, 1.0)), name
    assert all(found[name][0.05]["hits"] == [0] for name in ("MAD z-score", "Poisson-FOCuS", "EARS C2"))
    rows = table(found).splitlines()
    assert len(rows) == 2 + len(RULES) + 4 and len({row.count("|") for row in rows}) == 1
    assert any(row.startswith("| tapewatch | ") and " | 1 (0.09–0.91) | " in row for row in rows)


def test_an_interval_covers_what_it_is_about() -> None:
    rng = np.random.default_rng(1)
    wholes = np.full(60, 5.0)
    covered = [
        one.low <= 0.3 <= one.high for one in (share(rng.binomial(5, 0.3, 60).astype(float), wholes) for _ in range(60))
    ]
    assert np.mean(covered) > 0.85
