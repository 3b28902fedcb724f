"""Store and read model with torn pages: found at the start, or by the daemon at work and then at its next start."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.clock import SystemClock
from pipelines.ingest import Seen
from pipelines.streams.base import DOCUMENTS, Output, State, StoreTorn
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.kafka.intake import Intake
from pipelines.streams.soundness import MARK, QUICK_CHECK_BYTES
from pipelines.streams.store import Store
from tests.daemon_bench import ACME, Daemon, Receiver, wait_for


def tear(path: Path, table: str) -> int:
    """Writes noise over the roots of a table and of its indexes, and makes the file larger than what is read whole at
    every start (it takes no room for that). Returns how many bytes were torn."""
    with closing(sqlite3.connect(path)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        roots = db.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ? AND rootpage", (table,)).fetchall()
    assert not path.with_name(path.name + "-wal").exists(), "torn pages would be covered by the log's"
    with path.open("r+b") as file:
        for (root,) in roots:
            file.seek((root - 1) * size)
            file.write(os.urandom(size))
        file.truncate(QUICK_CHECK_BYTES + size * (path.stat().st_size // size))
    return len(roots) * size


def set_aside(path: Path) -> list[Path]:
    return [one for one in path.parent.glob(f"{path.name}.quarantined-*") if one.name[-1].isdigit()]


def ends(daemon: Daemon) -> int:
    """The exit status of a daemon that should end by itself."""
    assert daemon.process is not None
    process = daemon.process
    wait_for(lambda: process.poll() is not None, "end of the daemon")
    return process.wait()


def test_a_large_store_that_proves_torn_at_work_is_set_aside_by_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path / "d", ACME + receiver.channel("desk", "/desk"))
        with daemon:
            daemon.push(*({"id": f"d{n}", "title": f"A calm day at pier {n}"} for n in range(50)))
            wait_for(daemon.idle, "rest")
            assert daemon.stop() == 0
            torn = tear(daemon.store, "state_ingest_seen")
            daemon.start()
            assert set_aside(daemon.store) == [], "the start read it all: the test proved nothing"
            status, problem = daemon.post("documents", [{"id": "d7", "title": "A calm day at pier 7"}])
            assert (status, problem["title"]) == (503, "A file is damaged")
            assert ends(daemon) == 1
            (why,) = daemon.logged("daemon_failed")
            assert f"{daemon.store}: is damaged" in why["error"] and "next start" in why["error"]
            assert daemon.store.with_name(daemon.store.name + MARK).exists()

            daemon.start()
            (kept,) = set_aside(daemon.store)
            (told,) = daemon.logged("store_quarantined")
            assert told["aside"] == str(kept) and kept.stat().st_size > QUICK_CHECK_BYTES
            assert not daemon.store.with_name(daemon.store.name + MARK).exists()
            daemon.ring()
            wait_for(lambda: receiver.at("/desk", "alert.firing"), "alert after it")
            assert daemon.stop() == 0
            daemon.start()
            assert len(set_aside(daemon.store)) == 1, "set aside again"
    with capsys.disabled():
        print(
            f"\ntorn {torn} bytes of a store of {kept.stat().st_size}: 1 start that could not see it, {status} to a POST, "
            f"1 end with status 1, {len(daemon.logged('store_quarantined'))} set aside, then "
            f"{len(receiver.at('/desk', 'alert.firing'))} alerts and no further one"
        )


def test_a_large_read_model_that_proves_torn_at_work_is_filled_again_from_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as receiver:
        daemon = Daemon(tmp_path / "d", ACME + receiver.channel("desk", "/desk"))
        view = daemon.store.with_name(daemon.store.name + ".view")
        with daemon:
            daemon.push(*({"id": f"d{n}", "title": f"A calm day at pier {n}"} for n in range(50)))
            wait_for(lambda: daemon.seen("A calm day at pier 49"), "documents on the page")
            before = len(daemon.get("documents?limit=1000")["documents"])
            assert daemon.stop() == 0
            torn = tear(view, "documents")
            daemon.start()
            assert set_aside(view) == [], "the start read it all: the test proved nothing"
            daemon.push({"id": "one more", "title": "A windy day at pier 50"})
            assert ends(daemon) == 1
            assert str(view) in daemon.logged("daemon_failed")[0]["error"]

            daemon.start()
            assert len(daemon.logged("read_model_rebuilt")) == len(set_aside(view)) == 1
            wait_for(lambda: daemon.seen("A windy day at pier 50"), "documents on the page again")
            after = len(daemon.get("documents?limit=1000")["documents"])
            assert after == before + 1 == 51
            assert daemon.push({"id": "d7", "title": "A calm day at pier 7"})["duplicate"] == 1
            assert set_aside(daemon.store) == [], "the store had nothing"
            daemon.ring()
            wait_for(lambda: receiver.at("/desk", "alert.firing"), "alert after it")
    with capsys.disabled():
        print(
            f"\ntorn {torn} bytes of a read model of {set_aside(view)[0].stat().st_size}: 1 end with status 1, "
            f"{len(set_aside(view))} set aside, {after} of {before + 1} documents there again out of the log"
        )


def test_a_question_that_meets_a_torn_page_ends_the_daemon_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Daemon(tmp_path / "d", ACME) as daemon:
        daemon.push({"id": "one", "title": "A calm day at the pier"})
        wait_for(lambda: daemon.seen("A calm day at the pier"), "document on the page")
        assert daemon.stop() == 0
        torn = tear(daemon.store.with_name(daemon.store.name + ".view"), "deliveries")
        daemon.start()
        done = daemon.cli("deliveries", "list")
        assert done.returncode == 1 and "A file is damaged" in done.stderr
        assert ends(daemon) == 1
        daemon.start()
        assert daemon.lines("deliveries", "list") == []
        wait_for(lambda: daemon.seen("A calm day at the pier"), "document on the page again")
    with capsys.disabled():
        print(
            f"\ntorn {torn} bytes, 1 question answered with the reason, 1 end, {len(daemon.logged('started'))} starts"
        )


async def test_a_small_torn_store_is_set_aside_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "store.db"
    store = filled(path, 2_000)
    before = store.count([DOCUMENTS], 0)
    store.close()
    torn = path.read_bytes()
    noise = os.urandom(40_000 - 8_192)
    path.write_bytes(torn[:8_192] + noise + torn[40_000:])
    engine = EmbeddedEngine(path, clock=SystemClock())
    await engine.start([])
    await engine.append([Output(DOCUMENTS, "new", b"1")])
    count = await engine.ask(lambda one: one.count([DOCUMENTS], 0))
    await engine.stop()
    (kept,) = set_aside(path)
    assert (before, count) == (2_000, 1) and noise in kept.read_bytes()
    with capsys.disabled():
        print(f"\ntorn {len(noise)} bytes under {before} records: 1 file set aside, {count} record in the new one")


async def test_whoever_meets_a_torn_page_first_the_engine_is_done(tmp_path: Path) -> None:
    """A reader of the log on its own thread, too; and a mark on a file that is sound keeps nothing from starting."""
    path = tmp_path / "store.db"
    filled(path, 2_000).close()
    tear(path, "log_documents")
    engine = EmbeddedEngine(path, clock=SystemClock())
    await engine.start([])
    assert engine.fatal is None
    reader = engine.reader()
    with pytest.raises(StoreTorn, match="is damaged"):
        reader.read([DOCUMENTS], "", 10)
    reader.close()
    with pytest.raises(StoreTorn, match="is damaged"):
        await engine.ask(lambda one: one.read([DOCUMENTS], 0, 10))
    assert isinstance(engine.fatal, StoreTorn)
    await engine.stop()
    Store(path, now=time.time).close()
    assert len(set_aside(path)) == 1


async def test_what_ingest_keeps_beside_brokers_is_set_aside_like_a_store(
    tmp_path: Path, counted: Callable[..., None]
) -> None:
    published: list[Output] = []
    failed: list[BaseException] = []

    async def publish(outputs: Sequence[Output]) -> None:
        published.extend(outputs)

    def work(state: State) -> tuple[bool, list[Output]]:
        known = state.table("seen").get("d1") is not None
        state.table("seen").put("d1", Seen(0, 1, 1.0))
        return known, [Output(DOCUMENTS, "d1", b"{}")]

    path = tmp_path / "ingest.db"
    intake = Intake(path, SystemClock(), failed.append)
    assert [(await intake.take_in(work, publish))[0] for _ in range(2)] == [False, True]
    await intake.close()
    torn = tear(path, "state_ingest_seen")
    intake = Intake(path, SystemClock(), failed.append)
    with pytest.raises(StoreTorn, match="is damaged"):
        await intake.take_in(work, publish)
    await intake.close()
    intake = Intake(path, SystemClock(), failed.append)
    assert (await intake.take_in(work, publish))[0] is False
    await intake.close()
    assert len(published) == 3
    counted("ingest's own store", torn_bytes=torn, told_the_engine=len(failed), set_aside=len(set_aside(path)))


def test_a_mark_on_a_sound_file_costs_nothing_but_the_reading(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store.db"
    filled(path, 10).close()
    mark = path.with_name(path.name + MARK)
    mark.write_text("a page that could not be read once")
    store = Store(path, now=time.time)
    assert store.count([DOCUMENTS], 0) == 10
    store.close()
    assert not mark.exists() and set_aside(path) == []
    assert "a page that could not be read once" in capfd.readouterr().out


def filled(path: Path, records: int) -> Store:
    """A store with so many records and nothing left in its write-ahead log."""
    store = Store(path, now=time.time)
    with store.transaction() as unit:
        unit.emit([Output(DOCUMENTS, f"k{n}", b"x" * 500) for n in range(records)])
    store.empty_wal()
    return store
