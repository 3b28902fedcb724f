"""A channel that keeps what it is sent: for programs that embed the daemon, and for tests."""

from __future__ import annotations

from collections import deque

from alerts.channels.base import Outcome

KEPT = 1_000
"""Events kept; the oldest go first, so that an embedding program which never looks doesn't grow."""


class CollectingChannel:
    """``received`` holds (event, body, timestamp) in the order of arrival, repeats included."""

    kind = "collecting"

    def __init__(self, name: str, *, answers: list[Outcome] | None = None) -> None:
        """``answers`` are given first, in this order; then every attempt is delivered."""
        self.name = name
        self.received: deque[tuple[str, bytes, float]] = deque(maxlen=KEPT)
        self._answers = deque(answers or ())

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        self.received.append((event, body, timestamp))
        return self._answers.popleft() if self._answers else Outcome(ok=True, reason="ok")

    def answer_next(self, outcome: Outcome) -> None:
        """Gives ``outcome`` to the next attempt that has none yet."""
        self._answers.append(outcome)
