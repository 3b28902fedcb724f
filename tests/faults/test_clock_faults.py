"""A clock that is set an hour forward and back while the daemon runs, and feeds whose dates make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from monitor.health import SourceWatch
from pipelines.clock import FURTHEST, ForwardClock, ManualClock
from pipelines.documents import epoch
from tests.daemon_bench import ACME, BAD_NEWS, Feed, Hook, Receiver
from tests.inside_bench import Inside, inside

HOUR = 3_600.0
T0 = 1_790_000_000.0
BOREALIS = ACME.replace("entities = [", 'entities = [{ name = "Borealis Corp", aliases = ["Borealis"] }, ')
MORE = (
    "Acme loses an appeal over its oldest mill, a further loss is feared",
    "Borealis opens a museum of early telephones",
    "Fraud at Borealis was known to the auditors for years, says a clerk",
    "Prosecutors search the headquarters of Borealis in a probe of bribes",
    "Ferry operator sues Borealis for engines that failed at sea",
    "Orders at Borealis slump to what they were a decade ago",
    "Investors leave Borealis, its stock is headed for a crash",
    "Quarterly loss of Borealis is the largest in its history",
    "Borealis falls out of the index after a warning about its debts",
    "Pension fund sues the directors of Borealis over hidden accounts",
)
"""In plain English: what comes from a feed goes by its language first."""


def counter(name: str) -> float:
    return REGISTRY.get_sample_value(f"tapewatch_{name}_total") or 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 900.0), st.floats(-HOUR, HOUR)), max_size=60))
def test_time_goes_forward_whatever_the_clock_is_set_to(steps: list[tuple[float, float]]) -> None:
    machine = ManualClock(T0)
    clock = ForwardClock(machine)
    before = clock.time()
    for passed, change in steps:
        machine._monotonic += passed
        machine.set(machine.time() + passed + change)
        now = clock.time()
        assert now >= before + passed / 2.0 - 1e-6 or machine.time() < before - FURTHEST
        assert now >= machine.time() and clock.wall() == machine.time()
        before = now
    # Left alone it is right again, after twice as long as it was set back in all.
    machine._monotonic += 200 * HOUR
    machine.set(machine.time() + 200 * HOUR)
    assert clock.time() == machine.time()


def test_a_clock_set_back_by_a_day_was_wrong_before() -> None:
    machine = ManualClock(T0)
    clock = ForwardClock(machine)
    machine.set(T0 - 24 * HOUR)
    assert clock.time() == T0 - 24 * HOUR


async def settled(daemon: Inside, seconds: float, step: float = 5.0) -> None:
    await daemon.pass_time(seconds, step, idle=True)


def resolved(hooks: Receiver) -> list[Hook]:
    return hooks.at("/desk", "alert.resolved")


def about(hooks: Receiver, name: str) -> list[Hook]:
    return [h for h in hooks.at("/desk", "alert.firing") if h.body["data"]["subject"]["name"].startswith(name)]


async def test_an_hour_forward_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Receiver() as hooks, Feed() as feed:
        text = (
            BOREALIS
            + hooks.channel("desk", "/desk")
            + hooks.channel("slow", "/slow")
            + feed.source("main", interval="60s")
        )
        async with inside(tmp_path, text + '[detection]\nmin_open = "20m"\n[engine]\ndrain = "2s"\n') as daemon:
            await settled(daemon, 120)
            hooks.answers["/slow"] = 500
            feed.titles = [(title, daemon.clock.time()) for title in BAD_NEWS]
            await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert", 5.0)
            await daemon.until(
                lambda: len(hooks.at("/slow")) > len({h.id for h in hooks.at("/slow")}), "second try", 1.0
            )
            await settled(daemon, 30)
            tried, rang, polls = len(hooks.at("/slow")), len(hooks.at("/desk", "alert.firing")), feed.polls

            # Forward: no hour of quiet has passed, and no retry is due.
            daemon.clock.set(daemon.clock.time() + HOUR)
            await settled(daemon, 120)
            forward = feed.polls - polls
            assert resolved(hooks) == [], "an hour that never was is taken for quiet"
            assert len(hooks.at("/slow")) == tried, "the next try is due five minutes after the last"
            assert len(hooks.at("/desk", "alert.firing")) == rang

            # Back: what comes now is not late, and is counted.
            feed.titles.append((MORE[0], daemon.clock.time()))
            await settled(daemon, 120)
            late, counted = counter("late_evidence"), counter("counted_evidence")
            daemon.clock.set(daemon.clock.time() - HOUR)
            feed.titles += [(title, daemon.clock.time()) for title in MORE[1:]]
            fired = await daemon.until(lambda: about(hooks, "Borealis"), "alert while the clock is behind", 5.0)
            stamp = int(fired[0].headers["webhook-timestamp"])
            backward = feed.polls - polls - forward
            await settled(daemon, 600)
            assert counter("late_evidence") == late, "what came after the clock was set back is late"
            assert counter("counted_evidence") - counted >= 9
            assert len(hooks.at("/slow")) > tried, "the next try was not made in time"
            hooks.answers["/slow"] = 204
            feed.titles.append(("A depot opens in the harbour", daemon.clock.time()))
            await daemon.until(lambda: len(resolved(hooks)) >= 2, "ends of it", 60.0)
    with capsys.disabled():
        print(
            f"\nset forward and back by 3,600 s; polls meanwhile {forward} and {backward}; tries of a failing receiver {tried} -> {len(hooks.at('/slow'))}"
        )
    assert forward >= 1 and backward >= 1, "the feed lost its interval"
    assert abs(stamp - epoch(fired[0].body["timestamp"])) > HOUR / 2, (
        "receivers compare with their own clock, so it is the machine's"
    )


async def test_set_forward_while_the_sources_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of at the old time, and a watermark at the new one: then the hour between would have been quiet."""
    look, forward = SourceWatch.look, [0.0]
    with Receiver() as hooks, Feed() as feed:
        text = ACME + hooks.channel("desk", "/desk") + feed.source("main", interval="60s")
        async with inside(tmp_path, text + '[detection]\nmin_open = "20m"\n[engine]\ndrain = "2s"\n') as daemon:

            async def look_and_set(watch: SourceWatch) -> None:
                await look(watch)
                daemon.clock.set(daemon.clock.time() + forward.pop() if forward else daemon.clock.time())

            monkeypatch.setattr(SourceWatch, "look", look_and_set)
            await settled(daemon, 120)
            feed.titles = [(title, daemon.clock.time()) for title in BAD_NEWS]
            await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert", 5.0)
            before = daemon.clock.time()
            forward.append(HOUR)
            await settled(daemon, 60)
            assert not forward and daemon.clock.time() > before + HOUR, "the clock was not set during a look"
            assert resolved(hooks) == [], "an hour that never was is taken for quiet"


