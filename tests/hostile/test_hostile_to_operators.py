"""What strangers write must not break logs or metrics, and what is secret must show nowhere: one daemon, all of it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon_bench import ACME, Daemon, Feed, Receiver, free_port, request, wait_for
from tests.inside_bench import inside

KEY = base64.b64encode(b"canary of the signing secret 32b").decode()
CANARIES = {
    "webhook secret": KEY,
    "webhook address": "canary-webhook-path",
    "api token": "canary-api-token-4711",
    "source query": "canary-source-query",
    "source path": "canary-source-path",
}
HOSTILE = (
    'Harbour\n{"event": "forged", "level": "info"}',
    "Harbour\r\n\x1b[2J\x1b[31mred alert\x1b]0;owned\x07",
    "Harbour \u2028forged\u2029 \u202eevil\u2066 \x85 line",
    "Harbour " + "x" * 100_000,
    'Harbour "} tapewatch_forged_total{key="evil"} 1\n# HELP forged\n',
    "Harbour \x00\x08\x7f\x9b31m",
    "%s %(password)s {0} {settings} ${HOME} Harbour",
)


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hooks: Receiver) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "token").write_text(CANARIES["api token"])
    (folder / "desk.secret").write_text(f"whsec_{KEY}")
    with Feed() as torn, Feed() as refused, Feed() as fine:
        torn.raw = b"HTTP/1.1 200 \x1b[31mforged\r\nno header\r\n\r\n"
        refused.status = 503
        fine.titles.append(("Harbour &lt;b&gt;opens&lt;/b&gt; a depot", 1_790_000_000))
        path, query = CANARIES["source path"], CANARIES["source query"]
        channel = hooks.channel("desk", f"/{CANARIES['webhook address']}")
        settings = (
            ACME
            + re.sub(r'secret = ".*"', 'secret_file = "desk.secret"', channel)
            + torn.source("torn", f"/{path}/feed.xml?apikey={query}")
            + refused.source("refused", f"/{path}/feed.xml?access_token={query}")
            + fine.source("fine")
            + '[[routes]]\ntypes = ["*"]\nchannels = ["desk"]\n'
            + '[log]\nformat = "json"\nlevel = "debug"\n'
            + f'[web]\ntoken_file = "token"\nmetrics_listen = "127.0.0.2:{free_port()}"\n'
        )
        running = Daemon(folder, settings, headers={"authorization": f"Bearer {CANARIES['api token']}"})
        with running:
            yield running


def test_every_line_of_the_log_is_one_record(daemon: Daemon, hooks: Receiver) -> None:
    for number, text in enumerate(HOSTILE):
        hostile = {"title": text, "publisher": text, "author": text, "id": text, "language": text, "url": text}
        daemon.push(hostile | {"text": text, "source": text})
        bad = {"title": "x", "published": text, "class": "news"}
        status, _ = daemon.post("documents", b"\n".join((json.dumps(bad).encode(), text.encode())))
        assert status == 422, number
        daemon.post("silences", {"keys": [text], "until": text})
        daemon.post("documents", b"{}", headers={"authorization": text.encode("unicode_escape").decode()[:2_000]})
        request(f"{daemon.url}/{text.encode().hex()[:2_000]}%0a%1b", headers={"user-agent": "x\x1b"})
    daemon.ring()
    wait_for(lambda: hooks.hooks, "alert")
    wait_for(lambda: len(daemon.logged("source_failed")) >= 4, "failures of both feeds")
    raw = daemon.log_file.read_bytes()
    lines = raw.decode().split("\n")
    assert lines.pop() == ""
    records = [json.loads(line) for line in lines]
    assert all(isinstance(record, dict) and {"event", "level", "timestamp"} <= record.keys() for record in records)
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]", raw)
    assert max(map(len, lines)) < 5_000
    assert "forged" not in {record["event"] for record in records}
    failed = {record["source"] for record in records if record["event"] == "source_failed"}
    assert failed == {"torn", "refused"}, "the feeds did not fail: the test proved less than it says"


SURFACES = (
    "/",
    "/page/assets/page.js",
    "/settings",
    "/sources",
    "/deliveries",
    "/silences",
    "/models",
    "/metrics",
    "/healthz",
    "/readyz",
    "/openapi.json",
    *(
        f"/api/v1/{path}"
        for path in (
            "status",
            "sources",
            "alerts",
            "keys",
            "documents",
            "silences",
            "deliveries",
            "dead-letters",
            "feedback",
            "feedback/report",
            "audit",
            "search?q=acme",
        )
    ),
    "/api/v1/alerts/nope",
    "/api/v1/series",
)


def test_no_secret_shows_anywhere(daemon: Daemon, hooks: Receiver) -> None:
    daemon.ring()
    wait_for(lambda: [hook for hook in hooks.hooks if b"ops.source_stale" in hook.raw][1:], "events of both feeds")
    wait_for(
        lambda: b"torn" in request(f"{daemon.url}/api/v1/sources", headers=daemon.headers)[2], "sources in the page"
    )
    shown = {path: request(daemon.url + path, headers=daemon.headers)[2] for path in SURFACES}
    alert = wait_for(lambda: daemon.get("alerts")["alerts"], "an alert in the page")[0]["alert"]
    shown["alert"] = request(f"{daemon.url}/api/v1/alerts/{alert}", headers=daemon.headers)[2]
    shown["401"] = json.dumps(daemon.post("reload", headers={})).encode()
    good = daemon.config.read_text()
    (daemon.folder / "desk.secret").write_text(f"whsec_{KEY}?!")
    shown["reload with a broken secret"] = json.dumps(refusal := daemon.post("reload")).encode()
    assert refusal[0] == 422
    (daemon.folder / "desk.secret").write_text(f"whsec_{KEY}")
    daemon.config.write_text(good.replace('"torn"', '"torn"\nkinds = 1').replace("interval", "intervall"))
    shown["reload with a broken source"] = json.dumps(daemon.post("reload")).encode()
    daemon.config.write_text(good)
    for command in (("check-config",), ("channels", "test", "desk"), ("deliveries", "list"), ("silences", "list")):
        done = daemon.cli(*command)
        assert done.returncode == 0, done.stderr
        shown[" ".join(command)] = (done.stdout + done.stderr).encode()
    # A feed's path belongs to its settings; check-config is asked for just these.
    shown["check-config"] = shown["check-config"].replace(CANARIES["source path"].encode(), b"")
    bodies = [hook.raw for hook in hooks.hooks]
    assert any(b"torn" in body for body in bodies) and any(b"refused" in body for body in bodies)
    shown["webhooks"] = b"\n".join(bodies)
    shown["log"] = daemon.log_file.read_bytes()
    leaks = [(what, where) for (what, canary), (where, text) in itertools.product(CANARIES.items(), shown.items())
             if canary.encode() in text]  # fmt: skip
    assert leaks == []
    assert all(shown[path] for path in SURFACES), "an empty page hides nothing"


CLOSED = set(
    "news social info warning error critical firing updated resolved alert.firing alert.updated alert.resolved burst negative "
    "neutral positive api accepted duplicate revision stale oversize invalid desk delivered retry failed gone".split()
)


def series(daemon: Daemon) -> set[str]:
    text = request(f"{daemon.url}/metrics")[2].decode()
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")}


def test_whatever_is_asked_is_no_defect_and_breaks_no_later_answer(daemon: Daemon) -> None:
    digits, bearer = "9" * 5_000, daemon.headers
    asked = [
        ("documents", b"[" * 100_000, {}),
        ("documents", b'{"title": ' * 50_000, {}),
        ("documents", b'{"title": "Acme"}', {"content-encoding": "gzip"}),
        ("documents", b'[{"title": "\\ud800 half"}]', {}),
        ("silences", b"\xff", {}),
        ("silences", b"[" * 100_000, {}),
        ("silences", b'{"keys": ["market"], "until": "2h", "author": "\\ud800"}', {}),
        ("silences", b'{"keys": ["market"], "until": 1e300}', {}),
        ("silences", b'{"keys": ["market"], "until": "9999-12-31T23:59:59-14:00"}', {}),
        ("silences", b'{"keys": ["market"], "until": -5}', {}),
        ("alerts/nobody/feedback", b'{"verdict": "false"}', {}),
        ("alerts/nobody/feedback", b'{"verdict": "false", "note": "\\udfff"}', {}),
        ("alerts/%FF%00/feedback", b'{"verdict": "false"}', {}),
    ]
    for path, body, headers in asked:
        status, answer = daemon.post(path, body, headers=bearer | headers)
        assert 400 <= status < 500, (path, body[:60], status, answer)
    for query in ("limit=%C2%B2", f"limit={digits}", "limit=0", "since=1e300", "since=0001-01-01T00:00:00%2B14:00"):
        status, _, answer = request(f"{daemon.url}/api/v1/alerts?{query}", headers=daemon.headers)
        assert status == 400, (query[:40], answer)
    assert daemon.cli("silences", "list").returncode == 0, "one that never ends can't be told"
    assert daemon.get("silences")["silences"] == []


FORM = "application/x-www-form-urlencoded"
UNREADABLE = (
    (FORM, b"token=\xff&verdict=true", 400),
    (FORM, b"&".join(b"token=%d" % number for number in range(1_000)), 400),
    ("multipart/form-data; boundary=x", b"--x\r\nbroken", 415),
    ("multipart/form-data", b"--x\r\nbroken", 415),
    ("text/plain; charset=nosuch", b"token=a", 415),
)


@pytest.mark.parametrize(("kind", "body", "expected"), UNREADABLE, ids=["bytes", "many", "torn", "bare", "other"])
def test_a_form_that_is_none_is_refused_with_what_is_taken(
    daemon: Daemon, kind: str, body: bytes, expected: int
) -> None:
    paths = ("/alerts/nosuch/verdict", "/alerts/nosuch/silence", "/deliveries/x/retry", "/silences/x/end", "/sign-in")
    for path in paths:
        headers = daemon.headers | {"content-type": kind}
        status, told, text = request(daemon.url + path, body, headers=headers)
        problem = json.loads(text)
        assert (status, told["content-type"]) == (expected, "application/problem+json"), (path, text)
        assert (FORM if expected == 415 else "UTF-8") in problem["detail"], path
        status, told, text = request(daemon.url + path, body, headers=headers | {"accept": "text/html"})
        assert (status, told["content-type"][:9]) == (expected, "text/html") and b"<h1>" in text, path


def test_documents_that_are_no_utf8_cost_themselves(daemon: Daemon) -> None:
    for body in (b'{"title": "\xff\xfe"}', b'[{"title": "\xff\xfe"}]'):
        status, told = daemon.post("documents", body)
        assert status == 422 and told["invalid"][0]["line"] == 1, (body, told)
    status, told = daemon.post("documents", b'{"title": "\xff"}\n{"title": "Harbour lock 9 opens to barges"}')
    assert status == 202 and told["accepted"] == 1 and [one["line"] for one in told["invalid"]] == [1], told


def test_a_body_that_unpacks_to_more_than_a_body_may_be_is_refused_and_stays_small(
    daemon: Daemon, counted: Callable[..., None]
) -> None:
    bomb = gzip.compress(b" " * 2**28, 1)
    before = _peak(daemon)
    status, answer = daemon.post("documents", bomb, headers=daemon.headers | {"content-encoding": "gzip"})
    assert (status, answer["title"], answer["detail"]) == (413, "Body too large", "at most 8388608 bytes")
    grown = _peak(daemon) - before
    counted("gzip bomb by POST", bytes_on_the_wire=len(bomb), bytes_it_would_become=2**28, grown_mib=max(1, grown))
    assert grown < 128


def _peak(daemon: Daemon) -> int:
    """MiB that the process has needed so far."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024


