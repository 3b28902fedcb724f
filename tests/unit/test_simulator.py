"""The simulated streams are what they say: seeds, rates, moods, happenings, outages."""

import numpy as np
import pytest

from benchmarks.simulator.items import COPY, FOLLOW_UP, HAPPENING, Key, Population, outages_until, simulate
from benchmarks.simulator.world import NEWS, SOCIAL, SPIKES, START, Event


@pytest.fixture(scope="module", params=[NEWS, SOCIAL], ids=["news", "social"])
def population(request: pytest.FixtureRequest) -> Population:
    return simulate(request.param._replace(rates=tuple(rate / 8 for rate in request.param.rates)), 36, 7)


def events(population: Population, *kinds: str) -> list[tuple[Key, Event]]:
    return [(key, event) for key in population.keys for event in key.events if event.kind in kinds]


def stories(key: Key, event: Event) -> np.ndarray:
    """Which of the key's items came within the event and are no copies."""
    items = key.items
    return (items.at >= event.onset) & (items.at < event.end) & (items.cause != COPY)


def test_a_seed_gives_the_same_streams_and_another_seed_others() -> None:
    small = NEWS._replace(weeks=16)
    first, again, other = simulate(small, 3, 1), simulate(small, 3, 1), simulate(small, 3, 2)
    for one, same in zip(first.keys, again.keys, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.items, same.items, strict=True))
        assert one.events == same.events
    assert not np.array_equal(first.keys[0].items.at, other.keys[0].items.at)


def test_items_are_in_order_within_the_span_and_as_many_as_the_rates_say(population: Population) -> None:
    world = population.world
    usual = bad = 0
    for key in population.keys:
        items = key.items
        assert (np.diff(items.at) >= 0).all()
        assert ((items.at >= START) & (items.at < START + world.span)).all()
        own = (items.cause != COPY) & (items.cause != HAPPENING)
        usual += int(own.sum())
        bad += int((own & items.bad).sum())
    # Clusters, wander and the moods that they share leave some play.
    assert population.usual.sum() * world.step == pytest.approx(bad, rel=0.15)
    assert 0.1 < bad / usual < 0.3


def test_follow_ups_and_copies_are_there_and_copies_weigh_next_to_nothing(population: Population) -> None:
    items = [key.items for key in population.keys]
    cause, weight = np.concatenate([one.cause for one in items]), np.concatenate([one.weight for one in items])
    assert (cause == FOLLOW_UP).mean() > 0.05
    assert weight[cause == COPY].mean() < 0.06
    assert weight[cause != COPY].min() >= 0.9


def test_the_probabilities_tell_bad_from_other_but_not_always(population: Population) -> None:
    b, bad = (np.concatenate([getattr(key.items, name) for key in population.keys]) for name in ("b", "bad"))
    assert 0.9 < ((b >= 0.5) == bad).mean() < 0.98


def test_the_weeks_of_keys_differ_from_the_pooled_one(population: Population) -> None:
    hours = np.array([key.traits.hours for key in population.keys])
    assert hours.mean(axis=1) == pytest.approx(np.ones(len(hours)))
    assert np.median([np.corrcoef(one, hours.mean(axis=0))[0, 1] for one in hours]) < 0.9


def test_spikes_add_bad_stories_as_their_ratio_says(population: Population) -> None:
    for ratio in (2.5, 16.0):
        of_ratio = [(key, event) for key, event in events(population, *SPIKES[:3]) if event.ratio == ratio]
        expected = sum((ratio - 1) * max(event.usual, 2.0) for _, event in of_ratio)
        came = sum(
            int((stories(key, event) & (key.items.cause == HAPPENING) & key.items.bad).sum()) for key, event in of_ratio
        )
        assert came == sum(event.added for _, event in of_ratio)
        assert came == pytest.approx(expected, rel=0.2)


def test_a_tone_flip_turns_stories_bad_and_adds_none(population: Population) -> None:
    flips = events(population, "flip")
    turned = sum(event.added for _, event in flips)
    assert turned > 0
    assert turned == sum(int((key.items.cause[stories(key, event)] == HAPPENING).sum()) for key, event in flips)
    every = sum(int(stories(key, event).sum()) for key, event in flips)
    bad = sum(int(key.items.bad[stories(key, event)].sum()) for key, event in flips)
    assert bad / every > 0.4


def test_distractors_bring_no_bad_stories_but_one_that_everyone_prints(population: Population) -> None:
    for key, event in events(population, "surge", "cheer"):
        assert not key.items.bad[stories(key, event) & (key.items.cause == HAPPENING)].any()
    for key, event in events(population, "copies"):
        within = (key.items.at >= event.onset) & (key.items.at < event.end + population.world.tail)
        assert event.added == 1
        assert (within & (key.items.cause == COPY) & key.items.bad).sum() >= 20
    moves = [[event[2:4] for event in key.events if event.kind == "market"] for key in population.keys]
    assert moves[0]
    assert all(move == moves[0] for move in moves)


def test_nothing_comes_in_an_outage_and_it_is_told_as_blind(population: Population) -> None:
    assert any(key.outages for key in population.keys)
    for key in population.keys:
        blind = np.array(list(outages_until(key)))
        for onset, end in key.outages:
            assert not ((key.items.at >= onset) & (key.items.at < end)).any()
            assert all(end + population.world.tail < one.onset or one.end < onset for one in key.events if one.real)
        over = sum(((end - onset) * (key.items.at >= end) for onset, end in key.outages), np.zeros(len(blind)))
        assert np.allclose(blind, over)


def test_a_key_that_is_born_late_has_a_history_before_anything_happens(population: Population) -> None:
    born = [key for key in population.keys if key.birth > START]
    assert born
    for key in born:
        assert (key.items.at >= key.birth).all()
        assert all(event.onset >= key.birth + population.world.warm for event in key.events if event.kind != "market")
