"""What is owed, attempt by attempt."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.outbox import (
    GIVE_UP_ENDPOINT,
    JITTER,
    SCHEDULE,
    DeliveryAttempt,
    Endpoint,
    Obligation,
    apply,
    delay,
    judge,
    revive,
)

NOW = 1_790_000_000.0
draws = st.floats(0, 1, exclude_max=True)
asked = st.none() | st.floats(0, 1e9)


def owed(**changes: object) -> Obligation:
    start = Obligation(event="e1", channel="desk", type="alert.firing", order="o", body=b"{}", created=NOW, due=NOW)
    return msgspec.structs.replace(start, **changes)


def tried(number: int, **changes: object) -> DeliveryAttempt:
    start = DeliveryAttempt(
        event="e1", channel="desk", number=number, at=NOW, ok=False, reason="server_error", status=503
    )
    return msgspec.structs.replace(start, **changes)


@given(st.integers(1, len(SCHEDULE)), draws)
def test_a_wait_is_its_step_moved_by_at_most_a_fifth(attempt: int, draw: float) -> None:
    wait, base = delay(attempt, None, draw), SCHEDULE[attempt - 1]
    assert wait is not None
    assert (1 - JITTER) * base <= wait <= (1 + JITTER) * base


@given(st.integers(1, len(SCHEDULE)), st.floats(0, 1e12), draws)
def test_retry_after_moves_a_wait_between_its_step_and_twice_its_step(attempt: int, ask: float, draw: float) -> None:
    wait, base = delay(attempt, ask, draw), SCHEDULE[attempt - 1]
    assert wait is not None
    assert base <= wait <= 2 * base
    assert wait >= min(ask, 2 * base), "a receiver was asked before the time it named"


def test_jitter_spreads_what_failed_together() -> None:
    waits = {delay(2, None, draw / 100) for draw in range(100)}
    assert len(waits) == 100
    assert min(w for w in waits if w) == 240.0


@given(st.lists(st.tuples(draws, asked), min_size=12, max_size=12))
def test_ten_failures_take_about_three_days_and_end_it(luck: list[tuple[float, float | None]]) -> None:
    obligation, now, sent = owed(), NOW, 0
    while obligation.state == "pending":
        assert obligation.due >= now
        now, sent = obligation.due, sent + 1
        draw, ask = luck[sent - 1]
        obligation = apply(obligation, tried(sent, at=now, draw=draw, retry_after=ask))
    assert sent == len(SCHEDULE) + 1
    assert obligation.state == "failed"
    assert 0.8 * sum(SCHEDULE) <= now - NOW <= 2 * sum(SCHEDULE)


@given(st.lists(st.tuples(st.integers(1, 14), st.booleans(), draws), max_size=30))
def test_an_attempt_read_again_changes_nothing(history: list[tuple[int, bool, float]]) -> None:
    obligation = owed()
    for number, ok, draw in history:
        attempt = tried(number, ok=ok, draw=draw, reason="ok" if ok else "timeout")
        obligation = apply(obligation, attempt)
        assert apply(obligation, attempt) == obligation
        assert obligation.attempts >= number or obligation.state != "pending"


def test_delivered_keeps_the_id_and_lets_go_of_the_body() -> None:
    done = apply(owed(), tried(1, ok=True, reason="ok", status=200))
    assert (done.state, done.body, done.settled, done.key) == ("delivered", b"", NOW, "e1|desk")
    assert apply(done, tried(2)) == done
    assert revive(done, NOW + 1) == done


def test_gone_ends_an_obligation_at_once() -> None:
    assert apply(owed(), tried(1, gone=True, reason="gone", status=410)).state == "failed"


def test_an_attempt_ahead_of_the_schedule_leaves_the_schedule_alone() -> None:
    first = apply(owed(), tried(1))
    second = apply(first, tried(2, extra=True, at=NOW + 1))
    assert (second.due, second.attempts) == (first.due, 2)
    third = apply(second, tried(3, at=first.due))
    assert third.due - first.due == pytest.approx(SCHEDULE[1])


def test_an_operators_retry_starts_a_fresh_schedule_under_the_same_id() -> None:
    obligation = owed()
    for number in range(1, len(SCHEDULE) + 2):
        obligation = apply(obligation, tried(number))
    assert obligation.state == "failed"
    again = revive(obligation, NOW + 9e5)
    assert (again.state, again.due, again.event, again.body) == ("pending", NOW + 9e5, "e1", b"{}")
    assert apply(again, tried(3)) == again, "an attempt of the first round was applied to the second"
    assert apply(again, tried(again.attempts + 1, at=NOW)).due - NOW == pytest.approx(SCHEDULE[0])


def test_an_endpoint_that_only_fails_for_five_days_is_disabled() -> None:
    endpoint = judge(Endpoint(channel="desk"), tried(1))
    almost = judge(endpoint, tried(2, at=NOW + GIVE_UP_ENDPOINT - 1))
    assert not almost.disabled
    assert judge(almost, tried(3, at=NOW + GIVE_UP_ENDPOINT)).disabled


def test_one_success_in_five_days_keeps_an_endpoint() -> None:
    endpoint = judge(Endpoint(channel="desk"), tried(1))
    endpoint = judge(endpoint, tried(2, ok=True, reason="ok", at=NOW + 4 * 86_400))
    endpoint = judge(endpoint, tried(3, at=NOW + GIVE_UP_ENDPOINT + 1))
    assert not endpoint.disabled
    assert endpoint.failing_since == NOW + GIVE_UP_ENDPOINT + 1


def test_410_disables_an_endpoint_and_only_an_operator_brings_it_back() -> None:
    endpoint = judge(Endpoint(channel="desk"), tried(1, gone=True, reason="gone"))
    assert endpoint.disabled
    assert "410" in endpoint.why
    assert judge(endpoint, tried(2, ok=True, reason="ok")).disabled


def test_records_survive_their_bytes() -> None:
    for record in (owed(), tried(3, retry_after=7.5), Endpoint(channel="desk", failing_since=NOW)):
        assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record
