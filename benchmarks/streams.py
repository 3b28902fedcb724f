"""``python -m benchmarks.streams``: many open streams at a busy tape, one listener that never reads among them.

The daemon is a process of its own with the shipped model; listeners are another. Prints the delay from a document's
POST to its event at every listener, whether each had all of them, and the daemon's memory while it lasted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.daemon_bench import Daemon

SETTINGS = '[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme Corp", aliases = ["Acme"] }, "JPM", "AAPL"]\n'
TOGETHER = 5
"""Documents of one POST."""


class Listener:
    """One stream: when each document was seen."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.resets = 0

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        kind = ""
        async with session.get(url) as answer:
            async for line in answer.content:
                if line.startswith(b"event: "):
                    kind = line[7:-1].decode()
                    self.resets += kind == "reset"
                elif kind == "document" and line.startswith(b"data: "):
                    self.seen[json.loads(line[6:])["title"]] = time.monotonic()


def memory(process: int) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def silent(port: int) -> socket.socket:
    """A listener that never reads."""
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return line


async def measure(daemon: Daemon, streams: int, rate: float, seconds: float) -> None:
    assert daemon.process is not None
    listeners = [Listener() for _ in range(streams)]
    sent: dict[str, float] = {}
    grown: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    with silent(daemon.port):
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
            url = f"{daemon.url}/api/v1/stream"
            tasks = [asyncio.create_task(one.run(session, url)) for one in listeners]
            await asyncio.sleep(2.0)
            begin = time.monotonic()
            while (now := time.monotonic()) < begin + seconds:
                titles = [f"Acme story {len(sent) + n} of a busy tape" for n in range(TOGETHER)]
                body = "\n".join(json.dumps({"title": one, "url": f"https://x.example/{one}"}) for one in titles)
                sent.update(dict.fromkeys(titles, now))
                async with session.post(f"{daemon.url}/api/v1/documents", data=body) as answer:
                    assert answer.status == 202, await answer.text()
                if len(grown) < (now - begin) // 10 + 1:
                    grown.append(memory(daemon.process.pid))
                await asyncio.sleep(max(0.0, begin + len(sent) / rate - time.monotonic()))
            await asyncio.sleep(5.0)
            grown.append(memory(daemon.process.pid))
            for task in tasks:
                task.cancel()
    report(listeners, sent, grown, seconds)


def report(listeners: list[Listener], sent: dict[str, float], grown: list[float], seconds: float) -> None:
    delays = sorted(at - sent[title] for one in listeners for title, at in one.seen.items() if title in sent)
    whole = sum(sent.keys() <= one.seen.keys() for one in listeners)
    cuts = statistics.quantiles(delays, n=100)
    print(f"{len(listeners)} streams and one that never reads, {len(sent)} documents in {seconds:.0f} s")
    print(f"had every document: {whole} of {len(listeners)}; resets: {sum(one.resets for one in listeners)}")
    print(f"POST to event: p50 {1_000 * cuts[49]:.0f} ms, p95 {1_000 * cuts[94]:.0f} ms, p99 {1_000 * cuts[98]:.0f} ms")
    print("memory of the daemon every 10 s, MB: " + ", ".join(f"{one:.0f}" for one in grown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0, help="documents a second")
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder) / "daemon", SETTINGS) as daemon:
        asyncio.run(measure(daemon, options.streams, options.rate, options.seconds))


if __name__ == "__main__":
    main()
