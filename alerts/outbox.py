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

END_TOLD_FOR = 300.0
"""Seconds for which an end is told again to a receiver that holds alerts: it may just have lost what it knew."""

RECORD_EVERY = 3_600.0
"""Telling again is recorded when its result changes, and so often otherwise: a record a minute says nothing new."""

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
    replaces: tuple[str, ...] = ()
    """Events that the channel need not be told of again, since this one says what became of them."""


class _Episode(msgspec.Struct, frozen=True):
    id: str = ""


class _Data(msgspec.Struct, frozen=True):
    episode: _Episode = _Episode()


class _Body(msgspec.Struct, frozen=True):
    """What an obligation must know of its own body."""

    data: _Data = _Data()


class Obligation(msgspec.Struct, frozen=True, kw_only=True):
    """A body owed to a channel. ``order`` groups what must arrive in sequence: an alert's dedupe key.

    It is pending until it is delivered or given up. To a receiver that holds alerts (``resend``: seconds between two
    tellings) it stands once delivered, and is told again until a later event replaces it; an end, for some minutes.
    """

    schema: int = 1
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
    state: Literal["pending", "standing", "delivered", "failed"] = "pending"
    reason: str = ""
    settled: float | None = None
    resend: float | None = None
    told: float | None = None
    """When it was first delivered, where it stands."""

    @property
    def key(self) -> str:
        return f"{self.event}|{self.channel}"

    @property
    def open(self) -> bool:
        """Whether there is something to do for it."""
        return self.state in ("pending", "standing")

    @property
    def episode(self) -> str:
        """Id of the episode that its body tells of; empty for an operational event, or where the body is gone."""
        return msgspec.json.decode(self.body, type=_Body).data.episode.id if self.body else ""


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
    if not obligation.open or attempt.number <= obligation.attempts:
        return obligation
    tried = msgspec.structs.replace(obligation, attempts=attempt.number, reason=attempt.reason)
    if attempt.gone:
        return msgspec.structs.replace(tried, state="failed", settled=attempt.at)
    if tried.resend is not None:
        return _stand(tried, attempt, tried.resend)
    if attempt.ok:
        return settle(tried, attempt.at)
    if attempt.extra:
        return msgspec.structs.replace(tried, unscheduled=tried.unscheduled + 1)
    wait = delay(attempt.number - tried.unscheduled, attempt.retry_after, attempt.draw)
    if wait is None:
        return msgspec.structs.replace(tried, state="failed", settled=attempt.at)
    return msgspec.structs.replace(tried, due=attempt.at + wait)


def _stand(tried: Obligation, attempt: DeliveryAttempt, resend: float) -> Obligation:
    """Told again every ``resend`` seconds, and no less often while it fails: what is told is how things stand now, so
    there is nothing to catch up with, and the receiver forgets what it isn't told. Only the channel's end ends it."""
    if attempt.ok:
        told = attempt.at if tried.told is None else tried.told
        if tried.type == "alert.resolved" and attempt.at - told >= END_TOLD_FOR:
            return settle(tried, attempt.at)
        # Spread, but never later: what is told carries an end that was reckoned from this interval.
        due = attempt.at + resend * (1.0 - JITTER * attempt.draw)
        return msgspec.structs.replace(tried, state="standing", told=told, due=due)
    step = min(attempt.number - tried.unscheduled, len(SCHEDULE))
    wait = delay(step, attempt.retry_after, attempt.draw) or resend
    return msgspec.structs.replace(tried, due=attempt.at + min(wait, resend))


def settle(obligation: Obligation, at: float) -> Obligation:
    """Nothing more is owed: it was delivered, and a later event replaced it or nothing needs telling again."""
    return msgspec.structs.replace(obligation, state="delivered", settled=at, body=b"")


def worth_recording(before: Obligation, after: Obligation, since: float) -> bool:
    """Whether an attempt must be made durable; ``since``: seconds since the last one that was.

    Telling a standing alert again changes nothing that a restart would need to know.
    """
    if before.resend is None or since >= RECORD_EVERY:
        return True
    return (before.state, before.reason) != (after.state, after.reason)


def revive(obligation: Obligation, at: float) -> Obligation:
    """An operator's retry: owed again at once, with a fresh schedule. What was delivered stays delivered."""
    if obligation.state in ("delivered", "standing"):
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
