"""What every kind of channel promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from alerts.channels import OPTIONS
from alerts.evidence import build_operation
from tests.contract.channel_bench import BENCHES, Bench

NOW = 1_790_000_000.0
BODIES = {
    f"event-{n}": build_operation("ops.pipeline_lag", at=NOW + n, subject="score", summary_text=text).body
    for n, text in enumerate(["behind by 90 s", "落后 90 秒", '\U0001f4c9 "quoted" \\ back', "</script><b>", "x" * 400])
}


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with BENCHES[request.param]() as one:
        yield one


def test_every_kind_that_can_be_configured_is_under_contract() -> None:
    assert set(OPTIONS) <= set(BENCHES)


async def test_a_body_arrives_as_it_was_given_under_its_id(bench: Bench) -> None:
    for event, body in BODIES.items():
        outcome = await bench.channel.send(event, body, NOW)
        assert (outcome.ok, outcome.reason, outcome.gone) == (True, "ok", False)
    assert bench.seen() == list(BODIES.items())


async def test_the_same_event_again_carries_the_same_id_and_body(bench: Bench) -> None:
    for _ in range(3):
        assert (await bench.channel.send("event-1", BODIES["event-1"], NOW)).ok
    assert bench.seen() == [("event-1", BODIES["event-1"])] * 3


async def test_attempts_may_overlap(bench: Bench) -> None:
    outcomes = await asyncio.gather(*(bench.channel.send(event, body, NOW) for event, body in BODIES.items()))
    assert all(outcome.ok for outcome in outcomes)
    assert sorted(bench.seen()) == sorted(BODIES.items())


async def test_a_failure_is_an_outcome_and_the_next_attempt_succeeds(bench: Bench) -> None:
    if bench.fail is None:
        assert bench.channel.kind == "log", "only the log may be unable to fail"
        return
    bench.fail()
    failed = await bench.channel.send("event-1", BODIES["event-1"], NOW)
    assert (failed.ok, failed.reason, failed.status) == (False, "server_error", 503)
    assert (await bench.channel.send("event-1", BODIES["event-1"], NOW + 5)).ok
    assert bench.seen() == [("event-1", BODIES["event-1"])] * 2


async def test_a_channel_is_known_by_its_name_and_kind(bench: Bench) -> None:
    assert bench.channel.name == "desk"
    assert bench.channel.kind in BENCHES
