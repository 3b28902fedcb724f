"""The page in a real Chromium: live, honest about a lost connection, deaf to hostile headlines, open to everybody."""

import asyncio
import csv
import io
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from yarl import URL

from models.classifier import FakeClassifier
from monitor.app import Daemon
from monitor.settings import load
from monitor.web import Web

if TYPE_CHECKING:
    from playwright.async_api import Page

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
    long = {"title": "Acme loses \u200bagain " + "and again " * 1_000}
    return [*stories, long, {"title": HOSTILE, "url": "javascript:document.title='owned'"}]


VIEWS = (
    "/",
    "/alerts/{alert}",
    "/keys/entity:acme-corp?range=30d",
    "/alerts",
    "/search?text=acme",
    "/sources",
    "/deliveries",
    "/dead-letters",
    "/silences",
    "/models",
    "/settings",
    "/audit",
    "/nosuch",
)


@asynccontextmanager
async def browsed(**options: Any) -> AsyncIterator[tuple["Page", list[str]]]:
    """A page in a browser of its own, and everything that went wrong in it."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(**options)
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.set_default_timeout(10_000)
        yield page, wrong
        await browser.close()


async def rung(address: str) -> str:
    """The id of the company's alert, once it rings."""
    deadline = time.monotonic() + 10
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{address}/api/v1/alerts?status=firing&merged=true&key=entity:acme-corp") as answer:
                if found := (await answer.json())["alerts"]:
                    return str(found[0].get("merged_into") or found[0]["alert"])
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


CARD = "article.alert:has(h3:has-text('Acme Corp'))"


async def test_a_crisis_appears_while_the_page_is_open(served: tuple[Daemon, Web]) -> None:
    _, web = served
    async with browsed(color_scheme="dark", timezone_id="Asia/Tokyo") as (page, wrong):
        page.on("request", lambda request: None if request.url.startswith(web.address) else wrong.append(request.url))
        received: list[int] = []
        page.on("response", lambda response: received.append(int(response.headers.get("content-length", 0))))
        answer = await page.goto(web.address)
        assert answer is not None and "default-src 'self'" in answer.headers["content-security-policy"]
        await page.wait_for_selector("#link.live")
        assert sum(received) < 100_000, received
        assert "Nothing rings" in await page.inner_text("#firing")
        await page.evaluate("window.stays = true")

        await post(web.address, *bad_news())
        await page.wait_for_selector(CARD)
        assert await page.evaluate("window.stays"), "it came without a reload"
        assert (await page.title()).startswith("(")
        card = await page.inner_text(CARD)
        for part in ("expected", "rings at", "by chance once in", "% negative"):
            assert part in card, part
        await page.wait_for_selector("#tape-rows li:has-text('Acme bridge falls') .mood.negative")
        rows = page.locator("#tape-rows li")
        history = [await row.locator(".tag:text-is('history')").count() for row in await rows.all()]
        assert history == sorted(history) and 0 < sum(history) < len(history), "history is no news"
        await page.wait_for_selector("#watched .card.critical svg .mark, #watched .card svg .mark")
        # One alert rings, and the other keys that burn say whose it is.
        await page.wait_for_selector("#watched .card:has-text('The market'):has-text('part of Acme Corp')")
        assert await page.locator("#watched .card:has(a:text-is('Acme Corp')) :text('part of')").count() == 0

        # The hostile headline is text, and nothing but text.
        assert "<script>" in await page.inner_text("#tape-rows")
        assert "\u202e" not in await page.content() and "\u200b" not in await page.content()
        assert await page.locator("a[href^='javascript:' i]").count() == 0
        assert len(max((await page.inner_text("#tape-rows")).splitlines(), key=len)) < 400, "10 kB is no headline"
        assert "owned" not in await page.title()

        # A tape that stands still keeps standing while news come, and goes on.
        await page.click("#pause")
        await post(web.address, {"title": "Acme opens a lock at last"})
        await page.wait_for_selector("#waiting:has-text('1')")
        assert "Acme opens a lock" not in await page.inner_text("#tape-rows")
        await page.click("#pause")
        await page.wait_for_selector("#tape-rows li:has-text('Acme opens a lock')")

        await page.click(f"{CARD} h3 a")
        await page.wait_for_selector(".timeline li")
        probed = page.locator(".timeline li:has-text('Acme harbour probe')")
        assert await probed.locator("mark.strong").all_text_contents() == ["probe"]
        assert "because of “probe” (9" in await probed.inner_text(), "what is marked is told in words"
        assert await probed.locator(".tag.event").all_text_contents() == ["investigation"]
        first = page.locator(".timeline time").first
        exact = datetime.fromisoformat(str(await first.get_attribute("datetime"))).astimezone(ZoneInfo("Asia/Tokyo"))
        assert await first.inner_text() in (f"{exact:%H:%M:%S}", f"{exact:%Y-%m-%d %H:%M}")
        assert str(await first.get_attribute("title")).endswith(" UTC")
        for part in ("#h-counted", "#h-cover", "#h-life", "#h-sent", "#h-made"):
            assert await page.locator(part).count() == 1, part
        assert await page.locator("figure svg[role=img][aria-label]").count() == 2
        assert await page.locator("details.behind table tbody tr").count() > 5
        assert wrong == []


