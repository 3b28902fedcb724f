"""The store under fault: a full disk, a second daemon, a newer version."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipelines.streams.store import Store, StoreTooNew
from tests.daemon_bench import ACME, Daemon, wait_for


def can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    )


def logged(store: Path, topic: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute(f"SELECT value FROM log_{topic} WHERE key != '~watermark'").fetchall()
    return [json.loads(value) for (value,) in rows]


def ask(url: str, data: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_full_disk_stops_acceptance_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not can_unshare():
        assert not os.environ.get("CI"), "unshare -rm is needed in CI"
        pytest.skip("unshare -rm is not possible here: no tiny file system")
    small = tmp_path / "small"
    small.mkdir()
    config = tmp_path / "tapewatch.toml"
    config.write_text(f'[engine]\npath = "{small}/t.db"\n[web]\nlisten = "127.0.0.1:0"\n')
    script = (
        f"mount -t tmpfs -o size=64m tmpfs {small} && dd if=/dev/zero of={small}/filler bs=1M count=60 2>/dev/null && "
        f"exec {sys.executable} -m monitor run -c {config}"
    )
    log = tmp_path / "log"
    with log.open("wb") as target:
        process = subprocess.Popen(["unshare", "-rm", "sh", "-c", script], stderr=target, stdout=target)
    try:
        address = _address(log, process)
        deadline = time.monotonic() + 60
        while ask(f"{address}/readyz")[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        refused, accepted, number = 0, 0, 0
        deadline = time.monotonic() + 60
        while not refused and time.monotonic() < deadline:
            body = "\n".join(
                json.dumps({"id": f"d{number + i}", "title": f"Harbour ledger {number + i} opens " + "x" * 300})
                for i in range(200)
            )
            status, _ = ask(f"{address}/api/v1/documents", body.encode())
            if status == 202:
                accepted += 200
                number += 200
            else:
                assert status == 503
                refused += 1
        assert refused, "the disk never filled: the test proved nothing"
        # The stages run into it as well, and say so.
        while time.monotonic() < deadline and ask(f"{address}/readyz")[0] != 503:
            ask(f"{address}/api/v1/documents", b'{"title": "One more"}')
            time.sleep(0.1)
        status, why = ask(f"{address}/readyz")
        assert status == 503 and b"disk is full" in why
        Path(f"/proc/{process.pid}/root{small}/filler").unlink()
        while time.monotonic() < deadline + 30:
            lag = json.loads(ask(f"{address}/api/v1/status")[1])["lag"]
            if ask(f"{address}/readyz")[0] == 200 and not any(stage["records"] for stage in lag.values()):
                break
            time.sleep(0.2)
        assert ask(f"{address}/api/v1/documents", b'{"id": "fresh", "title": "Room again at the harbour"}')[0] == 202
        while time.monotonic() < deadline + 40:
            titles = [d["title"] for d in json.loads(ask(f"{address}/api/v1/documents?limit=5")[1])["documents"]]
            if "Room again at the harbour" in titles:
                break
            time.sleep(0.2)
        assert "Room again at the harbour" in titles
        with capsys.disabled():
            print(f"\naccepted {accepted} before the disk was full, refused {refused}, resumed")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)


def test_an_io_error_with_room_left_is_told_as_what_it_is(tmp_path: Path, counted: Callable[..., None]) -> None:
    """The system refuses writes beyond a size of file, of which SQLite learns as of a failing disk."""

    accepted = [{"id": f"d{number}", "title": f"Harbour ledger {number} opens"} for number in range(1_000)]
    fresh = {"id": "fresh", "title": "The harbour writes again"}
    with Daemon(tmp_path / "d", ACME) as daemon:
        assert daemon.process is not None
        assert daemon.push(*accepted)["accepted"] == len(accepted)
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
        wait_for(lambda: ask(f"{daemon.url}/readyz")[0] == 503, "unreadiness")
        told = ask(f"{daemon.url}/readyz")[1]
        status, why = ask(f"{daemon.url}/api/v1/documents", json.dumps(fresh).encode())
        assert status == 503 and b"SQLITE_IOERR" in why and b"quota or limit" in why and b"make room" not in why
        assert b"the store can't be written" in told and b"SQLITE_IOERR" in told
        failures = daemon.logged("store_fails")
        assert failures and not daemon.logged("store_full")
        assert shutil.disk_usage(tmp_path).free > 2**20, "there is no room: the test proved nothing"
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, limits)
        wait_for(lambda: ask(f"{daemon.url}/readyz")[0] == 200, "readiness")
        daemon.push(fresh)
        wait_for(lambda: daemon.seen(fresh["title"]), "the fresh article")
        assert daemon.stop() == 0
        scored = Counter(one["id"] for one in logged(daemon.store, "scores"))
    assert set(scored.values()) == {1} and len(scored) == len(accepted) + 1
    counted("writes that fail", accepted=len(accepted), told=len(failures), scored_once_each=len(scored))


def test_a_store_that_refuses_while_no_stage_works_shows_and_what_waited_counts_once(
    tmp_path: Path, counted: Callable[..., None]
) -> None:
    folder = tmp_path / "d"
    (folder / "tape").mkdir(parents=True)
    source = '[[sources]]\nkind = "file"\nname = "tape"\npath = "tape"\n'
    with Daemon(folder, ACME + source) as daemon:
        assert daemon.process is not None
        daemon.push({"title": "Harbour ledger opens"})
        wait_for(daemon.idle, "rest")
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
        tape = [{"title": f"Harbour waits for room {number}", "published": time.time()} for number in range(50)]
        (folder / "tape" / ".new").write_text("".join(json.dumps(one) + "\n" for one in tape))
        (folder / "tape" / ".new").rename(folder / "tape" / "tape.jsonl")
        wait_for(lambda: ask(f"{daemon.url}/readyz")[0] == 503, "unreadiness")
        time.sleep(3.5)  # the source tries again each second
        assert ask(f"{daemon.url}/readyz")[0] == 503
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, limits)
        wait_for(lambda: ask(f"{daemon.url}/readyz")[0] == 200, "readiness")
        wait_for(lambda: daemon.seen(tape[-1]["title"]), "what waited")
        accepted = daemon.metric("tapewatch_documents_total", outcome="accepted", source="tape")
        assert accepted == len(tape), "each try was counted"
    counted("writes refused at rest", documents=len(tape), accepted=int(accepted))


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        for word in log.read_text().split():
            if word.startswith("address=http"):
                return word.removeprefix("address=")
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_a_second_daemon_on_one_store_is_told_of_the_first(tmp_path: Path) -> None:
    """Not of the address, which is taken as well."""
    with Daemon(tmp_path / "d", ACME) as first:
        assert first.process is not None
        second = first.cli("run")
        assert second.returncode == 1, second.stderr
        assert f"another tapewatch (process {first.process.pid}) has this store open" in second.stderr
        assert "listening" not in second.stderr and "web.listen" not in second.stderr
        first.push({"title": "The first one goes on"})
        assert first.stop() == 0


def test_a_store_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store(path, now=time.time).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreTooNew, match="newer tapewatch"):
        Store(path, now=time.time)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == 99
    db.close()
