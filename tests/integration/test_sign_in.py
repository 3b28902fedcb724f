"""A daemon with tokens: nothing but probes and the sign-in is for everybody, readers read, analysts write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.daemon_bench import ACME, Daemon, request, wait_for
from tests.integration.test_page import TAGS, browsed

TOKENS = '[web]\ntoken = "analysts-token"\nreader_token = "readers-token"\n'
ANALYST = {"authorization": "Bearer analysts-token"}
READER = {"authorization": "Bearer readers-token"}
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("signed") / "d", ACME + TOKENS, headers=ANALYST) as one:
        one.ring()
        wait_for(lambda: one.get("alerts")["alerts"], "an alert")
        yield one


def routes(daemon: Daemon) -> list[tuple[str, str, bool]]:
    """Method, address and whether it writes, of all that the API has."""
    described = json.loads(request(f"{daemon.url}/openapi.json", headers=ANALYST)[2])
    return [
        (method.upper(), re.sub(r"{\w+}", "x", path), "security" in told)
        for path, methods in described["paths"].items()
        for method, told in methods.items()
    ]


def test_nothing_is_told_to_strangers(daemon: Daemon) -> None:
    probes = {"/metrics", "/healthz", "/readyz"}
    found = routes(daemon)
    assert len(found) > 30 and sum(writes for *_, writes in found) > 9
    for method, path, _ in found:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "tapewatch_session=analyst.1.2"}):
            status, told, body = request(daemon.url + path, method=method, headers=headers)
            if path in probes:
                assert status == 200, path
            else:
                assert status == 401 and told["www-authenticate"] == "Bearer", (method, path, status, body)
    assert request(f"{daemon.url}/page/assets/page.css")[0] == 200
    for view in ("/", "/alerts", "/settings", "/page/tape", "/nosuch"):
        assert request(daemon.url + view)[0] == 401, view
        status, _, body = request(daemon.url + view, headers=HTML)
        assert status == 200 and b'name="token"' in body and b"Acme" not in body, view


def test_a_reader_reads_and_changes_nothing(daemon: Daemon) -> None:
    for method, path, writes in routes(daemon):
        if method == "GET" and path != "/api/v1/stream":
            assert request(daemon.url + path, headers=READER)[0] not in (401, 403), path
        if writes:
            status, _, body = request(daemon.url + path, {}, method=method, headers=READER)
            assert status == 403 and b"Readers only read" in body, (method, path, status)


async def test_signing_in_reading_writing_and_out(daemon: Daemon) -> None:
    alert = daemon.get("alerts")["alerts"][0]["alert"]
    async with browsed() as (page, wrong):
        await page.goto(f"{daemon.url}/alerts/{alert}?lang=en")
        assert "/sign-in" in page.url and "Acme" not in await page.content()
        await page.fill("[name=token]", "wrong")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".trouble")
        assert await page.evaluate("document.activeElement.name") == "token"
        await page.fill("[name=token]", "readers-token")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#facts")
        assert page.url.endswith(f"/alerts/{alert}?lang=en"), "where one wanted to go"
        assert (await page.locator(".out").inner_text()).split("\n") == ["Reader", "Sign out"]
        assert await page.locator("main form").count() == 0
        await page.wait_for_selector("#link.live")
        await page.click(".out button")
        await page.wait_for_selector(".door")
        await page.goto(f"{daemon.url}/alerts/{alert}")
        await page.fill("[name=token]", "analysts-token")
        await page.click(".door button")
        await page.click("#verdict button[value=unsure]")
        await page.wait_for_selector("#verdict .done")
        assert len(daemon.get(f"alerts/{alert}/feedback")["verdicts"]) == 1
        assert not [one for one in wrong if "401" not in one], wrong
        # A session that ends is noticed by an open view, which leads to the sign-in.
        await page.context.clear_cookies()
        await page.wait_for_selector(".door", timeout=15_000)
    assert daemon.metric("tapewatch_sign_ins_total", role="refused") >= 1


async def test_the_sign_in_is_accessible_narrow_and_in_both_languages(daemon: Daemon) -> None:
    from axe_playwright_python.async_playwright import Axe

    async with browsed(viewport={"width": 360, "height": 800}, locale="zh-CN") as (page, _):
        await page.goto(f"{daemon.url}/search?text=acme")
        await page.fill("[name=token]", "wrong")
        await page.click(".door button")
        await page.wait_for_selector(".trouble")
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)
            found = await Axe().run(page, options={"runOnly": TAGS})
            assert found.violations_count == 0, (scheme, found.generate_report())
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        assert "令牌无效" in await page.inner_text(".trouble")
        await page.click("a[hreflang=en]")
        assert await page.inner_text("h1") == "Sign in"
