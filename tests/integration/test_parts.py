"""Some of the parts in a process: it does what they do, says what it does not, and the rest goes on elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.classifier import FakeClassifier
from monitor.assembly import alert_context
from monitor.settings import load
from tests.daemon_bench import ACME, Daemon, Receiver, request, wait_for
from tests.inside_bench import Inside, inside


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def asked(daemon: Inside, path: str, body: Any = None) -> tuple[int, Any]:
    status, headers, answer = await asyncio.to_thread(request, daemon.web.address + path, body)
    return status, json.loads(answer) if "json" in headers["content-type"] else answer.decode()


async def test_each_part_does_its_own_and_points_to_the_others(tmp_path: Path, hooks: Receiver) -> None:
    """One after the other on one store: what one process leaves in the log is the next one's work."""
    text = ACME + hooks.channel("desk", "/desk") + '[detection]\nmin_open = "1s"\n[alerts]\nexplain_within = "5s"\n'
    async with inside(tmp_path, text, only=["ingest"]) as daemon:
        await daemon.ring()
        status = (await asked(daemon, "/api/v1/status"))[1]
        assert (status["parts"], status["lag"], status["ready"]) == (["ingest"], {}, True)
        assert (await asked(daemon, "/readyz"))[0] == (await asked(daemon, "/metrics"))[0] == 200
        for path in ("/", "/api/v1/alerts", "/api/v1/deliveries", "/api/v1/silences", "/api/v1/stream"):
            code, problem = await asked(daemon, path)
            assert (code, problem["title"]) == (503, "Runs elsewhere"), path
            assert "this process runs ingest; ask the one that runs view" in problem["detail"]
        await daemon.pass_time(5)
        assert hooks.hooks == []
    clock = daemon.clock
    async with inside(tmp_path, text, clock=clock, only=["score", "aggregate"]) as daemon:
        status = (await asked(daemon, "/api/v1/status"))[1]
        assert set(status["lag"]) == {"score", "aggregate"}
        code, problem = await asked(daemon, "/api/v1/documents", b'{"title": "Acme opens a depot"}')
        assert (code, problem["title"]) == (503, "Runs elsewhere") and "ask the one that runs ingest" in problem[
            "detail"
        ]
        await daemon.until(lambda: not any(n for _, n in daemon.daemon.engine.lag().values()), "catching up")
        assert hooks.hooks == []
    async with inside(tmp_path, text, clock=clock, only=["notify"]) as daemon:
        await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert")
        told = hooks.at("/desk", "alert.firing")[0].body["data"]["evidence"]["stories"]
        phrases = {story["headline"][start:end].lower() for story in told for start, end, _ in story["why"]}
        assert phrases and all(any(word in phrase for word in FakeClassifier.BAD) for phrase in phrases)
        assert (await asked(daemon, "/api/v1/channels/desk/test", {}))[1]["ok"]
    async with inside(tmp_path, text, clock=clock, only=["view"]) as daemon:
        fired = {hook.body["data"]["subject"]["key"] for hook in hooks.at("/desk", "alert.firing")}
        await daemon.until(daemon.daemon.read_model.alerts, "alerts in the view")
        shown = (await asked(daemon, "/api/v1/alerts?status=firing"))[1]["alerts"]
        assert {one["key"] for one in shown} == fired
        delivered = (await asked(daemon, "/api/v1/deliveries?state=delivered"))[1]["deliveries"]
        assert {one["event"] for one in delivered} == {hook.id for hook in hooks.at("/desk", "alert")}
        assert (await asked(daemon, "/"))[0] == 200
        name = (await asked(daemon, "/api/v1/silences", {"keys": ["market"], "until": "2099-01-01T00:00:00Z"}))[1]["id"]
        await daemon.until(daemon.daemon.read_model.silences, "silence")
        assert [one["id"] for one in (await asked(daemon, "/api/v1/silences"))[1]["silences"]] == [name]


