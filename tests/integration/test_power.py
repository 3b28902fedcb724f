"""``power`` on a store that a daemon filled, and over the API of a daemon at work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from models.classifier import FakeClassifier
from monitor import power
from monitor.app import Daemon
from monitor.cli import main
from monitor.settings import load
from monitor.web import Web
from tests.daemon_bench import Daemon as Process

DAY = 86_400.0
SETTINGS = """
[[watchlists]]
name = "mine"
entities = [{ name = "Acme Corp", aliases = ["Acme"] }, { name = "Borealis Shipping", aliases = ["Borealis"] }]
"""
BAD = ("falls after fraud", "faces a lawsuit over losses", "warns of a crash", "fined for fraud", "fears a default")


def history(folder: Path, days: float, end: float) -> Path:
    """Two stories a day about Acme, one in five bad; of Borealis nobody writes."""
    rng, path = random.Random(4), folder / "history.jsonl"
    with path.open("w") as target:
        for n in range(int(2 * days)):
            title = f"Acme {rng.choice(BAD)} in district {n}" if n % 5 == 0 else f"Acme opens depot {n} in district {n}"
            when = datetime.fromtimestamp(end - days * DAY + n * DAY / 2 + rng.random() * 36_000, UTC)
            line = {"id": f"d{n}", "title": title, "published": when.isoformat(), "publisher": f"Paper {n % 4}"}
            target.write(json.dumps(line) + "\n")
    return path


async def filled(folder: Path, days: float) -> Path:
    """The folder of a stopped daemon that learned a history."""
    (folder / "tapewatch.toml").write_text(SETTINGS + '[web]\nlisten = "127.0.0.1:0"\n')
    daemon = Daemon(load(folder / "tapewatch.toml", {}), classifier=FakeClassifier(five_heads=True))
    await daemon.open()
    await daemon.intake.backfill([history(folder, days, time.time() - 60)])
    await daemon.stop()
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty days of history."""
    return asyncio.run(filled(tmp_path_factory.mktemp("power"), 80))


