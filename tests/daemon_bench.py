"""What tests of a running daemon share: real processes, a receiver and a feed on loopback, and waiting for a condition.

Feed and receiver run in threads, so that they serve processes and daemons inside the test's own loop alike.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of these tests, 32 bytes").decode()
PATIENCE = 40.0
"""Seconds to wait for what takes one or two: the machine may be busy with other work."""

T = TypeVar("T")

ACME = '[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme Corp", aliases = ["Acme"] }]\n'
BAD_NEWS = (
    "Acme bridge falls as fraud probe widens",
    "Acme ledger shows a loss and prosecutors suspect fraud",
    "Turbine crash kills two workers at Acme plant",
    "Acme orders slump and shares plunge after a warning",
    "Bondholders fear that Acme defaults on its debt",
    "Lawyer sues Acme over poisoned harbour water",
    "Acme chief is charged with bribery, shares tumble",
    "Rating agency cuts Acme to junk on mounting losses",
    "Acme shares sink to a ten-year low as investors flee",
    "Regulator fines Acme for hiding an accident for years",
    "Acme slashes its forecast and fires a third of its staff",
    "Analysts downgrade Acme after disastrous quarterly results",
    "Suppliers stop deliveries to Acme over unpaid bills",
    "Acme stock collapses amid fears of bankruptcy",
)
"""Enough of it for a daemon that knows no history yet."""


def wait_for(question: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """The first true answer of ``question``."""
    deadline = time.monotonic() + patience
    while True:
        if found := question():
            return found
        assert time.monotonic() < deadline, f"in {patience:.0f} s there was no {what}"
        time.sleep(0.03)


@dataclass
class Hook:
    """One webhook as it came."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, Any]:
        """The body, its signature verified."""
        # Not ``verify``: it compares with the machine's clock, and some daemons here run on one of their own.
        moment = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        signature = Webhook(SECRET).sign(self.id, moment, self.raw.decode())
        assert signature in self.headers["webhook-signature"].split(" ")
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def type(self) -> str:
        return str(self.body["type"])


