"""One frozen tree of settings, from TOML, environment and secret files.

Every field is described where it is, and docs/configuration.md is made from it. What can't work stops the start, with
the file, the key, the value and what is allowed. ``TAPEWATCH_SECTION__KEY`` overrides a key of a plain section.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError, model_validator

from monitor import settings_file
from monitor.engine_settings import Engine
from monitor.guard import Guard, shown
from monitor.rule_settings import RuleSettings
from monitor.sections import (
    UNITS,
    Alerts,
    ChannelSettings,
    Detection,
    Log,
    Model,
    NetworkSettings,
    Retention,
    RouteSettings,
    Section,
    SilenceSettings,
    WatchListSettings,
)
from monitor.settings_file import SettingsError
from monitor.source_settings import SourceSettings
from monitor.web_settings import Web

__all__ = ["Settings", "SettingsError", "load"]

DAY = UNITS["d"]

RESERVED = {"api": "POST /api/v1/documents", "backfill": "`tapewatch backfill`", "replay": "`tapewatch replay`"}
"""What documents without a source of the settings have for one, and by whom."""

_IN_ADDRESS = re.compile(
    r"(?<=://)[^/@\s]+(?=@)|(?i:(?<=token=)|(?<=key=)|(?<=auth=)|(?<=secret=)|(?<=password=))[^&#\s]+"
)


class Settings(Section):
    """Everything."""

    engine: Engine = Engine()
    model: Model = Model()
    detection: Detection = Detection()
    alerts: Alerts = Alerts()
    retention: Retention = Retention()
    sources: tuple[SourceSettings, ...] = ()
    watchlists: tuple[WatchListSettings, ...] = ()
    rules: tuple[RuleSettings, ...] = ()
    channels: tuple[ChannelSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    silences: tuple[SilenceSettings, ...] = ()
    web: Web = Web()
    network: NetworkSettings = NetworkSettings()
    log: Log = Log()
    _file: Path | None = PrivateAttr(None)
    _hash: tuple[int, str] | None = PrivateAttr(None)

    @property
    def file(self) -> str:
        """Where they were read, for messages."""
        return str(self._file) if self._file is not None else "settings"

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        problems = [*self._doubles(), *self._unknown_names(), *self._silent(), *self._dialled(), *self._texts()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _doubles(self) -> Iterator[str]:
        for section in ("sources", "watchlists", "rules", "channels"):
            names = [entry.name for entry in getattr(self, section)]
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{section}: two are named {name!r}"
        if sum(entry.kind == "stdin" for entry in self.sources) > 1:
            yield "sources: there is one standard input, so one source of kind 'stdin'"
        for number, entry in enumerate(self.sources, 1):
            if entry.name in RESERVED:
                owner = RESERVED[entry.name]
                yield f"sources #{number} ({entry.name}).name: this name belongs to {owner}; give it another"

    def _unknown_names(self) -> Iterator[str]:
        channels = {channel.name for channel in self.channels}
        lists = {watched.name for watched in self.watchlists}
        for number, route in enumerate(self.routes, 1):
            for name in route.channels:
                if name not in channels:
                    yield f"routes #{number}: channel {name!r} is not among {sorted(channels)}"
            for name in route.watchlists:
                if name not in lists:
                    yield f"routes #{number}: watch-list {name!r} is not among {sorted(lists)}"
        for number, rule in enumerate(self.rules, 1):
            for name in rule.watchlists:
                if name not in lists:
                    yield f"rules #{number} ({rule.name}): watch-list {name!r} is not among {sorted(lists)}"

    def _silent(self) -> Iterator[str]:
        lists = {watched.name for watched in self.watchlists}
        for number, silence in enumerate(self.silences, 1):
            if not (silence.keys or silence.watchlists or silence.severities):
                yield f"silences #{number}: hushes nothing; give keys, watchlists or severities"
            for name in silence.watchlists:
                if name not in lists:
                    yield f"silences #{number}: watch-list {name!r} is not among {sorted(lists)}"

    def _dialled(self) -> Iterator[str]:
        """Addresses that the guard would refuse at every dial."""
        guard = Guard(self.network.allow_private)
        for number, source in enumerate(self.sources, 1):
            if source.url is not None and (why := guard.refusal(source.url)) is not None:
                yield f'sources #{number} ({source.name}).url = "{shown(source.url)}": {why}'
        for number, channel in enumerate(self.channels, 1):
            url = channel.url.get_secret_value()
            plain = url.lower().startswith("http://")
            if (why := guard.refusal(url, plain=plain, proxied=self.network.proxy is not None)) is not None:
                yield f'channels #{number} ({channel.name}).url = "{shown(url)}": {why}'

    def _texts(self) -> Iterator[str]:
        if self.retention.texts is not None and self.quotes is not None and self.quotes < DAY:
            yield (
                f"retention.texts must exceed engine.retention ({self.engine.retention / DAY:g}d) by 2d: for so long "
                "records stay in the log, and what alerts quote is written to it anew"
            )

    @property
    def quotes(self) -> float | None:
        """Seconds for which a story may be quoted as evidence: what quotes it is kept in the log for its retention, and
        a day more where a log lets go of whole segments."""
        return None if self.retention.texts is None else self.retention.texts - self.engine.retention - DAY

    def redacted(self) -> dict[str, Any]:
        """The tree with secrets as stars, those in addresses too."""
        dumped: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        for holder, name in ((dumped["network"], "proxy"), *((source, "url") for source in dumped["sources"])):
            if holder[name] is not None:
                holder[name] = _IN_ADDRESS.sub("***", holder[name])
        for channel, own in zip(dumped["channels"], self.channels, strict=True):
            channel["url"] = shown(own.url.get_secret_value())
        return dumped

    def sha256(self) -> str:
        """Hash of what the daemon does, secrets apart. Of many companies it takes a tenth of a second, and every
        answer names it: it is kept, with whose it is, as copies take it along."""
        if self._hash is None or self._hash[0] != id(self):
            self._hash = id(self), self._hashed()
        return self._hash[1]

    def _hashed(self) -> str:
        return hashlib.sha256(json.dumps(self.redacted(), sort_keys=True).encode()).hexdigest()


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of a file (None: defaults) with the environment's overrides. Raises SettingsError."""
    tree = settings_file.read(path, os.environ if environ is None else environ, Settings)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError("\n".join(settings_file.explain(path, tree, error, Settings))) from None
    settings._file = path
    return settings
