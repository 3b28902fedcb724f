"""A daemon inside the test's own loop, on a clock that the test moves; asked over the wire like any other."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from models.classifier import Classifier, FakeClassifier
from monitor.app import PARTS, Daemon
from monitor.settings import load
from monitor.web import Web
from pipelines.clock import ManualClock
from tests.daemon_bench import BAD_NEWS, request

T = TypeVar("T")


@dataclass
class Inside:
    """A daemon in the test's own loop, on a clock that the test moves."""

    daemon: Daemon
    web: Web
    clock: ManualClock
    config: Path

    async def push(self, *documents: dict[str, Any]) -> tuple[int, Mapping[str, str], Any]:
        """The answer to a POST over the wire."""
        body = "\n".join(json.dumps(document) for document in documents).encode()
        status, headers, answer = await asyncio.to_thread(request, f"{self.web.address}/api/v1/documents", body)
        return status, headers, json.loads(answer)

    async def ring(self) -> None:
        titles = [title for title in BAD_NEWS if any(word in title.lower() for word in FakeClassifier.BAD)]
        status, _, _ = await self.push(*({"title": title, "publisher": f"P{n}"} for n, title in enumerate(titles)))
        assert status == 202

    async def until(self, question: Callable[[], T | None], what: str, step: float = 1.0, most: int = 2_000) -> T:
        """The first true answer of ``question``, the clock moving ``step`` seconds between two tries."""
        for _ in range(most):
            found = question()
            if found:
                return found
            await self.clock.advance(step)
            await asyncio.sleep(0.005)
        raise AssertionError(f"in {most * step:.0f} s of the daemon's clock there was no {what}")

    async def pass_time(self, seconds: float, step: float = 1.0, *, idle: bool = False) -> None:
        """Moves the clock by ``step``; ``idle``: the stages keep up with it."""
        for _ in range(int(seconds / step)):
            await self.clock.advance(step)
            await asyncio.sleep(0.005)
            if idle:
                await self.daemon.engine.drained()


@asynccontextmanager
async def inside(
    folder: Path,
    settings: str,
    *,
    clock: ManualClock | None = None,
    classifier: Classifier | None = None,
    only: Sequence[str] = PARTS,
) -> AsyncIterator[Inside]:
    """A daemon with the fake classifier unless told otherwise; page and API on a port that the system chose."""
    config = folder / "tapewatch.toml"
    extra = '[web]\nlisten = "127.0.0.1:0"\n[network]\nallow_private = ["127.0.0.0/8"]\n'
    config.write_text(settings + extra)
    clock = clock or ManualClock(time.time())
    daemon = Daemon(
        load(config, {}),
        clock=clock,
        classifier=classifier or FakeClassifier(),
        reread=lambda: load(config, {}),
        only=only,
    )
    await daemon.start()
    web = Web(daemon)
    await web.start()
    try:
        yield Inside(daemon, web, clock, config)
    finally:
        await web.stop()
        await daemon.stop()
