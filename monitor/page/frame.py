"""What every view stands in: who looks at it, in which language and light, and how the daemon is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from monitor.access import READER, ROLE
from monitor.page.words import LANGUAGES, Words, preferred, words
from monitor.problems import Problem

THEMES = ("auto", "light", "dark")
NAV = (
    ("/", "now"),
    ("/alerts", "alerts"),
    ("/search", "search"),
    ("/sources", "sources"),
    ("/deliveries", "deliveries"),
    ("/dead-letters", "letters"),
    ("/silences", "silences"),
    ("/models", "models"),
    ("/settings", "settings"),
    ("/audit", "audit"),
)
YEAR = 31_536_000
LATE = 60.0
"""Seconds of lag from which the health line says so."""


class Visit(msgspec.Struct, frozen=True):
    """A request as far as views need it. ``chosen``: preferences that its address sets anew. ``role``: as who one has
    signed in."""

    path: str
    query: Mapping[str, str]
    language: str
    theme: str
    chosen: dict[str, str] = {}
    role: str = ""

    @property
    def writes(self) -> bool:
        """Whether who looks may change something."""
        return self.role != READER

    @property
    def words(self) -> Words:
        return words(self.language)

    def address(self, **changes: str | int | None) -> str:
        """This view's address with other values in its query; None takes one out."""
        asked = {name: value for name, value in self.query.items() if name not in ("lang", "theme")}
        asked |= {name: str(value) for name, value in changes.items() if value is not None}
        asked = {name: value for name, value in asked.items() if value and changes.get(name, "") is not None}
        return f"{self.path}?{urlencode(asked)}" if asked else self.path


def visit(request: web.Request) -> Visit:
    """Whose language and light come from the address, else a cookie, else the browser."""
    asked = {name: request.query[name] for name in request.query}
    chosen = {}
    if asked.get("lang") in LANGUAGES:
        chosen["lang"] = asked["lang"]
    if asked.get("theme") in THEMES:
        chosen["theme"] = asked["theme"]
    kept = {name: value for name, value in request.cookies.items() if name in ("lang", "theme")} | chosen
    language = kept.get("lang", "")
    theme = kept.get("theme", "")
    # A form is answered by a view when it is refused: that is where its links stay.
    path = request.path if request.method in ("GET", "HEAD") else request.path.rsplit("/", 1)[0] or request.path
    return Visit(
        path,
        asked,
        language if language in LANGUAGES else preferred(request.headers.get("accept-language", "")),
        theme if theme in THEMES else "auto",
        chosen,
        request.get(ROLE, ""),
    )


def health(status: Mapping[str, Any]) -> dict[str, Any]:
    """How the daemon is, in one word (well, worn or ill), what is said of that, and what it rests on."""
    coverage = status["coverage"]
    lag = max((stage["seconds"] for stage in status["lag"].values()), default=0.0)
    blind = coverage["expected"] - coverage["healthy"] - coverage["unread"]
    trouble = "_".join(name for name, there in (("blind", blind > 0), ("late", lag > LATE)) if there)
    state = "ill" if not status["ready"] else "worn" if trouble else "well"
    return {
        "state": state,
        "said": trouble if state == "worn" else state,
        "reasons": status["reasons"],
        "coverage": coverage,
        "lag": lag,
        "stages": status["lag"],
        "model": status["model"],
        "since": status["model_in_use"]["since"],
        "keys": status["watched_keys"],
        "budget": status["false_alarms_per_key_month"],
        "outbox": sum(status["outbox"].values()),
        "version": status["version"],
        "engine": status["engine"],
        "uptime": status["uptime_seconds"],
        "configuration": status["configuration"],
        "stands_by": status["stands_by"],
    }


def number(visit: Visit, name: str) -> int:
    """A page's number, from 1."""
    value = visit.query.get(name) or "1"
    if not (value.isdecimal() and len(value) < 7 and int(value) > 0):
        raise Problem(400, "Bad query", f"{name} is a number from 1 on, not {value[:20]!r}")
    return int(value)