async def test_dates_of_1970_and_2099(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Feed() as feed:
        async with inside(tmp_path, ACME + feed.source("main", interval="60s") + '[engine]\ndrain = "2s"\n') as daemon:
            await settled(daemon, 120)
            now = daemon.clock.time()
            feed.titles = [
                ("Past depot opens", 0.0),
                ("Future depot opens", 4_090_000_000.0),
                ("Today depot opens", now),
            ]
            found = lambda: daemon.daemon.read_model.documents(limit=10)  # noqa: E731 (named once, asked twice)
            await daemon.until(lambda: len(found()) == 3, "all three of them", 10.0)
            got = {one["title"].split()[0].lower(): one for one in found()}
            end = daemon.clock.time()
            keys = await daemon.daemon.engine.inspect("aggregate", lambda state: dict(state.table("detector").items()))
    clocks = [held.state.clock for held in keys.values()]
    with capsys.disabled():
        print(
            "\npublished as told and as kept: " + ", ".join(f"{name}: {one['published']}" for name, one in got.items())
        )
    assert set(got) == {"past", "future", "today"}
    for one in got.values():
        assert now - 1 <= epoch(one["published"]) <= epoch(one["fetched"]) <= end
    assert clocks and all(now <= clock <= end for clock in clocks), "a key's clock is not where the items came"