def asked(folder: Path, *options: str, code: int = 0) -> tuple[str, str]:
    done = Process(folder, SETTINGS).cli("power", *options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_it_says_what_rings_and_how_soon(store: Path) -> None:
    drawn, page = store / "power.svg", store / "power.html"
    told, _ = asked(store, "--key", "entity:*", "--json", "--out", str(drawn))
    found = json.loads(told)
    acme, borealis = found["answers"]
    assert (acme["key"], acme["class"], acme["documents"]) == ("entity:acme-corp", "news", 159), (
        "the last one's block is open"
    )
    assert acme["drawn_from"] == "own" and acme["stories_known"] >= 20 and acme["why"] is None
    assert (borealis["documents"], borealis["drawn_from"]) == (0, "alike")
    assert "no item of its own" in borealis["notes"][0]
    for within, seconds in zip(acme["within"], (3_600, 21_600, 86_400), strict=True):
        half, most = within["half"], within["most"]
        assert within["seconds"] == seconds and 1 < half["stories"] <= most["stories"] < 30
        assert half["low"] < half["probability"] <= half["high"] and most["high"] > 0.9
        assert 0 < most["median_delay_seconds"] <= seconds
        sizes = [probability for _, probability in within["curve"]]
        assert sizes == sorted(sizes)
    assert acme["within"][0]["most"]["stories"] <= acme["within"][2]["most"]["stories"], "slower is harder"
    again, _ = asked(store, "--key", "entity:acme-corp", "--within", "1d", "--out", str(page))
    size = acme["within"][2]["half"]["stories"]
    smallest = re.search(r"within 1 d: (\d+) bad stories: .*median delay", again)
    assert smallest is not None and abs(int(smallest[1]) - size) <= 1, "asked by itself, other stories are drawn"
    assert "159 items" in again
    picture = ET.parse(drawn).getroot()  # noqa: S314 (written here)
    assert "Acme Corp, news" in "".join(picture.itertext()) and "script" not in drawn.read_text()
    whole = page.read_text()
    assert "Acme Corp" in whole and whole.count("<svg") == 2
    assert not any(word in whole for word in ("<script", "src=", "href=", "url("))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: exit code, standard output, standard error."""

    def run(folder: Path, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tapewatch", "power", "-c", str(folder / "tapewatch.toml"), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_of_files_it_says_what_it_says_of_a_store_that_learned_them(
    store: Path, tmp_path: Path, here: Callable
) -> None:
    """Judged by the shipped model here and there by a fake: what is counted is not the same, what it rests on is."""
    path = store / "history.jsonl"
    lines = path.read_text().splitlines()
    (tmp_path / "history.jsonl").write_text("\n".join([*lines, "{no JSON"]) + "\n")
    told, why = asked(
        tmp_path, str(tmp_path / "history.jsonl"), "--key", "entity:acme-corp", "--within", "1d", "--json"
    )
    assert "history.jsonl, line 161" in why
    found = json.loads(told)
    (answer,) = found["answers"]
    assert found["history"] == "history.jsonl" and answer["documents"] == 159
    first = json.loads(lines[0])["published"]
    assert answer["since"][:16] == first[:16], "exposure begins with the first document"
    assert 1 < answer["within"][0]["half"]["stories"] <= answer["within"][0]["most"]["stories"] < 30
    code, _, why = here(store, "nowhere.jsonl")
    assert code == 1 and "nowhere.jsonl" in why


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--within", "1 fortnight"), "--within '1 fortnight'"),
        (("--within", "1d", "--within", "24h"), "each of them once"),
        (("--within", "8d"), "at most 7d"),
        (("--trials", "5"), "--trials 5: fewer than 30 say nothing"),
        (("--class", "filing"), "--class 'filing': is neither news nor social"),
        (("--key", "entity:nobody"), "--key entity:nobody: is no watched key"),
        (("--out", "power.txt"), "--out power.txt: ends in neither .html nor .svg"),
        (("--key", "entity:*", "--within", "1h", "--out", "nowhere/p.svg"), "--out nowhere/p.svg: "),
    ],
)
def test_what_can_not_be_asked_says_why(store: Path, here: Callable, options: tuple[str, ...], says: str) -> None:
    code, _, why = here(store, *options)
    assert code == 2 and says in why


def test_a_history_that_is_too_short_is_told_and_gives_no_figure(tmp_path: Path, here: Callable) -> None:
    (tmp_path / "tapewatch.toml").write_text(SETTINGS)
    code, _, why = here(tmp_path)
    assert code == 2 and "there is no read model yet; `tapewatch backfill`" in why
    asyncio.run(filled(tmp_path, 6))
    code, told, why = here(tmp_path, "--key", "entity:acme-corp")
    assert code == 1 and "days of history, where 8.0 are needed" in told and "%" not in told
    assert "no figure for any key: fill history with `tapewatch backfill`" in why
    code, _, why = here(tmp_path, "--out", str(tmp_path / "p.svg"))
    assert code == 2 and "there is no figure to draw" in why


# -- over the API -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def served(store: Path) -> AsyncIterator[tuple[Daemon, Web]]:
    (store / "tapewatch.toml").write_text(SETTINGS + '[web]\nlisten = "127.0.0.1:0"\n')
    daemon = Daemon(load(store / "tapewatch.toml", {}), classifier=FakeClassifier(five_heads=True))
    await daemon.start()
    web = Web(daemon)
    await web.start()
    yield daemon, web
    await web.stop()
    await daemon.stop()


async def got(web: Web, query: str = "?key=entity:acme-corp") -> tuple[int, dict[str, Any], str | None]:
    async with aiohttp.ClientSession() as session, session.get(f"{web.address}/api/v1/power{query}") as answer:
        return answer.status, await answer.json(content_type=None), answer.headers.get("retry-after")


async def settled(web: Web, query: str = "?key=entity:acme-corp") -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(120):
        while True:
            status, body, again = await got(web, query)
            if status != 202:
                return status, body
            assert body["state"] == "computing" and again is not None and int(again) > 0
            await asyncio.sleep(0.1)


def children() -> list[Path]:
    """Processes of this one that compute."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = process.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1]
            if parent == str(os.getpid()) and b"pipelines.power" in process.joinpath("cmdline").read_bytes():
                found.append(process)
    return found


async def test_the_api_computes_behind_the_daemons_work(served: tuple[Daemon, Web], store: Path) -> None:
    daemon, web = served
    assert (await got(web, ""))[0] == 400
    assert (await got(web, "?key=entity:nobody"))[0] == 404
    status, _, again = await got(web)
    assert status == 202 and again is not None
    while not (working := children()):
        await asyncio.sleep(0.01)
    status, body = await settled(web)
    assert status == 200 and (body["key"], body["name"]) == ("entity:acme-corp", "Acme Corp")
    assert body["configuration"] == daemon.settings.sha256()[:12]
    assert abs(datetime.fromisoformat(body["computed"]).timestamp() - time.time()) < 60
    assert len(working) == 1 and not children(), "it ends with its work"
    told, _ = asked(store, "--key", "entity:acme-corp", "--json")
    assert json.loads(told)["answers"] == body["answers"], "the command says the same"
    assert (await got(web))[1] == body, "it is kept"
    tighter = daemon.settings.detection.model_copy(update={"false_alarms_per_key_month": 0.001})
    daemon.settings = daemon.settings.model_copy(update={"detection": tighter})
    _, other = await settled(web)
    assert other["configuration"] != body["configuration"]
    day, before = other["answers"][0]["within"][2], body["answers"][0]["within"][2]
    assert day["most"]["stories"] > before["most"]["stories"], "fewer false alarms take a larger crisis"
    laxer = daemon.settings.detection.model_copy(update={"false_alarms_per_key_month": 0.5})
    daemon.settings = daemon.settings.model_copy(update={"detection": laxer})
    await settled(web, "?key=market")
    assert set(web._api.desk._kept) == {"market"}, "what was found under other settings is kept for ever"


async def test_a_computation_that_fails_says_why_and_ends_with_the_daemon(
    served: tuple[Daemon, Web], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, web = served
    monkeypatch.setattr(power, "DEADLINE", 0.0)
    status, body = await settled(web)
    assert status == 503 and "it took more than 0 s" in body["detail"]
    monkeypatch.setattr(power, "TRY_AGAIN", 0.0)
    monkeypatch.setattr(power, "DEADLINE", 900.0)
    assert (await got(web))[0] == 202, "it is tried again"
    while not children():
        await asyncio.sleep(0.01)
    await web.stop()
    assert not children()