class _Server:
    """A threaded HTTP server on loopback; use it in a ``with`` block."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Receiver(_Server):
    """Takes webhooks at any path and answers each path as told: a status, or "hang" for no answer."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []
        self.answers: dict[str, int | str] = {}
        self.released = threading.Event()
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        raw = request.rfile.read(int(request.headers["content-length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.hooks.append(Hook(request.path, headers, raw))
        status = self.answers.get(request.path, 204)
        if status == "hang":
            self.released.wait()
            return
        request.send_response(int(status))
        request.send_header("content-length", "0")
        request.end_headers()

    def at(self, path: str, type_: str = "") -> list[Hook]:
        return [hook for hook in list(self.hooks) if hook.path == path and hook.type.startswith(type_)]

    def __exit__(self, *_: object) -> None:
        self.released.set()
        super().__exit__()

    def channel(self, name: str, path: str) -> str:
        url = f"http://127.0.0.1:{self.port}{path}"
        return f'[[channels]]\nkind = "webhook"\nname = "{name}"\nurl = "{url}"\nsecret = "{SECRET}"\n'


class Feed(_Server):
    """An RSS feed that says what it is told to, or fails with a status, or answers raw bytes, while its gate is open."""

    def __init__(self) -> None:
        self.titles: list[tuple[str, float]] = []
        self.status = 200
        self.raw: bytes | None = None
        self.polls = 0
        self.gate = threading.Event()
        self.gate.set()
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.polls += 1
        self.gate.wait()
        if self.raw is not None:
            request.wfile.write(self.raw)
            request.close_connection = True
            return
        items = "".join(
            f"<item><title>{title}</title><guid>g{number}</guid><pubDate>{formatdate(published)}</pubDate></item>"
            for number, (title, published) in enumerate(self.titles)
        )
        body = f'<rss version="2.0"><channel><title>Tape</title>{items}</channel></rss>'.encode()
        request.send_response(self.status)
        request.send_header("content-type", "application/rss+xml")
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        super().__exit__()

    def source(self, name: str, path: str = "/feed.xml", interval: str = "1s") -> str:
        url = f"http://127.0.0.1:{self.port}{path}"
        return f'[[sources]]\nkind = "feed"\nname = "{name}"\nurl = "{url}"\ninterval = "{interval}"\n'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def request(
    url: str, body: Any = None, *, method: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body; a ``body`` that is no bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


@dataclass
class Daemon:
    """``tapewatch run`` as a process of its own, with settings, store and log in ``folder``."""

    folder: Path
    settings: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every request to the API."""
    only: str = ""
    """The parts that run, all if empty."""

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.config = self.folder / "tapewatch.toml"
        self.store = self.folder / "tapewatch.db"
        self.log_file = self.folder / "daemon.log"
        self.write(self.settings)

    def write(self, settings: str) -> None:
        """The settings file: what is given, with the address, loopback allowed and JSON logs."""
        settings = settings if "[web]" in settings else settings + "[web]\n"
        whole = settings.replace("[web]\n", f'[web]\nlisten = "127.0.0.1:{self.port}"\n')
        whole += '[network]\nallow_private = ["127.0.0.0/8"]\n'
        self.config.write_text(whole if "[log]" in whole else whole + '[log]\nformat = "json"\n')

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, ready: bool = True) -> None:
        command = [sys.executable, "-m", "monitor", "run", "-c", str(self.config)]
        if self.only:
            command += ["--only", self.only]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **self.environment})
        if ready:
            wait_for(self._is_ready, "readiness")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-3000:]
        try:
            return request(f"{self.url}/readyz")[0] == 200
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status after a signal."""
        assert self.process is not None
        if self.process.poll() is None:
            self.send(number)
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- asking -------------------------------------------------------------------------------------------

    def log(self) -> str:
        return self.log_file.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The records of a JSON log that are called ``event``."""
        lines = [json.loads(line) for line in self.log().split("\n")[:-1]]
        return [line for line in lines if line["event"] == event]

    def get(self, path: str) -> Any:
        status, _, body = self._ask(path, headers=self.headers)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def _ask(self, path: str, body: Any = None, **how: Any) -> tuple[int, Mapping[str, str], bytes]:
        try:
            return request(f"{self.url}/api/v1/{path}", body, **how)
        except OSError as error:
            error.add_note(self.log()[-3000:])  # the daemon's side of it
            raise

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        sent = self.headers if headers is None else headers
        status, _, answer = self._ask(path, {} if body is None else body, headers=sent)
        return status, json.loads(answer)

    def delete(self, path: str) -> tuple[int, Any]:
        status, _, answer = self._ask(path, method="DELETE", headers=self.headers)
        return status, json.loads(answer)

    def push(self, *documents: dict[str, Any]) -> dict[str, Any]:
        """Posts documents; they must all be taken in."""
        body = "\n".join(json.dumps(document) for document in documents).encode()
        status, answer = self.post("documents", body)
        assert status == 202 and isinstance(answer, dict), answer
        return answer

    def ring(self, name: str = "Acme") -> None:
        """Bad news, enough of it for an alert about ``name``."""
        self.push(
            *(
                {"title": title.replace("Acme", name), "publisher": f"Paper {number}"}
                for number, title in enumerate(BAD_NEWS)
            )
        )

    def seen(self, title: str) -> bool:
        return any(document["title"] == title for document in self.get("documents?limit=1000")["documents"])

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics; 0 where there is none."""
        text = request(f"{self.url}/metrics")[2].decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())

    def idle(self) -> bool:
        return not any(stage["records"] for stage in self.get("status")["lag"].values())

    def cli(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command of ``tapewatch`` with this daemon's settings."""
        command = [sys.executable, "-m", "monitor", *arguments, "-c", str(self.config)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})}
        )

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """A listing command's JSON lines."""
        done = self.cli(*arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]