async def test_coverage_is_told_where_no_source_runs(tmp_path: Path, hooks: Receiver) -> None:
    feed = f'[[sources]]\nkind = "feed"\nname = "wire"\nurl = "http://127.0.0.1:{hooks.port}/none"\ninterval = "60s"\n'
    async with inside(tmp_path, ACME + feed, only=["ingest"]) as daemon:
        await daemon.until(lambda: daemon.daemon.sources[0].status.streak, "failed poll")
        await daemon.pass_time(30)
    async with inside(tmp_path, ACME + feed, clock=daemon.clock, only=["view"]) as daemon:
        down = {"expected": 1, "healthy": 0, "unread": 0}
        await daemon.until(lambda: daemon.daemon.status()["coverage"] == down, "what is told of it")


@pytest.mark.parametrize(
    ("listen", "page"),
    [
        ("127.0.0.1:8686", "http://127.0.0.1:8686"),
        ("[::1]:8686", "http://[::1]:8686"),
        ("tape.example:80", "http://tape.example:80"),
        ("0.0.0.0:8686", ""),
        ("[::]:8686", ""),
        ("127.0.0.1:0", ""),
    ],
)
def test_alerts_link_to_where_the_page_listens_if_that_is_one_place(tmp_path: Path, listen: str, page: str) -> None:
    config = tmp_path / "tapewatch.toml"
    config.write_text(f'[web]\nlisten = "{listen}"\ntoken = "a token of many letters"\n')
    settings = load(config, {})
    assert alert_context(settings, page=True).external_url == page
    assert alert_context(settings, page=False).external_url == "", "it runs in another process"
    told = load(config, {"TAPEWATCH_WEB__EXTERNAL_URL": "https://tapewatch.example"})
    assert {alert_context(told, page=page).external_url for page in (True, False)} == {"https://tapewatch.example"}


def test_alerts_link_to_a_page_that_opens(tmp_path: Path, hooks: Receiver) -> None:
    with Daemon(tmp_path / "d", ACME + hooks.channel("desk", "/desk")) as daemon:
        daemon.ring()
        alert = wait_for(lambda: hooks.at("/desk", "alert.firing"), "alert")[0].body["data"]
        link = alert["links"]["alert"]
        assert link == f"{daemon.url}/alerts/{alert['episode']['id']}"
        wait_for(lambda: daemon.get("alerts")["alerts"], "alert in the view")
        assert request(link)[0] == 200 and alert["links"]["grafana"] is None


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ("score", ["embedded engine is one process", "ingest, aggregate, notify, view", 'kind = "kafka"']),
        ("scor,ingest", ["'scor' is no part", "did you mean 'score'", "ingest, score, aggregate, notify, view"]),
        ("", ["'' is no part"]),
    ],
)
def test_parts_that_can_not_be_chosen_are_refused(tmp_path: Path, only: str, says: list[str]) -> None:
    done = Daemon(tmp_path, ACME).cli("run", "--only", only)
    assert done.returncode == 2, done.stderr
    for part in says:
        assert part in done.stderr, done.stderr
    assert not (tmp_path / "tapewatch.db").exists()


def test_brokers_that_do_not_answer_are_waited_for(tmp_path: Path) -> None:
    """No crash loop: the process says what it waits for, and can be stopped."""
    daemon = Daemon(tmp_path, ACME + '[engine]\nkind = "kafka"\n[engine.kafka]\nbrokers = ["127.0.0.1:9"]\n')
    daemon.start(ready=False)
    try:
        wait_for(lambda: daemon.logged("kafka_unreachable"), "line about brokers")
        status, _, body = request(f"{daemon.url}/readyz")
        assert status == 503 and b"127.0.0.1:9: no connection" in body
        code, problem = daemon.post("documents", b'{"title": "Acme opens a depot"}')
        assert (code, problem["title"]) == (503, "Starting"), problem
        assert request(f"{daemon.url}/healthz")[0] == 200
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.__exit__()
