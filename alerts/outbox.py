"""What is owed to each channel: one obligation an alert event and channel, and what each attempt does to it.

Pure: the notify stage keeps obligations in a table and applies attempts; the delivery loop applies the same
functions to what it holds, so that both know when the next attempt is due without asking each other.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEDULE = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds after each failed attempt: about three days in all, as Standard Webhooks recommends."""

JITTER = 0.2
"""Share of a wait by which it is moved, so that a receiver which comes back isn't met by everybody at once."""

LONGEST = 2.0 * SCHEDULE[-1]
"""Seconds: no obligation waits longer than the last step at its most patient."""

GIVE_UP_ENDPOINT = 5 * 86_400.0
"""An endpoint that only failed for this long is disabled, with an operational event."""

KEEP = 7 * 86_400.0
"""How long a settled obligation is remembered, so that a replayed alert is not sent again."""

Reason = Literal[
    "ok",
    "timeout",
    "connect",
    "tls",
    "blocked",
    "redirect",
    "rejected",
    "throttled",
    "server_error",
    "gone",
    "response",
    "defect",
]
"""Why an attempt ended as it did. ``response``: an answer that could not be read; ``defect``: the channel's own."""


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try and its result. ``at`` in seconds since 1970, ``seconds`` its length.

    ``draw`` in [0, 1) fixes the jitter, so that applying the record again gives the same plan.
    """

    schema: int = 1
    event: str
    channel: str
    number: int
    at: float
    ok: bool
    reason: Reason
    status: int | None = None
    seconds: float = 0.0
    retry_after: float | None = None
    """Seconds that the receiver asked for."""
    gone: bool = False
    """The receiver wants nothing any more."""
    draw: float = 0.5
    extra: bool = False
    """Made ahead of the schedule, which goes on as if it had not been."""


class Obligation(msgspec.Struct, frozen=True, kw_only=True):
    """A body owed to a channel. ``order`` groups what must arrive in sequence: an alert's dedupe key."""

    event: str
    channel: str
    type: str
    order: str
    body: bytes
    created: float
    published: float | None = None
    """Publication of the document that crossed the threshold."""
    attempts: int = 0
    unscheduled: int = 0
    """Attempts that the schedule does not count: those ahead of it, and those before an operator's retry."""
    due: float = 0.0
    state: Literal["pending", "delivered", "failed"] = "pending"
    reason: str = ""
    settled: float | None = None

    @property
    def key(self) -> str:
        return f"{self.event}|{self.channel}"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A channel's health. ``failing_since``: first failure since the last success."""

    channel: str
    failing_since: float | None = None
    disabled: bool = False
    why: str = ""


def delay(attempt: int, retry_after: float | None, draw: float) -> float | None:
    """Seconds until the next try after failed ``attempt`` (1 is the first), or None to give up.

    Retry-After moves it within [base, 2 base]: a receiver may ask for patience, not for silence.
    """
    if attempt > len(SCHEDULE):
        return None
    base = SCHEDULE[max(attempt, 1) - 1]
    if retry_after is None:
        return base * (1.0 + JITTER * (2.0 * draw - 1.0))
    asked = min(max(retry_after, base), 2.0 * base)
    return min(asked * (1.0 + JITTER * draw), 2.0 * base)


def apply(obligation: Obligation, attempt: DeliveryAttempt) -> Obligation:
    """The obligation after an attempt. An attempt that was applied before, or came late, changes nothing."""
    if obligation.state != "pending" or attempt.number <= obligation.attempts:
        return obligation
    tried = msgspec.structs.replace(obligation, attempts=attempt.number, reason=attempt.reason)
    if attempt.ok:
        return msgspec.structs.replace(tried, state="delivered", settled=attempt.at, body=b"")
    if attempt.gone:
        return msgspec.structs.replace(tried, state="failed", settled=attempt.at)
    if attempt.extra:
        return msgspec.structs.replace(tried, unscheduled=tried.unscheduled + 1)
    wait = delay(attempt.number - tried.unscheduled, attempt.retry_after, attempt.draw)
    if wait is None:
        return msgspec.structs.replace(tried, state="failed", settled=attempt.at)
    return msgspec.structs.replace(tried, due=attempt.at + wait)


def revive(obligation: Obligation, at: float) -> Obligation:
    """An operator's retry: owed again at once, with a fresh schedule. What was delivered stays delivered."""
    if obligation.state == "delivered":
        return obligation
    return msgspec.structs.replace(
        obligation, state="pending", due=at, settled=None, unscheduled=obligation.attempts, reason=""
    )


def judge(endpoint: Endpoint, attempt: DeliveryAttempt) -> Endpoint:
    """The endpoint after an attempt. Only an operator enables one that was disabled."""
    change = msgspec.structs.replace
    if endpoint.disabled:
        return endpoint
    if attempt.ok:
        return change(endpoint, failing_since=None)
    if attempt.gone:
        return change(endpoint, disabled=True, why="it answered 410 Gone")
    since = attempt.at if endpoint.failing_since is None else endpoint.failing_since
    if attempt.at - since >= GIVE_UP_ENDPOINT:
        return change(endpoint, failing_since=since, disabled=True, why="every attempt of five days failed")
    return change(endpoint, failing_since=since)
