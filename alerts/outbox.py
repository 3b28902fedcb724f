"""What is owed to each channel: one obligation an alert event and channel, and what each attempt does to it.

Pure: the notify stage keeps obligations in a table and applies attempts; the delivery loop only sends.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEDULE = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds after each failed attempt: about three days in all, as Standard Webhooks recommends."""

JITTER = 0.2
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
    "disabled",
    "refused",
]


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try and its result. ``at`` in seconds since 1970; ``draw`` in [0, 1) fixes the jitter, so that applying
    the record again gives the same plan."""

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
    gone: bool = False
    draw: float = 0.5


class Obligation(msgspec.Struct, frozen=True, kw_only=True):
    """A body owed to a channel. ``order`` groups what must arrive in sequence: an alert's dedupe key."""

    event: str
    channel: str
    type: str
    order: str
    body: bytes
    created: float
    published: float | None = None
    attempts: int = 0
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
    base = SCHEDULE[attempt - 1]
    wait = base * (1.0 + JITTER * (2.0 * draw - 1.0))
    if retry_after is not None:
        wait = max(wait, min(max(retry_after, base), 2.0 * base))
    return wait


def apply(obligation: Obligation, attempt: DeliveryAttempt) -> Obligation:
    """The obligation after an attempt. An attempt that was applied before, or came late, changes nothing."""
    if obligation.state != "pending" or attempt.number <= obligation.attempts:
        return obligation
    change = msgspec.structs.replace
    if attempt.ok:
        return change(
            obligation,
            attempts=attempt.number,
            state="delivered",
            reason=attempt.reason,
            settled=attempt.at,
            body=b"",
        )
    wait = None if attempt.gone else delay(attempt.number, attempt.retry_after, attempt.draw)
    if wait is None:
        return change(
            obligation, attempts=attempt.number, state="failed", reason=attempt.reason, settled=attempt.at
        )
    return change(obligation, attempts=attempt.number, due=attempt.at + wait, reason=attempt.reason)


def judge(endpoint: Endpoint, attempt: DeliveryAttempt) -> Endpoint:
    """The endpoint after an attempt."""
    change = msgspec.structs.replace
    if attempt.ok:
        return change(endpoint, failing_since=None)
    if attempt.gone:
        return change(endpoint, disabled=True, why="it answered 410 Gone")
    since = attempt.at if endpoint.failing_since is None else endpoint.failing_since
    if attempt.at - since >= GIVE_UP_ENDPOINT:
        return change(endpoint, failing_since=since, disabled=True, why="every attempt of five days failed")
    return change(endpoint, failing_since=since)
