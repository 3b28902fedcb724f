"""Who watches the newsroom in the demo: the production daemon in this process, or its parts as processes on Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from monitor.app import PARTS, Daemon
from monitor.settings import load
from monitor.web import Web

_LEASH = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""The parts end with a demo that was killed, where the system has a tool for it."""

PATIENCE = 120.0
"""Seconds in which a process of the demo must be ready, or have judged the history."""


class Watcher(Protocol):
    """Learns from history, then watches live."""

    async def learn(self, history: Path) -> int:
        """Judges a file of documents; how many it took in."""
        ...

    async def begin(self) -> list[str]:
        """Sets sources and deliveries to work; what there is to look at, a line each."""
        ...

    async def unhealthy(self) -> list[str]:
        """Sources that are not up."""
        ...

    async def stop(self) -> None: ...


class InProcess:
    """The whole daemon, here, on the embedded engine."""

    def __init__(self, config: Path) -> None:
        self._daemon = Daemon(load(config, {}), watermark_interval=0.25)
        self._web = Web(self._daemon)

    async def learn(self, history: Path) -> int:
        await self._daemon.open()
        learned, _ = await self._daemon.intake.backfill([history])
        return learned.accepted

    async def begin(self) -> list[str]:
        await self._daemon.begin()
        await self._web.start()
        return [f"The page is at [link]{self._web.address}[/link]"]

    async def unhealthy(self) -> list[str]:
        return [source.name for source in self._daemon.sources if source.status.state != "up" or source.status.unread]

    async def stop(self) -> None:
        await self._web.stop()
        await self._daemon.stop()


class Spread:
    """Each part a process of its own on the brokers at ``kafka``, and a Prometheus beside them if there is one.

    ``config``: settings without engine and web; ``listen``: the page's address.
    """

    def __init__(self, config: Path, kafka: str, listen: str) -> None:
        self._folder = config.parent
        self._common = config.read_text()
        self._kafka = kafka
        self._listen = {part: f"127.0.0.1:{_free_port()}" for part in PARTS} | {"view": listen}
        self._processes: list[asyncio.subprocess.Process] = []
        # Names of this run: the brokers may be somebody's who has played the demo before.
        self._prefix = f"demo-{_free_port()}."

    async def learn(self, history: Path) -> int:
        await self._command("ingest", "kafka", "init")
        for part in PARTS:
            if part != "ingest":
                await self._start([*_PYTHON, "run", "-c", str(self._config(part)), "--only", part], part)
        said = await self._command("ingest", "backfill", str(history))
        for part in ("score", "aggregate"):
            await self._until(part, lambda status: not any(lag["records"] for lag in status["lag"].values()))
        accepted: int = json.loads(said)["accepted"]
        return accepted

    async def begin(self) -> list[str]:
        await self._start([*_PYTHON, "run", "-c", str(self._config("ingest")), "--only", "ingest"], "ingest")
        for part in PARTS:
            await self._until(part, lambda status: bool(status["ready"]))
        seen = [f"The page is at [link]http://{self._listen['view']}[/link]; each part is a process of its own"]
        return [*seen, *await self._prometheus()]

    async def unhealthy(self) -> list[str]:
        sources = (await self._get("view", "sources"))["sources"]
        return [source["source"] for source in sources if source["state"] != "up" or source["unread"]]

    async def stop(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(process.wait() for process in self._processes))

    # -- its processes ------------------------------------------------------------------------------------

    def _config(self, part: str) -> Path:
        path = self._folder / f"{part}.toml"
        brokers = ", ".join(f'"{broker}"' for broker in self._kafka.split(","))
        path.write_text(
            f'[engine]\nkind = "kafka"\n\n[engine.kafka]\nbrokers = [{brokers}]\nreplication = 1\npartitions = 2\n'
            f'topic_prefix = "{self._prefix}"\ngroup_prefix = "{self._prefix}"\ndata_dir = "{self._folder / part}"\n\n'
            f'[web]\nlisten = "{self._listen[part]}"\nexternal_url = "http://{self._listen["view"]}"\n\n'
            f'[log]\nlevel = "error"\n\n{self._common}'
        )
        return path

    async def _start(self, command: list[str], name: str) -> None:
        log = (self._folder / f"{name}.log").open("ab")
        self._processes.append(await asyncio.create_subprocess_exec(*_LEASH, *command, stdout=log, stderr=log))
        log.close()

    async def _command(self, part: str, *arguments: str) -> str:
        command = [*_PYTHON, *arguments, "-c", str(self._config(part))]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments[:2])} ended with {process.returncode}")
        return said.decode()

    async def _get(self, part: str, path: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self._listen[part]}/api/v1/{path}") as answer,
        ):
            answer.raise_for_status()
            return await answer.json()

    async def _until(self, part: str, question: Any) -> None:
        """Waits until the part's status answers ``question`` with yes, three times in a row: its figures are new."""
        row = 0
        async with asyncio.timeout(PATIENCE):
            while row < 3:
                await asyncio.sleep(0.5)
                try:
                    row = row + 1 if question(await self._get(part, "status")) else 0
                except aiohttp.ClientError:
                    row = 0

    async def _prometheus(self) -> list[str]:
        if shutil.which("prometheus") is None:
            return []
        targets = "".join(
            f'    - targets: ["{self._listen[part]}"]\n      labels: {{part: {part}}}\n' for part in PARTS
        )
        (self._folder / "prometheus.yml").write_text(
            f"global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: tapewatch\n  static_configs:\n{targets}"
        )
        address = f"127.0.0.1:{_free_port()}"
        command = ["prometheus", f"--config.file={self._folder / 'prometheus.yml'}", "--log.level=error"]
        command += [f"--storage.tsdb.path={self._folder / 'prometheus'}", f"--web.listen-address={address}"]
        await self._start(command, "prometheus")
        return [f"Prometheus watches all of them at [link]http://{address}[/link]"]


_PYTHON = (sys.executable, "-m", "monitor")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
