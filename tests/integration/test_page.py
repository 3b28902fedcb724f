"""The page in a real Chromium: live, honest about a lost connection, deaf to hostile headlines."""

import asyncio
import io
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from models.classifier import FakeClassifier
from monitor.app import Daemon
from monitor.settings import load
from monitor.web import Web

if TYPE_CHECKING:
    from playwright.async_api import Route

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("chromium is missing: apt-get install chromium", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "Acme falls <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \u202eevil"


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Daemon, Web]]:
    (tmp_path / "tapewatch.toml").write_text(
        '[detection]\nmin_open = "2s"\n[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme Corp", aliases = ["Acme"] }]\n'
        '[web]\nlisten = "127.0.0.1:0"\n'
    )
    model = FakeClassifier(five_heads=True)
    daemon = Daemon(load(tmp_path / "tapewatch.toml", {}), classifier=model, watermark_interval=0.1)
    await daemon.open()
    now = time.time()
    history = tmp_path / "history.jsonl"
    history.write_text(
        "".join(
            json.dumps({"title": f"Acme opens depot number {i}", "published": now - 20 * 86_400 + i * 6_000}) + "\n"
            for i in range(280)
        )
    )
    await daemon.intake.backfill([history])
    await daemon.begin()
    web = Web(daemon)
    await web.start()
    yield daemon, web
    await web.stop()
    await daemon.stop()


async def post(address: str, *documents: dict) -> None:
    body = "\n".join(json.dumps(document) for document in documents)
    async with aiohttp.ClientSession() as session, session.post(f"{address}/api/v1/documents", data=body) as answer:
        assert answer.status == 202, await answer.text()


def bad_news() -> list[dict]:
    words = (
        "bridge falls",
        "ledger shows fraud",
        "harbour probe widens",
        "turbine crash",
        "orders slump",
        "lawyer sues",
    )
    stories = [
        {"title": f"Acme {word} after {n} weeks", "url": f"https://x.example/{n}"} for n, word in enumerate(words)
    ]
    return [*stories, {"title": HOSTILE, "url": "javascript:document.title='owned'"}]


async def test_page_shows_what_rings_and_why(served: tuple[Daemon, Web], tmp_path: Path) -> None:
    from playwright.async_api import async_playwright

    _, web = served
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(color_scheme="dark")
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: wrong.append(request.url) if not request.url.startswith((web.address, "data:")) else None,
        )
        await page.goto(web.address)
        await page.wait_for_selector("#state.live")
        assert "Nothing." in await page.inner_text("#firing")
        assert "fake@000000000000 since " in await page.inner_text("#facts:has(time)")

        await post(web.address, *bad_news())
        await page.wait_for_selector("article.alert h3:has-text('Acme Corp')", timeout=10_000)
        card = await page.inner_text("article.alert:has(h3:has-text('Acme Corp'))")
        for part in ("observed", "expected", "baseline", "20 days", "score"):
            assert part in card
        meant = await page.locator("article.alert abbr").evaluate_all(
            "all => all.map(one => [one.textContent, one.title])"
        )
        told = {name.split()[0]: meaning for name, meaning in meant}
        assert "reprint" in told["observed"] and "history" in told["expected"] and "chance" in told["score"]
        await page.wait_for_selector("#tape li .mood.negative")
        assert "Acme bridge falls" in await page.inner_text("#tape")
        history = [await row.locator(".tag:text-is('history')").count() for row in await page.locator("#tape li").all()]
        assert len(history) == 60 and history == sorted(history) and 0 < sum(history) < 60, "history is no news"
        for place in ("#tape li", "article.alert .stories li"):
            probed = page.locator(f"{place}:has-text('Acme harbour probe')").first
            assert await probed.locator(".tag.event").all_text_contents() == ["investigation"]
        probed = page.locator("article.alert .stories li:has-text('Acme harbour probe')").first
        assert await probed.locator("a mark.strong").all_text_contents() == ["probe"]
        assert await probed.locator("a").inner_text() == "Acme harbour probe widens after 2 weeks"
        assert "because of “probe” (9" in await probed.inner_text(), "what is marked is told in words"
        plain, marked = [
            await page.evaluate(
                f"getComputedStyle(document.querySelector('article.alert .stories {one}')).backgroundColor"
            )
            for one in ("a", "mark.strong")
        ]
        assert plain != marked
        assert await page.locator("#tape a[href^='https://x.example/']").count() >= 1
        assert await page.locator(".key svg").count() >= 1

        # The hostile headline is text, and nothing but text.
        assert "<script>" in await page.inner_text("#tape")
        assert "\u202e" not in await page.inner_text("body")
        assert await page.locator("a[href^='javascript:' i]").count() == 0
        assert await page.title() != "owned"

        back = {}
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            back[scheme] = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back["dark"] != back["light"]

        await page.click("article.alert h3 a")
        await page.wait_for_selector("#one article.alert")
        whole = await page.inner_text("#one")
        assert "firing" in whole and "a reprint counts nothing" in whole and "once in 19 months" in whole
        await page.goto(web.address)
        await page.wait_for_selector("#state.live")
        assert wrong == []
        await web.stop()
        await page.wait_for_selector("#state.lost", timeout=10_000)
        await browser.close()


LONG = "Amalgamated Consolidated Holdings of the Northern Territories and Subsidiaries " * 2


