"""Contexts to HTML. Everything is escaped; what is markup is made here or in ``charts``."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor import __version__
from monitor.page.frame import NAV, THEMES, Visit
from monitor.page.words import LANGUAGES
from pipelines.documents import epoch, iso


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("monitor.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(when=when, num=num, signed=signed, pct=pct, path=path)
    environment.globals.update(nav=NAV, languages=LANGUAGES, themes=THEMES, version=__version__)
    return environment


def render(template: str, visit: Visit, **context: Any) -> str:
    return _environment().get_template(template).render(t=visit.words, visit=visit, **context)


def when(moment: str | float | None) -> Markup:
    """A time in UTC, which the page's script writes in the viewer's zone; the UTC stays in its title."""
    if moment is None:
        return Markup("–")
    seconds = epoch(moment) if isinstance(moment, str) else float(moment)
    text = iso(seconds)
    return Markup('<time datetime="{iso}" title="{day} {exact} UTC">{day} {minute} UTC</time>').format(
        iso=text, day=text[:10], exact=text[11:19], minute=text[11:16]
    )


def num(value: float | None, digits: int = 1) -> str:
    """With a true minus, and one more digit where one would leave nothing."""
    if value is None:
        return "–"
    if 0 < abs(value) < 0.005:
        return "<0.01"
    shown = f"{value:.{digits}f}"
    if digits == 1 and 0 < abs(value) < 0.95:
        shown = f"{value:.2f}"
    return shown.replace("-", "−")


def signed(value: float) -> str:
    """With its sign, to two digits; what rounds to nothing has none."""
    return f"{value:+z.2f}".replace("+0.00", "0.00").replace("-", "−")


def pct(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}\u00a0%"


def path(part: str) -> str:
    """A key or an id as part of an address."""
    return quote(part, safe=":/")
