"""Where a replay's files are written."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from monitor.settings import SettingsError

NAMES = ("alerts.jsonl", "summary.json", "report.html", "report.json")


class Folder:
    """Files that take the place of an earlier replay's only when all are there: one that is interrupted leaves no
    alerts beside a report of others. Raises SettingsError where nothing can be written."""

    def __init__(self, out: Path) -> None:
        self._out = out
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error, "name a folder that can be made") from None
        for name in NAMES:
            if (out / name).is_dir():
                raise SettingsError(f"--out {out}: {name} in it is a folder; name another one")

    def open(self, name: str) -> BinaryIO:
        try:
            return self._part(name).open("wb")
        except OSError as error:
            raise self._refusal(error, "name a folder that can be written to") from None

    def write(self, name: str, content: bytes) -> None:
        with self.open(name) as target:
            target.write(content)

    def keep(self) -> None:
        """All is written."""
        for name in NAMES:
            self._part(name).replace(self._out / name)

    def drop(self) -> None:
        """Leaves nothing that is half done."""
        for name in NAMES:
            self._part(name).unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        return self._out / f".{name}.part"

    def _refusal(self, error: OSError, remedy: str) -> SettingsError:
        return SettingsError(f"--out {self._out}: {error.strerror or error}; {remedy}")
