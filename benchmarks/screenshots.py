"""Takes the pictures of the page: the demo's views while its crisis rings, into docs/images. ``make screenshots``."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import urllib.request
from pathlib import Path

from playwright.async_api import Browser, async_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
AFTER = 44.0
"""Seconds after the daemon's start: the company's crisis is firing, the topic's has not begun."""

VIEWS = {
    "page-light": ("/", 1280, 1150, "light", "en"),
    "page-dark": ("/", 1280, 1150, "dark", "en"),
    "page-narrow": ("/", 390, 1100, "light", "en"),
    "page-chinese": ("/", 1280, 800, "light", "zh-CN"),
    "page-alert": ("/alerts/{alert}", 1280, 1500, "light", "en"),
    "page-key": ("/keys/{key}?range=30d", 1280, 1150, "light", "en"),
    "page-alerts": ("/alerts", 1280, 620, "light", "en"),
    "page-search": ("/search?text=halvorne+orders", 1280, 800, "light", "en"),
    "page-models": ("/models", 1280, 900, "light", "en"),
    "page-sources": ("/sources", 1280, 620, "light", "en"),
    "page-deliveries": ("/deliveries", 1280, 620, "light", "en"),
    "page-settings": ("/settings", 1280, 620, "light", "en"),
}
"""Name of the picture to (address, width, height, light, language)."""


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "demo", "--listen", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    if demo.stdout is None:
        raise RuntimeError("no pipe from the demo")
    try:
        while True:
            line = (await demo.stdout.readline()).decode()
            found = re.search(r"http://\S+", line)
            if found:
                break
            if not line:
                raise RuntimeError("the demo ended before its page was up")
        await asyncio.sleep(AFTER)
        await shoot(found[0].rstrip("/"))
    finally:
        demo.send_signal(signal.SIGTERM)
        await demo.wait()


def firing(address: str) -> dict[str, str]:
    """The company's alert and its key."""
    with urllib.request.urlopen(f"{address}/api/v1/alerts?status=firing", timeout=10) as answer:  # noqa: S310 (our own)
        alerts = json.load(answer)["alerts"]
    one = max(alerts, key=lambda record: record["key"].startswith("entity:"))
    return {"alert": one["alert"], "key": one["key"]}


async def shoot(address: str) -> None:
    names = await asyncio.to_thread(firing, address)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        asked = await browser.new_page()
        await asked.goto(address + VIEWS["page-key"][0].format(**names))  # what would ring takes its time
        await asked.close()
        for name, (path, width, height, scheme, language) in VIEWS.items():
            await picture(browser, name, address + path.format(**names), (width, height), scheme, language)
        await browser.close()


async def picture(browser: Browser, name: str, address: str, size: tuple[int, int], scheme: str, language: str) -> None:
    page = await browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        locale=language,
    )
    await page.goto(address)
    await page.wait_for_selector("main")
    await page.wait_for_timeout(1_500)
    if await page.locator("#power").count():
        await page.wait_for_selector("#power:not(:has([data-pending]))", timeout=60_000)
    await page.screenshot(path=IMAGES / f"{name}.png")
    await page.close()


if __name__ == "__main__":
    asyncio.run(main())
