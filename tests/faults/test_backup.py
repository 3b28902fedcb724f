"""Backups of a daemon at work, put back after its disk was lost; and what must not become one."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.documents import iso
from pipelines.streams.base import DOCUMENTS, Output
from pipelines.streams.store import Store
from tests.daemon_bench import ACME, BAD_NEWS, Daemon, Feed, Hook, Receiver, wait_for

HOUR = 3_600.0
WATCHED = ACME + '[[watchlists]]\nname = "other"\nentities = [{ name = "Borealis Mills", aliases = ["Borealis"] }]\n'


class Poster:
    """Posts documents one by one, as fast as they are acknowledged, and remembers which were."""

    def __init__(self, daemon: Daemon) -> None:
        self.acknowledged: list[str] = []
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            name = f"p{len(self.acknowledged)}"
            self._daemon.push({"id": name, "title": f"The harbour master {name} greets a ship called {name}"})
            self.acknowledged.append(name)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def lose(daemon: Daemon) -> None:
    """The disk is gone, and with it all that the daemon kept."""
    daemon.stop(signal.SIGKILL)
    for path in daemon.folder.glob("tapewatch.db*"):
        path.unlink()


def logged(store: Path, topic: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute(f"SELECT value FROM log_{topic} WHERE key != '~watermark' ORDER BY offset").fetchall()
    return [json.loads(value) for (value,) in rows]


@dataclass
class Story:
    """A daemon of two channels and a feed, backed up at work, whose disk was then lost; and what was seen of it."""

    daemon: Daemon
    receiver: Receiver
    feed: Feed
    poster: Poster
    kept: Path
    now: float
    silence: str = ""
    before: list[str] = field(default_factory=list)
    """Posts that were acknowledged before the backup, and how many while it was taken."""
    during: int = 0
    delivered: dict[str, bytes] = field(default_factory=dict)
    """Webhooks that the desk had by then."""
    rang: list[Hook] = field(default_factory=list)
    """What rang after the backup."""
    seen: int = 0
    """Webhooks before the restore."""
    stale: float = 0.0
    shown: set[str] = field(default_factory=set)

    def firing(self, path: str, name: str) -> list[Hook]:
        hooks = self.receiver.at(path, "alert.firing")
        return [hook for hook in hooks if hook.body["data"]["subject"]["key"] == f"entity:{name}"]


def ring_and_hush(story: Story) -> None:
    """An alert that one channel has and the other is owed, and a silence."""
    daemon = story.daemon
    daemon.ring()
    wait_for(lambda: story.firing("/desk", "acme-corp"), "alert at the desk")
    wait_for(lambda: story.firing("/late", "acme-corp"), "attempt at the other channel")
    wait_for(lambda: daemon.idle() and not daemon.get("status")["outbox"]["desk"], "rest")
    status, silence = daemon.post("silences", {"keys": ["topic:energy-oil"], "until": iso(story.now + HOUR)})
    assert status == 201
    story.silence = silence["id"]


def back_up_at_work(story: Story) -> None:
    with story.poster.at_work():
        wait_for(lambda: len(story.poster.acknowledged) >= 100, "documents")
        story.before = list(story.poster.acknowledged)
        done = story.daemon.cli("backup", "--out", str(story.kept))
        assert done.returncode == 0, done.stderr
        story.during = len(story.poster.acknowledged) - len(story.before)
    assert story.during > 0, "nothing was written while the backup was taken: the test proved nothing"
    story.delivered = {hook.id: hook.raw for hook in story.receiver.at("/desk")}


def ring_and_lose_the_disk(story: Story) -> None:
    """Another alert, out of the feed; then the disk is gone, and the feed tells what is old as well."""
    story.feed.titles += [(title.replace("Acme", "Borealis"), story.now - n) for n, title in enumerate(BAD_NEWS)]
    wait_for(lambda: story.firing("/desk", "borealis-mills"), "alert after the backup")
    story.rang = story.firing("/desk", "borealis-mills")
    lose(story.daemon)
    yesterday = story.now - 30 * HOUR
    story.feed.titles += [(f"{title} (from yesterday)", yesterday - n) for n, title in enumerate(BAD_NEWS)]


def restore_and_run(story: Story) -> None:
    """Until all is delivered, to the other channel too; notes what page and metrics say then."""
    daemon = story.daemon
    story.seen = len(story.receiver.hooks)
    story.receiver.answers["/late"] = 204
    restored = daemon.cli("restore", str(story.kept))
    assert restored.returncode == 0, restored.stderr
    with daemon:
        daemon.push({"id": "fresh", "title": "A fresh breeze at the pier"})
        wait_for(lambda: daemon.seen("A fresh breeze at the pier"), "fresh document")
        for owed in daemon.get("deliveries?state=pending")["deliveries"]:
            # Its next attempt may be minutes away, as the schedule has it.
            assert daemon.post(f"deliveries/{quote(owed['id'])}/retry")[0] in (202, 409)
        wait_for(lambda: story.firing("/desk", "borealis-mills")[len(story.rang) :], "what the feed still tells")
        wait_for(lambda: daemon.idle() and not any(daemon.get("status")["outbox"].values()), "rest")
        story.stale = daemon.metric("tapewatch_documents_total", source="wire", outcome="stale")
        story.shown = {alert["alert"] for alert in daemon.get("alerts")["alerts"]}
        assert story.silence in [one["id"] for one in daemon.get("silences")["silences"]]
        assert daemon.get("dead-letters")["dead_letters"] == []
        assert daemon.stop() == 0


def check_documents(story: Story) -> int:
    """All that was acknowledged before the backup is there, once; returns how many posts are in the restored log."""
    store = story.daemon.store
    documents = Counter(one["id"] for one in logged(store, "documents"))
    titles = [one["title"] for one in logged(store, "documents")]
    posted = [title for title in titles if title.startswith("The harbour master")]
    assert {f"The harbour master {name} greets a ship called {name}" for name in story.before} <= set(posted)
    assert len(posted) < len(story.poster.acknowledged), "the disk was not lost"
    assert max(documents.values()) == 1 and documents == Counter(one["id"] for one in logged(store, "scores"))
    assert max(Counter((one["key"], one["id"]) for one in logged(store, "evidence")).values()) == 1
    return len(posted)


def check_deliveries(story: Story) -> None:
    """What the desk has it is not told again, what the other was owed it gets, the same to the byte."""
    again = story.receiver.hooks[story.seen :]
    assert not {hook.id for hook in again if hook.path == "/desk"} & set(story.delivered)
    late = {hook.id: hook.raw for hook in again if hook.path == "/late"}
    assert story.delivered.items() <= late.items()
    assert {hook.body["data"]["episode"]["id"] for hook in story.receiver.at("/desk")} >= story.shown


def check_alerts(story: Story) -> None:
    # Acme rang before the backup and is quiet since; yesterday's news, which the backup never saw, rings nothing.
    assert story.stale == len(BAD_NEWS)
    assert len(story.firing("/desk", "acme-corp")) == 1
    # What rang after the backup is told again as the feed tells it, under the same dedupe key.
    keys = [hook.body["data"]["dedupe_key"] for hook in story.firing("/desk", "borealis-mills")]
    assert len(keys) > len(story.rang) and len(set(keys)) == 1


def test_what_was_acknowledged_before_a_backup_outlives_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    with Receiver() as receiver, Feed() as feed:
        receiver.answers["/late"] = 500
        feed.titles = [(f"A calm day at pier {n}", now - n) for n in range(20)]
        channels = receiver.channel("desk", "/desk") + receiver.channel("late", "/late")
        daemon = Daemon(tmp_path / "d", WATCHED + channels + feed.source("wire"))
        story = Story(daemon, receiver, feed, Poster(daemon), tmp_path / "kept", now)
        with daemon:
            ring_and_hush(story)
            back_up_at_work(story)
            ring_and_lose_the_disk(story)
        restore_and_run(story)
        posted = check_documents(story)
        check_deliveries(story)
        check_alerts(story)
        with capsys.disabled():
            print(
                f"\nposts acknowledged before the backup {len(story.before)}, while it was taken {story.during}, all "
                f"{len(story.poster.acknowledged)}; in the restored log {posted}; alert events delivered before "
                f"{len(story.delivered)}, webhooks after the restore {len(receiver.hooks) - story.seen}, old news shown "
                f"and dropped {story.stale:.0f}"
            )


def filled(folder: Path, records: int) -> Daemon:
    """A daemon that does not run, and its store with so many records of 1.5 kB."""
    daemon = Daemon(folder, ACME)
    store = Store(daemon.store, now=time.time)
    for start in range(0, records, 10_000):
        with store.transaction() as unit:
            unit.emit(Output(DOCUMENTS, f"k{n}", b"%d" % n * 300) for n in range(start, min(records, start + 10_000)))
    store.close()
    return daemon


def test_a_killed_backup_leaves_none_behind(tmp_path: Path) -> None:
    daemon = filled(tmp_path / "d", 60_000)
    kept = tmp_path / "kept"
    command = [sys.executable, "-m", "monitor", "backup", "-c", str(daemon.config), "--out", str(kept)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: list(tmp_path.glob(".kept.*/tapewatch.db")), "half a backup")
        process.kill()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed: the test proved nothing"
    assert not kept.exists()
    done = daemon.cli("backup", "--out", str(kept))
    assert done.returncode == 0 and json.loads(done.stdout)["head"] == 60_000
    assert sorted(path.name for path in kept.iterdir()) == ["backup.json", "tapewatch.db"]


def test_a_backup_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    daemon = filled(tmp_path / "d", 10)
    kept = tmp_path / "deep" / "kept"
    assert daemon.cli("backup", "--out", str(kept)).returncode == 0
    assert kept.stat().st_mode & 0o077 == 0
    again = daemon.cli("backup", "--out", str(kept))
    assert again.returncode == 1 and "is there already" in again.stderr
    empty = Daemon(tmp_path / "empty", ACME)
    nothing = empty.cli("backup", "--out", str(tmp_path / "nothing"))
    assert nothing.returncode == 1 and str(empty.store) in nothing.stderr and "no store" in nothing.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_store_that_is_kafkas_is_not_backed_up(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "d", '[engine]\nkind = "kafka"\n[engine.kafka]\nbrokers = ["127.0.0.1:9"]\n' + ACME)
    for command in (["backup", "--out", str(tmp_path / "kept")], ["restore", str(tmp_path / "kept")]):
        refused = daemon.cli(*command)
        assert refused.returncode == 2 and "docs/backup.md" in refused.stderr


def test_a_running_daemons_store_is_not_put_back(tmp_path: Path) -> None:
    daemon = filled(tmp_path / "d", 10)
    assert daemon.cli("backup", "--out", str(tmp_path / "kept")).returncode == 0
    with daemon:
        assert daemon.process is not None
        refused = daemon.cli("restore", str(tmp_path / "kept"))
        assert refused.returncode == 1 and str(daemon.process.pid) in refused.stderr
        assert not list(daemon.folder.glob("*.replaced-*"))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def newer(path: Path) -> None:
    manifest = json.loads(path.read_text())
    manifest["store"]["version"] = 99
    path.write_text(json.dumps(manifest))


def outside(kept: Path) -> None:
    """The same bytes, but no file of the backup's."""
    (kept / "tapewatch.db").rename(kept.parent / "elsewhere.db")
    manifest = json.loads((kept / "backup.json").read_text())
    manifest["store"]["file"] = "../elsewhere.db"
    (kept / "backup.json").write_text(json.dumps(manifest))