async def test_an_alert_is_judged_and_silenced_on_its_page(served: tuple[Daemon, Web]) -> None:
    daemon, web = served
    await post(web.address, *bad_news())
    alert = await rung(web.address)
    async with browsed() as (page, wrong):
        await page.goto(f"{web.address}/alerts/{alert}")
        await page.fill("#verdict [name=note]", "seen by eye")
        await page.click("#verdict button[value=true]")
        await page.wait_for_selector("#verdict .done")
        assert "seen by eye" in await page.inner_text("#verdict")
        assert [one.verdict for one in daemon.read_model.verdicts(alert)] == ["true"]
        await page.select_option("#silence [name=for]", "1d")
        await page.click("#silence button")
        await page.wait_for_selector("#silence .done")
        assert "Silenced until" in await page.inner_text("#silence")
        made = daemon.read_model.silences()[-1]
        assert made["match"]["keys"] == ["entity:acme-corp"] and 86_000 < made["expires"] - time.time() < 86_401
        await page.goto(f"{web.address}/silences")
        await page.click("tr:has-text('entity:acme-corp') button")
        await page.wait_for_selector(".done")
        assert "over" in await page.inner_text("tr:has-text('entity:acme-corp')")
        await page.goto(f"{web.address}/alerts/{alert}")
        assert "Silenced until" not in await page.inner_text("#silence")
        assert daemon.read_model.silences()[-1]["expires"] <= time.time()
        await page.goto(f"{web.address}/audit?sort=at&order=rising")
        rows = await page.locator("tbody tr").all_inner_texts()
        assert [what for row in rows for what in ("judged", "silenced", "ended a silence") if f"\t{what}\t" in row] == [
            "judged", "silenced", "ended a silence"
        ]  # fmt: skip
        assert wrong == []


async def test_a_page_that_lost_the_daemon_shows_what_came_meanwhile(served: tuple[Daemon, Web]) -> None:
    daemon, web = served
    async with browsed() as (page, _):
        await page.goto(web.address)
        await page.wait_for_selector("#link.live")
        await page.evaluate("window.stays = true")
        await web.stop()
        await page.wait_for_selector("#link.lost")
        listen = {"listen": web.address.removeprefix("http://")}
        daemon.settings = daemon.settings.model_copy(update={"web": daemon.settings.web.model_copy(update=listen)})
        await daemon.intake.accept(b'{"title": "Acme opens a weir while nobody looks"}', "application/json")
        again = Web(daemon)
        await again.start()
        try:
            await page.wait_for_selector("#link.live")
            await page.wait_for_selector("#tape-rows li:has-text('nobody looks')")
            assert await page.locator("#tape-rows li:has-text('nobody looks')").count() == 1
            assert await page.evaluate("window.stays"), "it came without a reload"
        finally:
            await again.stop()


TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


async def test_every_view_is_accessible_narrow_dark_and_chinese(served: tuple[Daemon, Web]) -> None:
    from axe_playwright_python.async_playwright import Axe

    _, web = served
    await post(web.address, *bad_news())
    alert = await rung(web.address)
    views = [view.format(alert=alert) for view in VIEWS]
    async with browsed(viewport={"width": 360, "height": 800}, locale="zh-CN") as (page, wrong):
        for view in views:
            await page.goto(web.address + view)
            assert await page.get_attribute("html", "lang") == "zh-Hans"
            assert "当前" in await page.inner_text("nav"), view
            assert await page.evaluate("document.documentElement.scrollWidth") == 360, view
            await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            for scheme, rules in (("dark", TAGS), ("light", {"type": "rule", "values": ["color-contrast"]})):
                await page.emulate_media(color_scheme=scheme)
                found = await Axe().run(page, options={"runOnly": rules})
                assert found.violations_count == 0, (view, scheme, found.generate_report())
        # What can be done stands behind the whole story of an alert here; it is one step away.
        await page.goto(f"{web.address}/alerts/{alert}")
        await page.click(".jump a")
        await page.wait_for_function("document.querySelector('#h-do').getBoundingClientRect().top < 800")
        await page.set_viewport_size({"width": 1280, "height": 800})
        assert not await page.is_visible(".jump")
        await page.set_viewport_size({"width": 360, "height": 800})
        # What would ring was asked for as the key was looked at, and comes without a reload.
        await page.goto(f"{web.address}/keys/entity:acme-corp")
        await page.wait_for_selector("#power:not(:has([data-pending])) h3", timeout=40_000)
        # Another language and light than the browser's, chosen once, stay.
        await page.click("a[hreflang=en]")
        await page.click("a[href*='theme=dark']")
        await page.goto(f"{web.address}/")
        assert await page.get_attribute("html", "lang") == "en"
        assert await page.get_attribute("html", "data-theme") == "dark"
        assert [one for one in wrong if "404" not in one] == []


async def test_the_keyboard_alone_reaches_everything(served: tuple[Daemon, Web]) -> None:
    _, web = served
    await post(web.address, *bad_news())
    alert = await rung(web.address)
    async with browsed() as (page, wrong):
        await page.goto(f"{web.address}/alerts/{alert}")
        seen = []
        for _ in range(120):
            await page.keyboard.press("Tab")
            name = await page.evaluate("document.activeElement.value || document.activeElement.textContent.trim()")
            if name == "false":
                break
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            seen.append((name[:30], outline))
        assert name == "false", seen
        assert all(outline != "none" for _, outline in seen), seen
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#verdict .done")
        await page.goto(f"{web.address}/")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        await page.focus("#filters summary")
        await page.keyboard.press("Enter")
        await page.focus("#filters [name=text]")
        await page.keyboard.type("turbine")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**text=turbine**")
        titles = await page.locator("#tape-rows .title").all_inner_texts()
        assert titles == ["Acme turbine crash after 3 weeks"]
        await page.goto(f"{web.address}/search")
        await page.fill("form.filters [name=text]", '"opens depot" acme')
        found: list[list[str]] = []
        while not found or await page.locator("a[rel=next]").count():
            if found:
                await page.focus("a[rel=next]")
            async with page.expect_navigation():
                await page.keyboard.press("Enter")
            found.append(await page.locator(".tape-rows .title").all_inner_texts())
        assert [len(titles) for titles in found] == [50, 50, 50, 50, 50, 30]
        assert {title for titles in found for title in titles} == {f"Acme opens depot number {n}" for n in range(280)}
        assert wrong == []


