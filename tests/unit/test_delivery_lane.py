"""The queue of one channel: order within an alert, and nothing lost or doubled."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.lane import BODIES, Lane
from alerts.outbox import LONGEST, Obligation

KINDS = ("alert.firing", "alert.updated", "alert.resolved")


def owed(event: str, order: str = "o", *, created: float = 0.0, due: float = 0.0, kind: str = KINDS[0]) -> Obligation:
    return Obligation(event=event, channel="desk", type=kind, order=order, body=b"{}", created=created, due=due)


def offer(lane: Lane, *obligations: Obligation, now: float = 0.0) -> None:
    for obligation in obligations:
        lane.offer(obligation, now=now, wall=now)


def take(lane: Lane, now: float = 0.0) -> str | None:
    waiting = lane.take(now)
    return None if waiting is None else waiting.obligation.event


def test_a_resolved_waits_for_its_firing() -> None:
    lane = Lane()
    firing, resolved = owed("f"), owed("r", created=1, due=1, kind=KINDS[2])
    offer(lane, resolved, firing, now=1)
    assert take(lane, 1) == "f"
    assert take(lane, 1) is None, "the resolved overtook its firing"
    lane.settle(msgspec.structs.replace(firing, due=6.0, attempts=1), now=1, wall=1)
    assert take(lane, 5) is None
    assert take(lane, 6) == "f"
    lane.settle(msgspec.structs.replace(firing, state="delivered"), now=6, wall=6)
    assert take(lane, 6) == "r"


def test_a_firing_that_is_given_up_releases_what_waited_for_it() -> None:
    lane = Lane()
    offer(lane, owed("f"), owed("r", created=1, kind=KINDS[2]))
    assert take(lane) == "f"
    lane.settle(msgspec.structs.replace(owed("f"), state="failed"), now=0, wall=0)
    assert take(lane) == "r"


def test_events_of_one_instant_keep_the_order_of_an_episode() -> None:
    lane = Lane()
    offer(lane, owed("a", kind=KINDS[2]), owed("b", kind=KINDS[1]), owed("z"))
    seen = []
    while (waiting := lane.take(0.0)) is not None:
        seen.append(waiting.obligation.event)
        lane.settle(msgspec.structs.replace(waiting.obligation, state="delivered"), now=0, wall=0)
    assert seen == ["z", "b", "a"]


def test_orders_do_not_wait_for_each_other() -> None:
    lane = Lane()
    offer(lane, owed("a", "one", due=500.0), owed("b", "two"))
    assert take(lane) == "b"
    assert lane.wake() == 500.0


def test_what_is_offered_twice_is_sent_once() -> None:
    lane = Lane()
    offer(lane, owed("a"), owed("a"))
    assert (len(lane), take(lane), take(lane)) == (1, "a", None)


def test_an_operators_retry_brings_a_waiting_one_forward() -> None:
    lane = Lane()
    offer(lane, owed("a", due=9_000.0))
    assert take(lane, 10) is None
    offer(lane, owed("a", due=10.0), now=10)
    assert take(lane, 10) == "a"


def test_a_new_event_brings_what_holds_it_back_forward_off_the_schedule() -> None:
    lane = Lane()
    offer(lane, msgspec.structs.replace(owed("old", due=9_000.0), attempts=4))
    offer(lane, owed("new", created=5.0, due=5.0), now=5)
    waiting = lane.take(5)
    assert waiting is not None
    assert (waiting.obligation.event, waiting.extra) == ("old", True)


def test_a_clock_set_back_by_a_year_stops_nothing() -> None:
    lane = Lane()
    lane.offer(owed("a", due=3e7), now=0, wall=0)
    wake = lane.wake()
    assert wake is not None
    assert wake <= LONGEST


def test_bodies_of_a_long_queue_are_not_kept_where_they_can_be_read_again() -> None:
    lane = Lane(spare_bodies=True)
    offer(lane, *(owed(f"e{i:04}", f"o{i}", due=float(i)) for i in range(3 * BODIES)))
    kept = 0
    for at in range(3 * BODIES):
        waiting = lane.take(at)
        assert waiting is not None
        kept += bool(waiting.obligation.body)
    assert kept == BODIES


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(0, 60), st.integers(0, 40)), max_size=40
    ),
    st.data(),
)
def test_every_order_leaves_in_order_and_nothing_is_lost(
    offers: list[tuple[str, str, int, int]], data: st.DataObject
) -> None:
    lane, now = Lane(), 0.0
    whole = [owed(f"e{i}", order, created=float(c), due=float(d), kind=k) for i, (order, k, c, d) in enumerate(offers)]
    offer(lane, *whole)
    left: list[Obligation] = []
    for _ in range(2_000):
        waiting = lane.take(now)
        if waiting is None:
            wake = lane.wake()
            if wake is None:
                break
            now = max(now, wake)
            continue
        one = waiting.obligation
        if data.draw(st.booleans()) and one.attempts < 3:
            after = msgspec.structs.replace(one, attempts=one.attempts + 1, due=now + data.draw(st.integers(1, 50)))
        else:
            after = msgspec.structs.replace(one, state="delivered")
            left.append(one)
        lane.settle(after, now=now, wall=now)
    assert len(lane) == 0
    assert sorted(one.event for one in left) == sorted(one.event for one in whole)
    for order in "abc":
        mine = [(one.created, KINDS.index(one.type)) for one in left if one.order == order]
        assert mine == sorted(mine)