def linked(kept: Path) -> None:
    (kept / "tapewatch.db").rename(kept.parent / "elsewhere.db")
    (kept / "tapewatch.db").symlink_to(kept.parent / "elsewhere.db")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (outside, "outside"),
        (linked, "is not the file"),
        (lambda kept: damage(kept / "tapewatch.db"), "sha256"),
        (lambda kept: (kept / "tapewatch.db").unlink(), "not whole"),
        (lambda kept: (kept / "backup.json").unlink(), "tapewatch backup"),
        (lambda kept: (kept / "backup.json").write_text("{"), "backup.json"),
        (lambda kept: newer(kept / "backup.json"), "newer"),
    ],
)
def test_what_is_no_whole_backup_touches_nothing(tmp_path: Path, change: Any, says: str) -> None:
    daemon, kept = filled(tmp_path / "d", 1_000), tmp_path / "kept"
    assert daemon.cli("backup", "--out", str(kept)).returncode == 0
    change(kept)
    before = {path: path.read_bytes() for path in daemon.folder.iterdir() if path.suffix != ".lock"}
    refused = daemon.cli("restore", str(kept))
    assert refused.returncode == 1 and says in refused.stderr and str(kept) in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    assert {path: path.read_bytes() for path in daemon.folder.iterdir() if path.suffix != ".lock"} == before