async def test_page_fits_a_telephone_and_dates_its_times(served: tuple[Daemon, Web]) -> None:
    from playwright.async_api import async_playwright

    _, web = served
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 390, "height": 800}, timezone_id="Asia/Tokyo")

        async def many(route: "Route") -> None:
            """The daemon's own alert, six times, as if six keys rang; its name is made long."""
            found = await (await route.fetch()).json()
            for one in found["alerts"]:
                one["body"]["data"]["summary"] = LONG
            found["alerts"] = [{**found["alerts"][0], "alert": f"a{n}"} for n in range(6)] if found["alerts"] else []
            await route.fulfill(json=found)

        async def long_keys(route: "Route") -> None:
            found = await (await route.fetch()).json()
            for one in found["keys"]:
                one.update(name=LONG.replace(" ", ""), score=1234567.8, threshold=5.2, baseline_span=1_728_000.0)
            await route.fulfill(json=found)

        await page.goto(web.address)
        await page.wait_for_selector("#overview.calm")
        await page.wait_for_selector("#keys .axis")
        assert not await page.is_visible("#count")
        box = await page.locator("section:has(#firing)").bounding_box()
        assert box is not None and box["height"] < 200, box
        names = await page.inner_text("#keys")
        assert "The market" in names and "Watch-list mine" in names and "list:mine" not in names
        old = page.locator("#tape time").last
        text, title, exact = (
            await old.inner_text(),
            await old.get_attribute("title"),
            await old.get_attribute("datetime"),
        )
        local = datetime.fromisoformat(str(exact)).astimezone(ZoneInfo("Asia/Tokyo"))
        assert text == f"{local:%Y-%m-%d %H:%M}" and str(title).endswith(" UTC")
        begin, end = [
            datetime.fromisoformat(str(await one.get_attribute("datetime")))
            for one in (await page.locator("#keys .axis").first.locator("time").all())
        ]
        assert (end - begin).total_seconds() == 48 * 3600

        await post(web.address, *bad_news())
        await page.wait_for_selector("article.alert", timeout=10_000)
        await page.route("**/api/v1/alerts?status=firing", many)
        await page.route("**/api/v1/keys", long_keys)
        await page.reload()
        await page.wait_for_selector("#firing article >> nth=5")
        await page.wait_for_selector("#keys .name:has-text('1234567.8')")
        assert await page.inner_text("#count") == "6"
        assert await page.evaluate("byId('firing').scrollHeight <= byId('firing').clientHeight")
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            assert await page.evaluate("document.documentElement.scrollWidth") == 390, scheme

        for name in ("nosuch", "%zz", "%E0%A4%A", "100%"):
            await page.goto(f"{web.address}/alerts/{name}")
            await page.wait_for_selector("#state.lost")
            assert await page.inner_text("#state") == "no such alert", name
            assert await page.locator("#one a[href='/']").count() == 1
        await browser.close()


async def test_api_reads_writes_and_refuses(served: tuple[Daemon, Web]) -> None:
    _, web = served
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{web.address}/api/v1/documents", data=b'{"nope": 1}') as answer:
            assert answer.status == 422 and answer.content_type == "application/problem+json"
            assert (await answer.json())["invalid"][0]["line"] == 1
        before = REGISTRY.get_sample_value("tapewatch_documents_total", {"source": "api", "outcome": "invalid"}) or 0.0
        mixed = [{"title": "Acme opens a quay"}, 5, {"title": ["Acme"]}, {"title": "Acme opens a lock"}]
        for body, bad in ((json.dumps(mixed), [2, 3]), ("\n".join(json.dumps(one) + " " for one in mixed[2:]), [1])):
            async with session.post(f"{web.address}/api/v1/documents", data=body) as answer:
                told = await answer.json()
            assert answer.status == 202 and [one["line"] for one in told["invalid"]] == bad, told
            assert told["accepted"] + told["duplicate"] + told["revision"] == (2 if len(bad) == 2 else 1), told
        assert (
            REGISTRY.get_sample_value("tapewatch_documents_total", {"source": "api", "outcome": "invalid"})
            == before + 3
        )
        headers = {"Origin": "https://evil.example"}
        async with session.post(f"{web.address}/api/v1/documents", data=b"{}", headers=headers) as answer:
            assert answer.status == 403
        async with session.post(
            f"{web.address}/api/v1/documents", data=b"{}", headers={"Host": "evil.example"}
        ) as answer:
            assert answer.status == 403
        async with session.post(f"{web.address}/api/v1/documents", data=io.BytesIO(b"x" * (8 * 2**20 + 1))) as answer:
            assert answer.status == 413
        for path in ("status", "sources", "alerts", "keys", "documents", "silences", "deliveries", "dead-letters"):
            async with session.get(f"{web.address}/api/v1/{path}") as answer:
                assert answer.status == 200, path
        deadline = time.monotonic() + 10
        while True:
            # The read model follows the log at a little distance.
            async with session.get(f"{web.address}/api/v1/series?key=entity:acme-corp") as answer:
                count = len((await answer.json())["series"])
            if count > 100:
                break
            assert time.monotonic() < deadline, count
            await asyncio.sleep(0.05)
        for path, text in (("/healthz", "ok"), ("/readyz", "ok"), ("/metrics", "tapewatch_documents_total")):
            async with session.get(web.address + path) as answer:
                assert answer.status == 200 and text in await answer.text()
        async with session.get(f"{web.address}/api/v1/alerts/nope") as answer:
            assert answer.status == 404
        silence = {"keys": ["entity:acme-corp"], "until": "2099-01-01T00:00:00Z", "comment": "known"}
        async with session.post(f"{web.address}/api/v1/silences", json=silence) as answer:
            assert answer.status == 201
        await asyncio.sleep(0.2)
        async with session.get(f"{web.address}/api/v1/silences") as answer:
            assert (await answer.json())["silences"][0]["comment"] == "known"
