"""Who is told, and what is kept quiet."""

from __future__ import annotations

import msgspec
import pytest

from alerts.rules import Facts, Matcher, Route, Silence, route, silenced

NOW = 1_790_000_000.0
BANKS = Facts(type="alert.firing", key="entity:JPM", severity="error", watchlists=("banks",))
STALE = Facts(type="ops.source_stale", key="wire", severity="warning")


def test_without_routes_alerts_go_everywhere_and_operations_nowhere() -> None:
    assert route(BANKS, (), ("desk", "pager", "desk")) == ("desk", "pager")
    assert route(STALE, (), ("desk", "pager")) == ()


def test_the_first_route_that_matches_decides() -> None:
    routes = (
        Route(watchlists=("chips",), channels=("chips",)),
        Route(watchlists=("banks",), channels=("desk", "pager", "desk")),
        Route(channels=("all",)),
    )
    assert route(BANKS, routes, ("all", "chips", "desk", "pager")) == ("desk", "pager")


@pytest.mark.parametrize(
    ("asks", "matches"),
    [
        ({}, True),
        ({"types": ("alert.resolved",)}, False),
        ({"types": ("alert.f*", "ops.*")}, True),
        ({"keys": ("entity:J*",)}, True),
        ({"keys": ("entity:j*",)}, False),
        ({"keys": ("entity:JPM/*",)}, False),
        ({"severities": ("warning", "error")}, True),
        ({"severities": ("critical",)}, False),
        ({"watchlists": ("banks", "chips")}, True),
        ({"watchlists": ("chips",), "keys": ("entity:JPM",)}, False),
    ],
)
def test_every_condition_of_a_route_must_hold(asks: dict[str, tuple[str, ...]], matches: bool) -> None:
    routes = (msgspec.convert(asks | {"channels": ("desk",)}, Route),)
    assert route(BANKS, routes, ("desk",)) == (("desk",) if matches else ())


def test_operations_take_their_own_route() -> None:
    routes = (Route(types=("ops.*",), channels=("pager",)), Route(channels=("desk",)))
    assert route(STALE, routes, ("desk", "pager")) == ("pager",)
    assert route(BANKS, routes, ("desk", "pager")) == ("desk",)


def test_a_route_to_a_channel_that_is_gone_tells_those_that_are_left() -> None:
    assert route(BANKS, (Route(channels=("old", "desk")),), ("desk",)) == ("desk",)


def test_a_route_to_nobody_hushes_what_it_matches() -> None:
    assert route(BANKS, (Route(watchlists=("banks",), channels=()), Route(channels=("desk",))), ("desk",)) == ()


def silence(match: dict[str, tuple[str, ...]], name: str = "s", until: float = 3_600.0) -> Silence:
    return Silence(id=name, match=msgspec.convert(match, Matcher), created=NOW, expires=NOW + until)


def test_a_silence_holds_from_its_creation_until_it_expires() -> None:
    quiet = silence({"keys": ("entity:JPM",)})
    assert [silenced(BANKS, [quiet], NOW + at) is quiet for at in (-1, 0, 3_599, 3_600)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("match", "hushes"),
    [
        ({"keys": ("entity:*",)}, True),
        ({"watchlists": ("banks",)}, True),
        ({"severities": ("info", "warning")}, False),
        ({"keys": ("entity:*",), "severities": ("critical",)}, False),
        ({}, False),
    ],
)
def test_every_condition_of_a_silence_must_hold_and_none_hushes_nothing(
    match: dict[str, tuple[str, ...]], hushes: bool
) -> None:
    assert (silenced(BANKS, [silence(match)], NOW) is not None) == hushes


def test_of_several_silences_the_longest_is_named() -> None:
    short, long = silence({"keys": ("*",)}, "a"), silence({"keys": ("*",)}, "b", 9_000.0)
    assert silenced(BANKS, [long, short], NOW) is long


def test_an_operation_is_hushed_by_its_own_key_alone() -> None:
    assert silenced(STALE, [silence({"severities": ("warning",)})], NOW) is None
    assert silenced(STALE, [silence({"keys": ("wire",)})], NOW) is not None


def test_silences_and_routes_survive_their_bytes() -> None:
    for rule in (silence({"keys": ("entity:*",)}), Route(channels=("desk",))):
        assert msgspec.json.decode(msgspec.json.encode(rule), type=type(rule)) == rule
