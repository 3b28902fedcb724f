"""Plays the demo: newsroom, receiver and a production daemon between them, told in the terminal."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
import secrets
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from alerts.episode import SEVERITIES
from monitor import log as logs
from monitor.demo import scenario as acts
from monitor.demo import stories
from monitor.demo.newsroom import CLASSES, FEEDS, Newsroom
from monitor.demo.receiver import Receiver
from monitor.demo.watchers import InProcess, Spread, Watcher

SEED = 20
MIN_OPEN = "20s"
"""The demo's alerts may resolve after 20 seconds, where the default asks for 10 minutes."""

ACTS = (
    (acts.REPRINTS_AT, "One agency story about Castellan Bank is reprinted sixteen times: it counts once."),
    (acts.CRISIS_AT, "A crisis: Halvorne Motors, 37 different bad stories and posts."),
    (acts.SURGE_AT, "60 neutral posts about Quillon Software's conference: a surge, but no worse mood than usual."),
    (acts.POSITIVE_AT, "A dozen cheerful stories about Verisande Pharma."),
    (acts.TOPIC_AT, "A second crisis, of a whole topic: Energy | Oil."),
    (acts.QUIET_AT, "From here on only routine: the alerts resolve when it has been quiet for long enough."),
)

STRUCK = ("entity:halvorne-motors", "topic:energy-oil")
"""What the two crises strike. What holds these rings with them: the list, the market, the topics of their stories."""


