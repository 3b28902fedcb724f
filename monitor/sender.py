"""Deliveries: the loop that sends what the outbox owes, between the notify stage's tables and the channels."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alerts.channels import Channel
from alerts.delivery import DeliveryLoop
from alerts.evidence import ping
from alerts.outbox import DeliveryAttempt, Endpoint, Obligation
from pipelines.clock import Clock
from pipelines.documents import decode, encode
from pipelines.notify import Notify
from pipelines.streams.base import DELIVERIES, OUTBOX, Engine, Output, State


class Sender:
    """Sends over ``channels``, by name. Runs where the notify stage runs."""

    def __init__(self, engine: Engine, channels: Mapping[str, Channel], *, clock: Clock, rng: random.Random) -> None:
        self._engine = engine
        self._channels = channels
        self._clock = clock
        self._loop = DeliveryLoop(channels, clock=clock, record=self._record, rng=rng, read=self._read)

    async def start(self) -> None:
        """Takes on what was owed when the daemon stopped, and what is owed from here on."""
        self._engine.on_commit(self._committed)
        pending, endpoints = await self._engine.inspect(Notify.name, _owed)
        self._loop.start(pending, endpoints)

    async def stop(self, budget: float) -> None:
        """Lets the attempts under way end within ``budget`` seconds."""
        await self._loop.stop(budget)

    def pending(self) -> dict[str, int]:
        """How many obligations wait, by channel."""
        return self._loop.pending()

    async def test(self, name: str) -> dict[str, Any] | None:
        """Sends a signed test event at once, past the outbox; None where there is no such channel."""
        channel = self._channels.get(name)
        return None if channel is None else await send_test(channel, name, self._clock.wall())

    def _committed(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if output.topic == OUTBOX:
                self._loop.offer(decode(Obligation, output.value))

    async def _record(self, attempt: DeliveryAttempt) -> None:
        await self._engine.append([Output(DELIVERIES, f"{attempt.event}|{attempt.channel}", encode(attempt))])

    async def _read(self, event: str, channel: str) -> bytes | None:
        """The body that is still owed, for the delivery loop's long queues."""

        def read(state: State) -> bytes | None:
            known: Obligation | None = state.table("outbox").get(f"{event}|{channel}")
            return known.body if known is not None and known.open else None

        return await self._engine.inspect(Notify.name, read)


async def send_test(channel: Channel, name: str, now: float) -> dict[str, Any]:
    """What became of a signed test event."""
    alert = ping(name, now)
    return dict(msgspec.to_builtins(await channel.send(alert.id, alert.body, now)))


def _owed(state: State) -> tuple[list[Obligation], list[Endpoint]]:
    pending = [one for _, one in state.table("outbox").items() if one.open]
    return pending, [endpoint for _, endpoint in state.table("endpoints").items()]