BAD = {
    "/nosuch": 404,
    "/alerts/nosuch": 404,
    "/alerts/%00%ff": 404,
    "/alerts/latest?key=entity:nobody": 404,
    "/?sentiment=angry": 400,
    "/?page=0": 400,
    "/?list=nosuch": 400,
    "/?key=entity:nobody": 400,
    "/?topic=gossip": 400,
    "/search?from=2026-03-01&to=2026-01-01": 400,
    "/search?after=-1": 400,
    "/search?text=acme&after=77": 410,
    "/keys/entity:nobody": 404,
    "/keys/entity:acme-corp?range=9y": 400,
    "/keys/entity:acme-corp?from=2026-03-01&to=2026-01-01": 400,
    "/keys/entity:acme-corp?from=gestern": 400,
    "/deliveries?state=lost": 400,
    "/sources?sort=nosuch": 400,
    "/settings?page=-1": 400,
}


async def test_an_alert_is_explained_and_copied_also_without_a_clipboard(served: tuple[Daemon, Web]) -> None:
    _, web = served
    await post(web.address, *bad_news())
    alert = await rung(web.address)
    async with browsed() as (page, wrong):
        # What browsers do over plain http beyond this machine.
        await page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined})")
        await page.goto(f"{web.address}/alerts/{alert}")
        told = await page.inner_text("section[aria-labelledby=h-stories]")
        assert "how much it speaks for a burst" in told and "Against it nothing was found" in told
        await page.click("[data-copy]")
        await page.wait_for_selector("[data-copy]:text-is('Copied')")
        selected = await page.evaluate("getSelection().toString()")
        assert "Acme ledger shows fraud" in selected and "since" in selected
        assert await page.is_visible("#h-do")
        await page.emulate_media(media="print")
        assert await page.is_visible("#h-stories") and not await page.is_visible("#h-do")
        assert not wrong, wrong


async def test_what_is_wrong_is_said_on_a_page(served: tuple[Daemon, Web]) -> None:
    _, web = served
    await post(web.address, *bad_news())
    alert = await rung(web.address)
    html = {"accept": "text/html,*/*"}
    async with aiohttp.ClientSession(headers=html) as session:
        for path, status in BAD.items():
            async with session.get(URL(web.address + path, encoded=True)) as answer:
                text = await answer.text()
            assert (answer.status, answer.content_type) == (status, "text/html"), path
            assert 'href="/"' in text and "Traceback" not in text and "<h1>" in text, path
        async with session.get(f"{web.address}/keys/acme") as answer:
            assert answer.status == 404 and "written as entity:JPM" in await answer.text()
        for asked, says in (("acme", "did you mean entity:acme-corp?"), ("zzz", "written as entity:JPM")):
            async with session.get(f"{web.address}/search?key={asked}") as answer:
                assert answer.status == 400 and says in await answer.text()
        for form, filled in (("verdict", {"verdict": "maybe"}), ("silence", {"for": "9y"})):
            async with session.post(f"{web.address}/alerts/{alert}/{form}", data=filled) as answer:
                assert answer.status == 422 and 'role="alert"' in await answer.text()
            foreign = {"origin": "https://evil.example"}
            async with session.post(f"{web.address}/alerts/{alert}/{form}", data=filled, headers=foreign) as answer:
                assert answer.status == 403 and "evil.example" in await answer.text()
        for path in ("/silences/nosuch/end", "/deliveries/nosuch/retry", "/dead-letters/77/retry"):
            async with session.post(web.address + path) as answer:
                assert answer.status == 404 and "<h1>" in await answer.text(), path
        async with session.get(f"{web.address}/alerts/{alert}/stories.csv") as answer:
            rows = list(csv.DictReader(io.StringIO((await answer.read()).decode("utf-8-sig"))))
        assert {"Acme harbour probe widens after 2 weeks"} <= {row["headline"] for row in rows}
        async with session.get(f"{web.address}/alerts/{alert}/export.json") as answer:
            assert (await answer.json())["events"][0]["type"] == "alert.firing"


async def test_api_reads_writes_and_refuses(served: tuple[Daemon, Web]) -> None:
    _, web = served
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{web.address}/api/v1/alert") as answer:
            assert answer.status == 404 and answer.content_type == "application/problem+json"
            assert "/api/v1/alert;" in (detail := (await answer.json())["detail"]) and "/openapi.json" in detail
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
