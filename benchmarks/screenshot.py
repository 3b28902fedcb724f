"""Takes the README's pictures: the demo's page in light and dark while its crisis rings. ``make screenshot``."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

from playwright.async_api import async_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
AFTER = 44.0
"""Seconds after the daemon's start: the company's crisis is firing, the topic's has not begun."""


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
        await shoot(found[0])
    finally:
        demo.send_signal(signal.SIGTERM)
        await demo.wait()


async def shoot(address: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        for scheme in ("light", "dark"):
            page = await browser.new_page(viewport={"width": 1280, "height": 1150}, color_scheme=scheme)
            await page.goto(address)
            await page.wait_for_selector("#state.live")
            await page.wait_for_selector("article.alert")
            await page.wait_for_timeout(2500)
            await page.screenshot(path=IMAGES / f"page-{scheme}.png")
            await page.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