class Teller:
    """What the terminal shows."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.started = time.time()
        self.first: float | None = None
        self.fired: dict[str, str] = {}
        self.resolved: set[str] = set()
        self._severity: dict[str, str] = {}

    @property
    def open(self) -> list[str]:
        """Keys that ring still."""
        return sorted(set(self.fired) - self.resolved)

    def say(self, text: str) -> None:
        self._console.print(f"[dim]{self._clock()}[/dim] {text}", highlight=False)

    def ring(self, body: dict[str, Any], again: bool) -> None:
        """An event that arrived with a good signature."""
        if again or not body["type"].startswith("alert."):
            return
        data = body["data"]
        key = data["subject"]["key"]
        if body["type"] == "alert.firing":
            self.first = self.first or time.time()
            self.fired[key] = data["summary"]
            self.resolved.discard(key)
            self._console.rule(
                f"[bold red]ALERT[/bold red] {escape(data['severity'])} · signature verified", align="left"
            )
            self._console.print(f"[bold]{escape(data['summary'])}[/bold]", highlight=False)
            for story in data["evidence"]["stories"][:3]:
                by = ", ".join([story["publisher"] or story["source"], *story["events"]])
                self._console.print(f"   “{escape(story['headline'])}” — {escape(by)}", highlight=False)
        elif body["type"] == "alert.resolved":
            self.resolved.add(key)
            self.say(f"[green]resolved[/green] {escape(data['summary'])}")
        else:
            self._rise(self._severity.get(key, data["severity"]), data)
        self._severity[key] = data["severity"]

    def _rise(self, before: str, data: dict[str, Any]) -> None:
        """Of updates only what makes matters worse is told."""
        if SEVERITIES.index(data["severity"]) > SEVERITIES.index(before):
            self.say(f"[red]{before} → {escape(data['severity'])}[/red] {escape(data['summary'])}")

    def close(self) -> None:
        """The end of the story, for whoever watches without knowing how long it goes on."""
        still = f"; still ringing: {', '.join(self.open)}" if self.open else ""
        self.say(
            f"[cyan]newsroom[/cyan] The story is over: {len(self.fired)} keys rang, {len(self.resolved)} have "
            f"resolved{still}. Only routine follows: look at the page, and press Ctrl-C to end."
        )

    def _clock(self) -> str:
        return f"{time.time() - self.started:6.1f} s"


async def play(seconds: float | None, listen: str, kafka: str | None = None) -> int:
    """Runs until ``seconds`` are over, or for good; returns the exit code. ``kafka``: brokers, for the demo on them."""
    logs.configure("console", "error")
    console = Console()
    ended = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    with tempfile.TemporaryDirectory(prefix="tapewatch-demo-") as folder:
        return await _play(Path(folder), seconds, _free(listen, console), kafka, console, ended)


async def _play(
    folder: Path, seconds: float | None, listen: str, kafka: str | None, console: Console, ended: asyncio.Event
) -> int:
    teller = Teller(console)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    receiver = Receiver(secret, teller.ring)
    await receiver.start()
    script = acts.build(SEED, time.time())
    newsroom = Newsroom(script, time.time)
    await newsroom.start()
    console.print(
        "[bold]tapewatch demo[/bold]: a fictional newsroom on loopback, watched by the production daemon. "
        "Nothing is scripted on the daemon's side; the only setting that differs from the defaults for show is "
        f"min_open = {MIN_OPEN}. The story takes some four minutes; Ctrl-C ends it.",
        highlight=False,
    )
    config = _settings(folder, newsroom, receiver, secret, None if kafka else listen)
    watcher: Watcher = InProcess(config) if kafka is None else Spread(config, kafka, listen)
    try:
        learned = await watcher.learn(_history(folder, script))
        teller.say(
            f"{acts.HISTORY_DAYS} days of history judged and learned: {learned} texts. Nothing rings from the past."
        )
        # The newsroom's clock starts with the daemon's.
        newsroom.begin(acts.build(SEED, time.time()))
        teller.started = time.time()
        for line in await watcher.begin():
            teller.say(f"Live. {line}")
        await _tell(teller, seconds, ended)
        _sum_up(teller, await watcher.unhealthy(), newsroom, receiver, console)
    finally:
        await watcher.stop()
        await newsroom.stop()
        await receiver.stop()
    return 0


async def _tell(teller: Teller, seconds: float | None, ended: asyncio.Event) -> None:
    """Announces the acts as they come, until the end."""
    waiting, over = list(ACTS), False
    while not ended.is_set():
        passed = time.time() - teller.started
        if seconds is not None and passed >= seconds:
            return
        while waiting and waiting[0][0] <= passed:
            teller.say(f"[cyan]newsroom[/cyan] {waiting.pop(0)[1]}")
        if not (over or waiting) and teller.resolved.issuperset(STRUCK):
            over = True
            teller.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.2)


def _sum_up(teller: Teller, down: list[str], newsroom: Newsroom, receiver: Receiver, console: Console) -> None:
    first = f"{teller.first - teller.started:.1f} s after the daemon's start" if teller.first else "none"
    console.rule("what happened", align="left")
    console.print(f"first alert: {first}", highlight=False)
    console.print(f"rang: {', '.join(sorted(teller.fired)) or 'nothing'}", highlight=False)
    console.print(f"resolved: {', '.join(sorted(teller.resolved)) or 'nothing yet'}", highlight=False)
    console.print(f"still ringing: {', '.join(teller.open) or 'nothing'}", highlight=False)
    quiet = {
        "entity:castellan-bank": "reprints",
        "entity:quillon-software": "surge",
        "entity:verisande-pharma": "good news",
    }
    for key, why in quiet.items():
        verdict = "RANG" if key in teller.fired else "stayed silent, as it should"
        console.print(f"{why} ({key}): {verdict}", highlight=False)
    console.print(
        f"feeds: {newsroom.requests} requests, {newsroom.unchanged} answered 304; "
        f"not healthy: {', '.join(down) or 'none'}; webhooks with a bad signature: {receiver.refused}",
        highlight=False,
    )


def _history(folder: Path, script: acts.Scenario) -> Path:
    path = folder / "history.jsonl"
    with path.open("w", encoding="utf-8") as target:
        for item in script.history:
            line = {
                "id": item.guid,
                "title": item.title,
                "published": item.at,
                "publisher": item.publisher,
                "author": item.author,
                "class": CLASSES[item.feed],
            }
            target.write(json.dumps({name: value for name, value in line.items() if value is not None}) + "\n")
    return path


def _settings(folder: Path, newsroom: Newsroom, receiver: Receiver, secret: str, listen: str | None) -> Path:
    sources = "".join(
        f'[[sources]]\nkind = "feed"\nname = "{name}"\nurl = "{newsroom.address}/{path}"\ninterval = "1s"\n'
        f'class = "{CLASSES[name]}"\n\n'
        for name, path in FEEDS.items()
    )
    sources += f'[[sources]]\nkind = "feed"\nname = "dead"\nurl = "{newsroom.address}/dead.rss"\ninterval = "2s"\n\n'
    entities = ", ".join(
        f'{{ name = "{name}", tickers = ["{ticker}"], aliases = ["{short}"] }}'
        for name, (ticker, short) in stories.COMPANIES.items()
    )
    (folder / "desk.secret").write_text(secret + "\n")
    path = folder / "tapewatch.toml"
    web = f'[web]\nlisten = "{listen}"\nexternal_url = "http://{listen}"\n\n' if listen is not None else ""
    path.write_text(
        f'[detection]\nmin_open = "{MIN_OPEN}"\n\n{sources}'
        f'[[watchlists]]\nname = "demo"\nentities = [{entities}]\n\n'
        f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "{receiver.address}"\nsecret_file = "desk.secret"\n\n'
        f'{web}[network]\nallow_private = ["127.0.0.0/8"]\n'
    )
    return path


def _free(listen: str, console: Console) -> str:
    """``listen``, or a free port beside it where it is taken."""
    host, port = listen.rsplit(":", 1)
    for candidate in (int(port), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or candidate == 0:
                    raise
                console.print(f"{listen} is taken; the page gets another port", highlight=False)
                continue
            return f"{host}:{probe.getsockname()[1]}"
    return listen
