"""What the page says, in English and Chinese: every visible text comes from a catalogue."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from alerts.chinese import EVENTS

LANGUAGES = {"en": "English", "zh": "中文"}


class Words:
    """One language's texts. ``words("now.title")``; ``words("now.more", count=3)`` takes the form for that number."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, key: str, **values: Any) -> str:
        """Raises KeyError for a text that there is not: a mistake of the page's own."""
        if key not in self._texts:
            key += ".one" if values.get("count") == 1 else ".other"
        return self._texts[key].format_map(values)

    def known(self, key: str, otherwise: str) -> str:
        """The text of a name that comes from data, or that name."""
        return self._texts.get(key, otherwise)

    def event(self, kind: str) -> str:
        """What a kind of adverse event is called; one of a user's own as it is."""
        plain = kind.replace("_", " ")
        return EVENTS.get(kind, plain) if self.language == "zh" else plain

    def topic(self, name: str) -> str:
        """What a topic is called; one of a user's own as it is."""
        return self.known(f"topic.{name}", name)

    def keys(self) -> set[str]:
        return set(self._texts)

    def span(self, seconds: float) -> str:
        """A length of time: ``35 minutes``, ``3 hours``, ``12 days``, ``90 years``."""
        seconds = max(0.0, seconds)
        for size, unit, upto in (
            (1.0, "second", 90.0),
            (60.0, "minute", 5_400.0),
            (3_600.0, "hour", 172_800.0),
            (86_400.0, "day", 5_184_000.0),
            (2_629_800.0, "month", 63_115_200.0),
        ):
            if seconds < upto:
                return self(f"span.{unit}", count=round(seconds / size))
        years = seconds / 31_557_600.0
        return self("span.more") if years > 10_000 else self("span.year", count=round(years))


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


@cache
def words(language: str) -> Words:
    """The catalogue of one of ``LANGUAGES``."""
    text = files("monitor.page").joinpath("words", f"{language}.toml").read_text(encoding="utf-8")
    return Words(language, dict(_flat(tomllib.loads(text))))


def preferred(accepted: str) -> str:
    """The language of an Accept-Language header that the page knows best; English of one that it can't read."""
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:500].split(",")):
        name, _, quality = part.strip().partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=")) if quality else 1.0
        except ValueError:
            weight = 0.0
        short = name.strip().lower().split("-")[0]
        if short in LANGUAGES and weight > 0:
            ranked.append((-weight, place, short))
    return min(ranked)[2] if ranked else "en"
