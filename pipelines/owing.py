"""The outbox and the channels' health, as the notify stage keeps them: what is owed, tried, settled and given up.

``alerts.outbox`` decides; here its decisions meet the tables ``outbox`` and ``endpoints``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from alerts import quotes
from alerts.evidence import Alert
from alerts.outbox import KEEP, DeliveryAttempt, Endpoint, Obligation, apply, judge, revive, settle
from pipelines.documents import Operation, encode, iso
from pipelines.streams.base import OUTBOX, Output, State, Table


def owe(obligation: Obligation, state: State) -> list[Output]:
    """Owes it, unless it is or was owed already."""
    outbox: Table[Obligation] = state.table("outbox")
    if outbox.get(obligation.key) is not None:
        return []
    outbox.put(obligation.key, obligation)
    return [Output(OUTBOX, obligation.key, encode(obligation))]


def owe_all(
    alert: Alert,
    channels: Sequence[str],
    state: State,
    now: float,
    *,
    published: float | None,
    resend: Mapping[str, float],
) -> list[Output]:
    """Owes an alert to each of ``channels`` from ``now`` on; ``published``: when the document was that crossed the
    threshold, both in seconds since 1970. ``resend``: seconds between two tellings, by channel."""
    outputs = []
    for channel in channels:
        obligation = Obligation(
            event=alert.id,
            channel=channel,
            type=alert.type,
            order=alert.order,
            body=alert.body,
            created=now,
            published=published,
            due=now,
            # An operational event has no end that it could be told until.
            resend=resend.get(channel) if alert.alert else None,
        )
        outputs.extend(owe(obligation, state))
    return outputs


def living(channels: Sequence[str], state: State) -> tuple[str, ...]:
    """Those of ``channels`` that are not disabled."""
    endpoints: Table[Endpoint] = state.table("endpoints")
    return tuple(name for name in channels if not ((known := endpoints.get(name)) and known.disabled))


def enable(channel: str, state: State) -> None:
    """Forgets what a channel failed at."""
    state.table("endpoints").put(channel, Endpoint(channel=channel))


def retry(name: str, at: float, state: State) -> list[Output]:
    """Owes a settled or waiting delivery anew, at once; its channel is enabled again."""
    outbox: Table[Obligation] = state.table("outbox")
    known = outbox.get(name)
    if known is None or known.state in ("delivered", "standing"):
        return []
    enable(known.channel, state)
    again = revive(known, at)
    if _is_over(known, state):
        # Told once, it ends by itself: its end was told, or never will be.
        again = msgspec.structs.replace(again, resend=None)
    outbox.put(name, again)
    return [Output(OUTBOX, name, encode(again))]


def _is_over(owed: Obligation, state: State) -> bool:
    if owed.type == "alert.resolved" or not owed.episode:
        return False
    sent: Any = state.table("sent").get(owed.episode)
    return sent is None or sent.status == "resolved"


def leave(order: str, channels: Collection[str], at: float, state: State) -> list[Output]:
    """An alert's end, at channels that will not hear of it, gone from the settings or disabled.

    What stands there is let go, and what waits is told once should the channel come back: else it would fire there
    for ever.
    """
    if not channels:
        return []
    outbox: Table[Obligation] = state.table("outbox")
    held = [one for _, one in outbox.items() if one.open and one.order == order and one.resend is not None]
    outputs = []
    for owed in held:
        if owed.channel in channels and owed.state == "standing":
            outputs.append(_settle(owed, at, state))
        elif owed.channel in channels:
            once = msgspec.structs.replace(owed, resend=None)
            outbox.put(owed.key, once)
            outputs.append(Output(OUTBOX, owed.key, encode(once)))
    return outputs


def _settle(owed: Obligation, at: float, state: State) -> Output:
    """Lets go of one without an attempt of its own, and tells who follows the outbox."""
    settled = settle(owed, at)
    state.table("outbox").put(owed.key, settled)
    return Output(OUTBOX, owed.key, encode(settled))


def tried(attempt: DeliveryAttempt, state: State) -> tuple[list[Output], Operation | None]:
    """Applies an attempt; with it what was given up, and what is to be told, where its channel is disabled by it."""
    outbox: Table[Obligation] = state.table("outbox")
    name = f"{attempt.event}|{attempt.channel}"
    known = outbox.get(name)
    if known is not None:
        outbox.put(name, apply(known, attempt))
    former = [outbox.get(f"{event}|{attempt.channel}") for event in attempt.replaces]
    outputs = [_settle(one, attempt.at, state) for one in former if one is not None and one.open]
    endpoints: Table[Endpoint] = state.table("endpoints")
    before = endpoints.get(attempt.channel) or Endpoint(channel=attempt.channel)
    after = judge(before, attempt)
    if after != before:
        endpoints.put(attempt.channel, after)
    if not after.disabled or before.disabled:
        return outputs, None
    given_up, operation = _disable(after, attempt, state)
    return [*outputs, *given_up], operation


def _disable(endpoint: Endpoint, attempt: DeliveryAttempt, state: State) -> tuple[list[Output], Operation]:
    outbox: Table[Obligation] = state.table("outbox")
    outputs = []
    for name, owed in list(outbox.items()):
        if owed.channel == endpoint.channel and owed.open:
            change = msgspec.structs.replace(owed, state="failed", reason="disabled", settled=attempt.at)
            outbox.put(name, change)
            # No attempt tells of it, so this does; the body stays here, for an operator's retry.
            outputs.append(Output(OUTBOX, name, encode(msgspec.structs.replace(change, body=b""))))
    lost = len(outputs)
    operation = Operation(
        type="ops.channel_disabled",
        at=iso(attempt.at),
        subject=endpoint.channel,
        severity="error",
        summary=f"channel {endpoint.channel} is disabled: {endpoint.why}; {lost} deliveries were given up",
        details={"why": endpoint.why, "given_up": lost},
    )
    return outputs, operation


def unquote(gone: quotes.Gone, state: State) -> list[Output]:
    """Takes quoted stories out of the bodies that are kept; what is owed stays owed, under the same id."""
    outbox: Table[Obligation] = state.table("outbox")
    outputs = []
    for name, owed in list(outbox.items()):
        body = quotes.without(owed.body, gone) if owed.body else None
        if body is not None:
            change = msgspec.structs.replace(owed, body=body)
            outbox.put(name, change)
            outputs.append(Output(OUTBOX, name, encode(change)))
    return outputs


def forget(state: State, now: float) -> None:
    """Lets go of what was settled long ago."""
    outbox: Table[Obligation] = state.table("outbox")
    for name, owed in list(outbox.items()):
        if owed.settled is not None and now - owed.settled > KEEP:
            outbox.delete(name)
