"""What is learned of chance: how often a key's evidence reaches a height by itself, and what a budget then means."""

from __future__ import annotations

import math
import random

import pytest

from alerts.baseline import DAY, MONTH, NEWS, SOCIAL, ClassSettings
from alerts.chance import RARE, Tail, learn, note, surprise, threshold, usual_slope, usual_times

BAD = {"news": 7.0, "social": 300.0}
"""Bad items a month."""


def live(
    tail: Tail, months: float, rate: float, slope: float, settings: ClassSettings, seed: int = 1, crises: int = 0
) -> None:
    """Lets a key live: passages at ``rate`` a month whose heights fall off by ``slope``, and crises far beyond."""
    rng = random.Random(seed)
    end, at, since = tail.last + months * MONTH, tail.last, tail.last
    heights = []
    while (at := at + settings.apart + rng.expovariate(rate / MONTH)) < end:
        heights.append((at, settings.level + rng.expovariate(slope)))
    for number in range(crises):
        heights.append((since + (number + 0.5) / crises * months * MONTH, 80.0))
    for moment, height in sorted(heights):
        learn(tail, moment, moment - since, BAD[settings.name], 0.0, settings)
        note(tail, moment - 1.0, settings.level, settings)
        note(tail, moment, height, settings)
        since = moment
    learn(tail, end, end - since, BAD[settings.name], 0.0, settings)


def fresh(settings: ClassSettings) -> Tail:
    tail = Tail()
    learn(tail, 0.0, 0.0, BAD[settings.name], 0.0, settings)
    return tail


def times_a_month(tail: Tail, evidence: float, settings: ClassSettings) -> float:
    return 1.0 / math.expm1(surprise(tail, evidence, settings))


@pytest.mark.parametrize("settings", [NEWS, SOCIAL], ids=lambda one: str(one.name))
def test_without_a_past_of_its_own_a_key_is_as_others_of_its_rate(settings: ClassSettings) -> None:
    tail = fresh(settings)
    assert times_a_month(tail, settings.level, settings) == pytest.approx(usual_times(BAD[settings.name], settings))
    fall = math.log(times_a_month(tail, settings.level, settings) / times_a_month(tail, settings.level + 1.0, settings))
    assert fall == pytest.approx(usual_slope(BAD[settings.name], settings))
    assert surprise(tail, 0.0, settings) == 0.0 < surprise(tail, 1e-9, settings) < 1e-6


@pytest.mark.parametrize("settings", [NEWS, SOCIAL], ids=lambda one: str(one.name))
@pytest.mark.parametrize(("more", "steeper"), [(3.0, 0.7), (0.4, 1.4), (1.0, 1.0)])
def test_a_keys_own_peaks_say_how_often_chance_reaches_a_height(
    settings: ClassSettings, more: float, steeper: float
) -> None:
    tail = fresh(settings)
    rate = more * usual_times(BAD[settings.name], settings)
    slope = steeper * usual_slope(BAD[settings.name], settings)
    live(tail, 600.0 / rate, rate / (1.0 - rate * settings.apart / MONTH), slope, settings)
    height = settings.level + math.log(rate / 0.05) / slope
    assert times_a_month(tail, height, settings) == pytest.approx(0.05, rel=0.5)


@pytest.mark.parametrize("settings", [NEWS, SOCIAL], ids=lambda one: str(one.name))
@pytest.mark.parametrize("crises", [5, 60])
def test_crises_do_not_make_a_key_deaf(settings: ClassSettings, crises: int) -> None:
    rate, slope = usual_times(BAD[settings.name], settings), usual_slope(BAD[settings.name], settings)
    calm, struck = fresh(settings), fresh(settings)
    live(calm, 100.0 / rate, rate, slope, settings)
    live(struck, 100.0 / rate, rate, slope, settings, crises=crises)
    height = settings.level + math.log(rate / 0.05) / slope
    assert times_a_month(struck, height, settings) < 2.0 * times_a_month(calm, height, settings)


def test_a_passage_is_one_until_the_evidence_was_low_for_long_enough() -> None:
    tail = fresh(NEWS)
    for hours, evidence in ((0, 5.0), (20, 5.0), (60, 4.5), (60 + 71, 4.5), (60 + 71 + 73, 4.2)):
        note(tail, DAY + hours * 3600.0, evidence, NEWS)
    assert tail.times == 2.0
    assert (tail.ended, tail.above) == (1.0, 1.0)
    assert tail.peak == 4.2


def test_what_chance_hardly_brings_counts_as_that_high_at_least() -> None:
    tail = fresh(NEWS)
    rare = (math.log(RARE) + tail.offset) / tail.slope
    note(tail, DAY, rare + 0.1, NEWS)
    note(tail, 9 * DAY, 99.0, NEWS)
    assert (tail.times, tail.ended, tail.above) == (2.0, 0.0, pytest.approx(rare - NEWS.level))
    note(tail, 18 * DAY, 5.0, NEWS)
    assert (tail.times, tail.above) == (2.0, pytest.approx(rare - NEWS.level)), "99 nats are no chance"


@pytest.mark.parametrize("settings", [NEWS, SOCIAL], ids=lambda one: str(one.name))
def test_a_tail_much_heavier_than_is_usual_is_learned_all_the_same(settings: ClassSettings) -> None:
    """Many peaks look like crises at first: those that count until more of them came are enough."""
    tail = fresh(settings)
    rate, slope = usual_times(BAD[settings.name], settings), 0.5 * usual_slope(BAD[settings.name], settings)
    live(tail, 600.0 / rate, rate / (1.0 - rate * settings.apart / MONTH), slope, settings)
    assert times_a_month(tail, settings.level + math.log(rate / 0.05) / slope, settings) > 0.035


def test_nothing_is_concluded_while_the_evidence_is_high() -> None:
    tail = fresh(NEWS)
    before = (tail.slope, tail.offset)
    learn(tail, DAY, DAY, 50.0, NEWS.level / 2.0, NEWS)
    assert (tail.slope, tail.offset) == before
    learn(tail, 2 * DAY, DAY, 50.0, NEWS.level / 2.0 - 0.1, NEWS)
    assert (tail.slope, tail.offset) != before


def test_a_budget_is_what_is_expected_as_often() -> None:
    for budget in (0.02, 0.05, 1.0, 10.0):
        assert 1.0 / math.expm1(threshold(budget)) == pytest.approx(budget)