def test_ten_thousand_hostile_documents_make_no_new_series(daemon: Daemon) -> None:
    words = "港口 仓库 银行 罚款 Hafen Lager Strafe naufrage amende banque пароход склад".split()

    def hostile(number: int) -> dict:
        text = f"{HOSTILE[number % 3][:60]} {words[number % 12]} {words[number * 7 % 12]} {number}"
        names = {name: f"{name}-{number}-{text}" for name in ("publisher", "source", "author", "key", "label")}
        return names | {
            "id": f"h{number}",
            "title": text if number % 10 else f"Depot {number} opens in the harbour as Acme shares fall",
            "language": f"l{number}",
            "url": f"https://site{number}.example/{number}",
            "engagement": {f"likes-{number}": number},
            "class": ("news", "social", "filing")[number % 3],
        }

    first = iter(range(11_000))
    daemon.push(*(hostile(number) for number in itertools.islice(first, 1_000)))
    wait_for(daemon.idle, "rest")
    before = series(daemon)
    accepted = 0
    while batch := [hostile(number) for number in itertools.islice(first, 1_000)]:
        accepted += daemon.push(*batch)["accepted"]
    wait_for(daemon.idle, "rest", 90.0)
    after = series(daemon)
    print(f"{accepted} hostile documents; {len(before)} series before, {len(after)} after")
    assert accepted == 10_000
    # A watched key or topic may be met for the first time; nothing else may be new, and nothing of a text.
    watched = daemon.get("keys")["keys"]
    closed = {entry["key"] for entry in watched} | {entry["topic"] for entry in watched} | CLOSED
    strange = {name for name in after - before if not set(re.findall(r'="((?:[^"\\]|\\.)*)"', name)) <= closed}
    assert strange == set()
    assert len(after) - len(before) <= 18 * len(watched)


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses on which a process or its children listen (TCP), or that they have bound (UDP)."""
    family, inodes = [pid], set()
    for one in family:
        for task in Path(f"/proc/{one}/task").iterdir():
            family += [int(child) for child in (task / "children").read_text().split()]
        for fd in os.listdir(f"/proc/{one}/fd"):
            target = os.readlink(f"/proc/{one}/fd/{fd}")
            inodes.update(re.findall(r"socket:\[(\d+)\]", target))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and (fields[3] == "0A" or table.startswith("udp")):
                host, port = fields[1].split(":")
                packed = b"".join(struct.pack("=I", int(host[i : i + 8], 16)) for i in range(0, len(host), 8))
                name = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
                found.add((name, int(port, 16)))
    assert len(family) > 1, "the parsing jail is no child: too little was looked at"
    return found


def test_it_listens_where_it_was_told_and_nowhere_else(daemon: Daemon) -> None:
    assert daemon.process is not None
    metrics = int(re.findall(r"127\.0\.0\.2:(\d+)", daemon.config.read_text())[0])
    assert listening(daemon.process.pid) == {("127.0.0.1", daemon.port), ("127.0.0.2", metrics)}
    for path, status in (("/metrics", 200), ("/readyz", 200), ("/", 404), ("/api/v1/status", 404)):
        assert request(f"http://127.0.0.2:{metrics}{path}")[0] == status
    done = Daemon(daemon.folder / "open", ACME).cli(
        "check-config", environment={"TAPEWATCH_WEB__LISTEN": "0.0.0.0:8686"}
    )
    assert done.returncode == 2 and "token_file" in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "127.evil.example:80", "localhost.evil.example", "[::2]:1"])
async def test_a_name_that_somebody_else_resolves_here_may_not_write(tmp_path: Path, host: str) -> None:
    async with inside(tmp_path, ACME) as daemon:
        url = f"{daemon.web.address}/api/v1/documents"
        body = b'{"title": "Depot opens"}'
        for header, wanted in ((host, 403), ("localhost:1", 202), ("127.0.0.1", 202), ("[::1]:8686", 202)):
            status, _, answer = await asyncio.to_thread(request, url, body, headers={"host": header})
            assert status == wanted, (header, answer)
        for origin in ("http://[::1", "null", "http://127.0.0.1.evil.example", f"ftp{daemon.web.address[4:]}"):
            status, _, answer = await asyncio.to_thread(request, url, body, headers={"origin": origin})
            assert status == 403, (origin, answer)
        status, _, answer = await asyncio.to_thread(request, url, body, headers={"origin": daemon.web.address})
        assert status == 202, answer
