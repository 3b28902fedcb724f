"""Too much at once, and an end in the midst of it: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.classifier import FakeClassifier, Prediction
from models.predictions import Mentions
from pipelines.streams.embedded import BACKLOG
from tests.daemon_bench import ACME, BAD_NEWS, Daemon, Receiver, request, wait_for
from tests.inside_bench import inside


class Gated(FakeClassifier):
    """Judges nothing while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]:
        self.gate.wait(60)
        return super().predict(texts, mentions, story=story)


def keys(store: Path, topic: str) -> list[str]:
    db = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    found = [row[0] for row in db.execute(f"SELECT key FROM log_{topic} WHERE key != '~watermark'")]
    db.close()
    return found


async def test_behind_by_more_than_the_backlog_a_post_is_told_to_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Gated()
    async with inside(tmp_path, ACME, classifier=model) as daemon:
        address = f"{daemon.web.address}/api/v1/documents"
        # One English text holds the stage up; the others it would pass by without judging them.
        batches = [
            "\n".join(
                json.dumps({"id": f"d{b * 2_000 + i}", "title": "Depot opens" if i == 0 else f"港口新仓库{b}号{i}"})
                for i in range(2_000)
            ).encode()
            for b in range(BACKLOG // 2_000 + 3)
        ]
        accepted, refusal = 0, None
        for batch in batches:
            status, headers, body = await asyncio.to_thread(request, address, batch)
            if status != 202:
                refusal = (status, headers, json.loads(body))
                break
            accepted += json.loads(body)["accepted"]
        assert refusal is not None, "it never fell behind: the test proved nothing"
        status, headers, problem = refusal
        assert status == 429 and BACKLOG < accepted <= BACKLOG + 2_000
        assert 1 <= int(headers["retry-after"]) <= 3_600 and problem["status"] == 429 and "behind" in problem["detail"]
        # What only reads, and what an operator asks for, goes on.
        assert (await asyncio.to_thread(request, f"{daemon.web.address}/readyz"))[0] == 200
        assert daemon.daemon.status()["lag"]["score"]["records"] > BACKLOG
        model.gate.set()
        while daemon.daemon.engine.lag()["score"][1] > BACKLOG // 2:
            await daemon.pass_time(1)
        status, _, body = await asyncio.to_thread(request, address, batches[accepted // 2_000])
        assert status == 202 and json.loads(body)["accepted"] == 2_000, "what was refused is new when it comes again"
        await daemon.daemon.engine.drained()
        documents, scores = (keys(tmp_path / "tapewatch.db", topic) for topic in ("documents", "scores"))
    with capsys.disabled():
        print(f"\naccepted {accepted}, then 429 with Retry-After {headers['retry-after']}, then 2000 more")
    assert len(documents) == len(set(documents)) == accepted + 2_000
    assert sorted(scores) == sorted(documents)


async def test_a_model_that_stands_still_is_seen_and_its_alert_says_that_it_is_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Gated()
    with Receiver() as hooks:
        async with inside(tmp_path, ACME + hooks.channel("desk", "/desk"), classifier=model) as daemon:
            await daemon.ring()
            await daemon.pass_time(120, 5)
            lag = daemon.daemon.status()["lag"]["score"]["seconds"]
            probe = (await asyncio.to_thread(request, f"{daemon.web.address}/healthz"))[0]
            assert hooks.hooks == [] and probe == 200
            model.gate.set()
            rang = (await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert"))[0].body["data"]["coverage"]
            await daemon.push({"id": "fresh", "title": "Depot opens in the harbour"})
            await daemon.until(lambda: list(daemon.daemon.read_model.find("Depot opens in the")), "fresh article")
    with capsys.disabled():
        print(
            f"\nmodel held for 120 s: lag shown {lag:.0f} s, backlog told by the alert {rang['backlog_seconds']:.0f} s"
        )
    assert lag >= 119 and rang["backlog_seconds"] >= 119 and rang["late"] and rang["degraded"]


def test_a_stop_in_the_midst_of_work_keeps_its_budget_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        Receiver() as hooks,
        Daemon(tmp_path, '[engine]\ndrain = "2s"\n' + ACME + hooks.channel("desk", "/d")) as daemon,
    ):
        hooks.answers["/d"] = "hang"
        daemon.ring()
        wait_for(lambda: hooks.hooks, "delivery under way")
        text = "The harbour authority told reporters that a further depot is planned for the coming year. " * 12
        daemon.push(*({"id": f"d{n}", "title": f"Depot {n} opens", "text": text} for n in range(300)))
        waiting = daemon.get("status")["lag"]["score"]["records"]
        before = time.monotonic()
        assert daemon.stop() == 0
        seconds = time.monotonic() - before
        assert not hooks.released.is_set(), "it waited for a receiver that never answers"
        assert daemon.logged("stopped") or daemon.logged("stop_cut_short")
        scored = len(keys(daemon.store, "scores"))
        assert waiting > 100, "nothing was under way: the test proved nothing"
        assert len(keys(daemon.store, "documents")) == 300 + len(BAD_NEWS)
        sent = {(hook.id, hook.raw) for hook in hooks.hooks}

        hooks.answers["/d"] = 204
        before = len(hooks.hooks)
        daemon.start()
        wait_for(lambda: {(hook.id, hook.raw) for hook in hooks.hooks[before:]} >= sent, "deliveries again, unchanged")
        wait_for(daemon.idle, "rest")
        assert daemon.stop() == 0
        documents, scores = keys(daemon.store, "documents"), keys(daemon.store, "scores")
        assert sorted(documents) == sorted(scores) and len(set(documents)) == 300 + len(BAD_NEWS)
    with capsys.disabled():
        print(
            f"\nstopped in {seconds:.1f} s with {waiting} waiting, {scored} of {len(documents)} scored, {len(sent)} deliveries hanging"
        )


SINK = """
import fcntl, os, socket, struct, time
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"lo", 0x49))  # SIOCSIFFLAGS: up, running
parent, hole = os.getppid(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hole.bind(("127.0.0.1", 53))
asked = open("asked", "wb", 0)
hole.settimeout(0.2)
while os.getppid() == parent:
    try:
        asked.write(hole.recv(512))
    except TimeoutError:
        pass
"""


def test_a_stop_does_not_wait_for_a_name_that_never_resolves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unshare = ["unshare", "-rmn"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        assert not os.environ.get("CI"), "unshare -rmn is needed in CI"
        pytest.skip("unshare -rmn is not possible here: no resolver of our own")
    feed = '[[sources]]\nkind = "feed"\nname = "lost"\nurl = "https://feed.lost.example/"\ninterval = "1s"\n'
    daemon = Daemon(tmp_path, '[engine]\ndrain = "2s"\n' + ACME + feed)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    (tmp_path / "sink.py").write_text(SINK)
    script = (
        "mount --bind resolv.conf $(readlink -f /etc/resolv.conf) && "
        f"{{ {sys.executable} sink.py & exec {sys.executable} -m monitor run -c tapewatch.toml; }}"
    )
    with daemon.log_file.open("wb") as log:
        daemon.process = subprocess.Popen([*unshare, "sh", "-c", script], cwd=tmp_path, stderr=log, stdout=log)
    try:
        asked = tmp_path / "asked"
        wait_for(lambda: asked.exists() and b"lost" in asked.read_bytes(), "question to the resolver")
        daemon.send(signal.SIGTERM)
        # The resolver would keep its thread for two and a half minutes.
        assert daemon.process.wait(40) == 0
        assert daemon.logged("stop_cut_short"), "nothing held it: the test proved nothing"
        with capsys.disabled():
            print(f"\nquestions never answered: {asked.read_bytes().count(b'lost')}; the stop was cut short")
    finally:
        daemon.__exit__()


def test_a_second_daemon_on_store_or_port_is_refused(tmp_path: Path) -> None:
    with Daemon(tmp_path / "one", ACME) as first:
        assert first.process is not None
        second = Daemon(tmp_path / "two", ACME)
        (tmp_path / "two" / "tapewatch.db").symlink_to(first.store)
        second.start(ready=False)
        assert second.process is not None and second.process.wait(30) == 1
        assert "another tapewatch" in second.log() and str(first.process.pid) in second.log()
        assert "Traceback" not in second.log()
        done = first.cli("backfill", str(_history(tmp_path)))
        assert done.returncode == 1 and "another tapewatch" in done.stderr and "Traceback" not in done.stderr

        third = Daemon(tmp_path / "three", ACME, port=first.port)
        third.start(ready=False)
        assert third.process is not None and third.process.wait(30) == 2
        assert "web.listen" in third.log() and str(first.port) in third.log() and "Traceback" not in third.log()
        assert request(f"{first.url}/readyz")[0] == 200
        assert first.stop() == 0


def _history(folder: Path) -> Path:
    path = folder / "history.jsonl"
    path.write_text('{"title": "Depot opens", "published": "2026-01-01T00:00:00Z"}\n')
    return path
