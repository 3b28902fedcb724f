"""Records are described to msgspec before a daemon has threads that read them."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from monitor.app import Daemon
from monitor.interpreter import records
from monitor.settings import load


def undescribed() -> set[str]:
    """Those that msgspec has no description of yet; it hangs it on the class."""
    return {
        kind.__qualname__
        for kind in records()
        if not any(type(held).__name__ == "StructInfo" for held in gc.get_referents(kind))
    }


async def opened(folder: Path) -> None:
    settings = folder / "tapewatch.toml"
    settings.write_text('[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme" }]\n')
    daemon = Daemon(load(settings))
    try:
        await daemon.open()
    finally:
        await daemon.stop()


def test_an_open_daemon_has_described_every_record(tmp_path: Path) -> None:
    assert any(records())
    asyncio.run(opened(tmp_path))
    assert undescribed() == set()