def test_what_was_there_is_set_aside_and_can_come_back(tmp_path: Path) -> None:
    daemon, kept = filled(tmp_path / "d", 10), tmp_path / "kept"
    assert daemon.cli("backup", "--out", str(kept)).returncode == 0
    with daemon:
        daemon.push({"id": "later", "title": "Written after the backup"})
        wait_for(lambda: daemon.seen("Written after the backup"), "document")
        daemon.stop(signal.SIGKILL)
    assert daemon.cli("restore", str(kept)).returncode == 0
    former = next(path for path in daemon.folder.glob("tapewatch.db.replaced-*") if path.name[-1].isdigit())
    assert "Written after the backup" in [one.get("title") for one in logged_json(former)]
    with daemon:
        daemon.push({"id": "new", "title": "Written after the restore"})
        wait_for(lambda: daemon.seen("Written after the restore"), "document on the page")
        assert not daemon.seen("Written after the backup")


def logged_json(store: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute("SELECT value FROM log_scores WHERE key != '~watermark'").fetchall()
    return [json.loads(value) for (value,) in rows]


def test_the_page_follows_a_log_that_began_anew(tmp_path: Path) -> None:
    """A store that was lost or copied back by hand, and the read model of the one before."""
    daemon = Daemon(tmp_path / "d", ACME)
    with daemon:
        daemon.push(*({"id": f"d{n}", "title": f"The harbour opens pier {n}"} for n in range(200)))
        daemon.ring()
        wait_for(lambda: daemon.get("alerts")["alerts"], "alert")
        assert daemon.stop() == 0
        for path in (daemon.store, *daemon.folder.glob("tapewatch.db-*")):
            path.unlink()
        assert daemon.store.with_name("tapewatch.db.view").exists()
        daemon.start()
        assert daemon.logged("log_began_anew")
        daemon.push({"id": "new", "title": "A new log begins"})
        wait_for(lambda: daemon.seen("A new log begins"), "document on the page")
        assert daemon.seen("The harbour opens pier 7"), "what was told stays"
        assert daemon.get("alerts?status=firing")["alerts"] == [], "nobody could end it any more"
    shutil.rmtree(daemon.folder)
