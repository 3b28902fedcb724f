"""Companies that do not exist, composed of syllables, and figures as Chinese desks write them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

LONGER = 0.12
"""Share of names with a third character before what the company does."""

HUNDRED_MILLION = {"simplified": "亿", "traditional": "億"}
TEN_THOUSAND = {"simplified": "万", "traditional": "萬"}


class Company(NamedTuple):
    """``stem``: the name without what the company does, as the exchange's warnings and posts use it."""

    stem: str
    short: str
    long: str
    code: str
    tag: str
    """As posts mark it, with the exchange before the code."""


def company(names: Mapping[str, tuple[str, ...]], script: str, sector: str, rng: random.Random) -> Company:
    """A fictional company of a sector, which names.toml has to know."""
    if sector == "foreign":
        stem = short = rng.choice(names["foreign"])
        return Company(stem, short, short, "", f"${short}")
    stem = _stem(names, rng)
    short = stem + rng.choice(names[sector])
    digits = f"{rng.randrange(1000):03}"
    form = rng.choice([form for form in names["forms"] if form[:2] != short[-2:]])
    if script == "simplified":
        board, first = rng.choice((("SH", "609"), ("SH", "689"), ("SZ", "009"), ("SZ", "309")))
        code = rng.choice((f"{first}{digits}.{board}", f"{first}{digits}", f"0{digits[0]}{digits}.HK"))
        return Company(stem, short, short + form, code, f"${short}({board}{first}{digits})$")
    number = f"{rng.randrange(1, 10)}{digits}"
    code = rng.choice((f"0{number}.HK", f"0{number}", number, f"{number}.TW"))
    return Company(stem, short, short + form, code, f"${short}({number})$")


def _stem(names: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    while True:
        stem = rng.choice(names["heads"]) + rng.choice(names["tails"])
        if stem not in names["real"]:
            return stem + (rng.choice(names["thirds"]) if rng.random() < LONGER else "")


def figure(name: str, script: str, rng: random.Random) -> str | None:
    """A figure of a kind: see the table in the code; None if it is no kind of figure."""
    whole = rng.randrange
    tenth = f"{whole(1, 100) / 10:.1f}" if rng.random() < 0.5 else f"{whole(100, 1000) / 100:.2f}"
    kinds = {
        "n": lambda: str(whole(2, 10)),
        "nn": lambda: str(whole(11, 99)),
        "nnn": lambda: str(whole(11, 99) * 10),
        "k": lambda: str(whole(12, 99) * 100),
        "pct": lambda: f"{tenth}%",
        "bigpct": lambda: f"{whole(12, 93)}%" if rng.random() < 0.6 else f"{whole(120, 930) / 10:.1f}%",
        "hugepct": lambda: f"{whole(102, 980)}%",
        "yi": lambda: f"{rng.choice((tenth, str(whole(2, 90))))}{HUNDRED_MILLION[script]}",
        "wan": lambda: f"{whole(12, 980) * 10}{TEN_THOUSAND[script]}",
        "bp": lambda: f"{whole(1, 11) * 5}",
        "price": lambda: f"{whole(200, 9900) / 100:.2f}",
        "pts": lambda: f"{whole(12, 780)}",
        "level": lambda: f"{whole(28, 290) * 100}",
        "year": lambda: f"{whole(2019, 2027)}",
        "month": lambda: f"{whole(1, 13)}月",
        "day": lambda: f"{whole(1, 29)}日",
        "cn": lambda: rng.choice("二三四五六七八九十"),
    }
    return kinds[name]() if name in kinds else None
