"""kill -9 of the daemon at random moments, over and over, while documents are posted and a receiver counts."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

KILLS = 8
WORDS = "ledger bridge harbour turbine orders lawyers margins bonds suppliers dealers".split()
BAD = (
    "plunge after warning",
    "slump on weak demand",
    "fall as losses widen",
    "sink on default fears",
    "tumble after probe",
)


class Receiver:
    """Counts webhooks by id, with their bodies; slow enough now and then to be caught mid-delivery."""

    def __init__(self) -> None:
        self.bodies: dict[str, set[bytes]] = {}
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests += 1
                outer.bodies.setdefault(self.headers["webhook-id"], set()).add(body)
                time.sleep(0.05)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Daemon:
    """A real daemon process."""

    def __init__(self, folder: Path, hook: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        secret = base64.b64encode(b"s" * 32).decode()
        self.config = folder / "tapewatch.toml"
        self.config.write_text(
            '[detection]\nmin_open = "1s"\n'
            '[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme Corp", aliases = ["Acme"] }]\n'
            f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "http://127.0.0.1:{hook}/"\nsecret = "whsec_{secret}"\n'
            f'[web]\nlisten = "127.0.0.1:{self.port}"\n[network]\nallow_private = ["127.0.0.0/8"]\n'
        )
        self.store = folder / "tapewatch.db"
        self.log = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "monitor", "run", "-c", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the daemon did not become ready")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def post(self, documents: list[dict]) -> bool:
        """Whether the daemon acknowledged; anything else is posted again later."""
        body = "\n".join(json.dumps(document) for document in documents).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1/documents", data=body)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status == 202
        except (OSError, urllib.error.URLError):
            return False

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=5) as answer:
            return json.loads(answer.read())

    def shown(self, key: str) -> int:
        """The documents that a key's series counts."""
        return sum(block["documents"] for block in self.get(f"series?key={key}&limit=5000")["series"])

    def waiting(self) -> int:
        return sum(stage["records"] for stage in self.get("status")["lag"].values())


def story(number: int) -> dict:
    rng = random.Random(number)
    a, b = rng.sample(WORDS, 2)
    return {"id": f"d{number}", "title": f"Acme {a} {b} {rng.choice(BAD)} {number}", "publisher": f"p{number % 5}"}


@dataclass
class Campaign:
    """Documents posted while the daemon is killed, and what became of it."""

    daemon: Daemon
    owed: list[list[dict]]
    acknowledged: set[str] = field(default_factory=set)
    at_work: int = 0
    """Kills while documents were owed."""
    retried: int = 0

    def run(self, rng: random.Random) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=self._post, args=(stop,))
        thread.start()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.5))
            before = len(self.owed)
            self.daemon.kill()
            self.at_work += before > 0
            self.daemon.start()
        thread.join(timeout=90)
        stop.set()
        assert not self.owed, "not every document was accepted in time"

    def _post(self, stop: threading.Event) -> None:
        while self.owed and not stop.is_set():
            if self.daemon.post(self.owed[0]):
                self.acknowledged.update(document["id"] for document in self.owed.pop(0))
            else:
                self.retried += 1
            time.sleep(0.02)


def settled(daemon: Daemon) -> dict[str, int]:
    """Waits until a fresh document is through and every alert sent; the documents that each key's series counts."""
    deadline = time.monotonic() + 30
    while daemon.waiting() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert daemon.post([{"id": "fresh", "title": "Acme opens a small museum"}])
    while not any(d["title"] == "Acme opens a small museum" for d in daemon.get("documents")["documents"]):
        assert time.monotonic() < deadline + 20
        time.sleep(0.1)
    while daemon.get("status")["outbox"].get("desk"):
        assert time.monotonic() < deadline + 40
        time.sleep(0.1)
    while min((shown := {key: daemon.shown(key) for key in ("entity:acme-corp", "market")}).values()) < 601:
        assert time.monotonic() < deadline + 60, f"the series count {shown} of 601 documents"
        time.sleep(0.1)
    return shown


def logged(store: Path) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Ids in the log: of the documents, of those scored, and (key, id) of the evidence."""
    with contextlib.closing(sqlite3.connect(store)) as db:
        documents, scored = (
            [row[0] for row in db.execute(f"SELECT key FROM {table} WHERE key != '~watermark'")]
            for table in ("log_documents", "log_scores")
        )
        values = db.execute("SELECT value FROM log_evidence WHERE key != '~watermark'").fetchall()
    counted = [(one["key"], one["id"]) for one in (json.loads(value) for (value,) in values)]
    return documents, scored, counted


def test_kill_nine_loses_nothing_and_counts_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receiver = Receiver()
    daemon = Daemon(tmp_path, receiver.port)
    daemon.start()
    campaign = Campaign(daemon, [[story(10 * batch + i) for i in range(10)] for batch in range(60)])
    campaign.run(random.Random(5))
    shown = settled(daemon)
    alerts = daemon.get("alerts")["alerts"]
    events = {event["id"]: event for alert in alerts for event in daemon.get(f"alerts/{alert['alert']}")["events"]}
    letters = daemon.get("dead-letters")["dead_letters"]
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(timeout=30) == 0

    documents, scored, counted = logged(daemon.store)
    with capsys.disabled():
        print(
            f"\nkills {KILLS} ({campaign.at_work} while documents were owed), posts retried {campaign.retried}, "
            f"acknowledged {len(campaign.acknowledged)}, documents {len(documents)}, scored {len(scored)}, "
            f"evidence {len(counted)}, in the series {shown}, alert events {len(events)}, webhooks {receiver.requests}, "
            f"webhook ids {len(receiver.bodies)}"
        )
    receiver.close()
    assert campaign.at_work >= 3, "no kill met the daemon at work: the test proved nothing"
    assert campaign.retried > 0
    assert len(campaign.acknowledged) == 600
    assert len(documents) == len(set(documents)) == 601, "a document was lost or accepted twice"
    assert sorted(scored) == sorted(documents), "a document was not scored exactly once"
    assert len(counted) == len(set(counted)), "evidence was written twice"
    assert shown == {"entity:acme-corp": 601, "market": 601}, "the series do not count each document once"
    assert letters == []
    sent = {name for name, event in events.items() if "desk" in event["channels"]}
    assert sent and sent == set(receiver.bodies), "an alert was not delivered, or one that is unknown was"
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values()), "one id came with two bodies"
    assert receiver.requests >= len(receiver.bodies)
