"""The client of the API: lists whole, errors told, a stream that goes on over a daemon's end, and the documented
example as it stands."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor import client as clients
from monitor.client import ApiError, Client, frame
from tests.daemon_bench import ACME, Daemon, free_port, wait_for

WATCHED = ACME + '[[watchlists]]\nname = "other"\nentities = [{ name = "Borealis Mills", aliases = ["Borealis"] }]\n'

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("client") / "d", WATCHED) as one:
        one.ring()
        wait_for(lambda: one.get("alerts")["alerts"], "an alert")
        wait_for(lambda: one.get("series?key=entity:acme-corp")["series"], "its block, told with the next watermark")
        yield one


async def test_lists_come_whole_and_typed(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PAGE", 2)
    hour = datetime.now(UTC) - timedelta(hours=1)
    async with Client(daemon.url + "/") as client:
        documents = [one async for one in client.documents(q="acme", since=hour)]
        assert len(documents) == len(daemon.get("documents?q=acme&limit=1000")["documents"]) > 5
        assert documents[0].sentiment is not None and documents[0].sentiment.negative > 0
        assert [one async for one in client.documents(until=hour)] == []
        alerts = [one async for one in client.alerts(merged=True)]
        assert {one.alert for one in alerts} == {one["alert"] for one in daemon.get("alerts?merged=true")["alerts"]}
        assert "Acme" in "".join(one.body.data.summary for one in alerts)
        keys = [one.key async for one in client.keys()]
        assert sorted(keys) == sorted(one["key"] for one in daemon.get("keys")["keys"]) and len(set(keys)) == len(keys)
        blocks = [one async for one in client.series("entity:acme-corp", since=0.0)]
        assert [one.start for one in blocks] == sorted((one.start for one in blocks), reverse=True)
        assert (await client.status()).ready and [one async for one in client.audit()] == []
        table = frame(documents)
        assert str(table["published"].dtype).endswith("UTC]") and table["sentiment.negative"].max() <= 1
        assert frame([]).empty and frame(blocks)["score"].max() > 0


async def test_what_is_refused_is_told(daemon: Daemon) -> None:
    async with Client(daemon.url) as client:
        with pytest.raises(ApiError, match="2026-99-99") as refused:
            _ = [one async for one in client.alerts(since="2026-99-99")]
        assert refused.value.status == 400 and refused.value.problem.parameter == "since"
        with pytest.raises(ApiError, match="types is alert, document, series or source"):
            _ = [one async for one in client.stream(types=["news"])]
        with pytest.raises(ValueError, match="aware datetime"):
            _ = [one async for one in client.alerts(since=datetime(2026, 1, 31))]
    with pytest.raises(RuntimeError, match="async with"):
        await Client(daemon.url).status()
    async with Client(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(OSError):
            await client.status()


async def test_the_stream_goes_on_where_a_broken_line_left_it(daemon: Daemon) -> None:
    lines: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, out = await asyncio.open_connection("127.0.0.1", daemon.port)
        lines.extend((writer, out))
        out.write((await reader.readuntil(b"\r\n\r\n")).replace(b"Host: ", b"Host: localhost\r\nX-Was: "))
        while part := await far.read(4_096):
            writer.write(part)

    server = await asyncio.start_server(pass_on, "127.0.0.1", port := free_port())
    titles = [f"Acme stream story {n}" for n in range(12)]
    seen: list[str] = []

    def push(names: list[str]) -> None:
        daemon.push(*({"title": one, "url": f"https://x.example/{one.replace(' ', '-')}"} for one in names))

    async with Client(f"http://127.0.0.1:{port}") as client, asyncio.timeout(40):
        events = client.stream(types=["document"])
        asked = asyncio.create_task(anext(events))
        while not lines:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(push, titles[:4])
        seen.append((await asked).body.title)  # type: ignore[union-attr]
        while len(seen) < 4:
            seen.append((await anext(events)).body.title)  # type: ignore[union-attr]
        for line in lines:
            line.transport.abort()
        await asyncio.to_thread(push, titles[4:])
        while len(seen) < 12:
            one = await anext(events)
            assert one.kind == "document", "the daemon lived: nothing is missing"
            seen.append(one.body.title)  # type: ignore[union-attr]
        await events.aclose()
    server.close()
    for line in lines:
        line.close()
    await asyncio.gather(*(line.wait_closed() for line in lines), return_exceptions=True)
    assert sorted(seen) == sorted(titles)
    assert len(lines) > 2, "the line was not broken"


async def test_another_daemon_begins_with_a_reset(daemon: Daemon) -> None:
    async with Client(daemon.url) as client, asyncio.timeout(20):
        events = client.stream(last="another-5")
        first = await anext(events)
        await events.aclose()
    assert (first.kind, first.body) == ("reset", None)


def test_the_documented_example_runs(daemon: Daemon, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code.replace("http://127.0.0.1:8686", daemon.url).replace("entity:JPM", "entity:acme-corp"))
    run = subprocess.Popen(
        [sys.executable, "-u", str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    killer = threading.Timer(60, run.kill)
    killer.start()
    assert run.stdout is not None
    told = ""
    for line in run.stdout:
        told += line
        if line.endswith("documents\n"):  # what it does next is to listen
            daemon.ring("Borealis")
    run.stdout.close()
    killer.cancel()
    assert run.wait() == 0, told
    assert "Acme Corp" in told and "expected" in told, told
    assert told.splitlines()[-1].startswith("alert ") and "alert." in told.splitlines()[-1], told
