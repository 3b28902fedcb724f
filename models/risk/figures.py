"""Figures as desks write them: money, shares, counts, dates. A text keeps to one currency and one percent sign."""

from __future__ import annotations

import random
from collections.abc import Callable, MutableMapping

Words = MutableMapping[str, str]
"""What a text drew so far; the way it writes money and percentages is kept there too."""
Styled = Callable[[random.Random, Words], str]
Drawn = Callable[[random.Random], tuple[str, str]]

MONEY = ("${}m", "${} million", "€{}m", "€{} million", "£{}m", "£{} million", "USD {} mln", "{} million euros", "¥{}m")
"""Ways to write millions; replacing the unit gives billions."""
PAIRS = (
    "EUR {} mn", "EUR {} million", "EUR{}m", "€{} million", "${} million", "${}m", "USD {} mln", "£{}m",
    "SEK {} million", "NOK {} million", "CHF {}m", "Rs {} crore", "Rs {} cr", "EUR{}mn",
)  # fmt: skip
"""Ways to write two amounts that are compared."""
SHARES = ("${}", "EUR {}", "€{}", "Rs {}", "SEK {}")
PERCENTS = ("{}%", "{}%", "{}%", "{} percent", "{} per cent")
SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
QUARTERS = ("first-quarter", "second-quarter", "third-quarter", "fourth-quarter", "Q1", "Q2", "Q3", "Q4", "half-year")
PERIODS = ("the first quarter", "the second quarter", "the third quarter", "Q1", "Q2", "Q3", "Q4", "the first half")


def figure(name: str, rng: random.Random, words: Words) -> str | None:
    """A figure by the name of its slot; None where there is none of that name."""
    if name in PLAIN:
        return PLAIN[name](rng)
    if name in STYLED:
        return STYLED[name](rng, words)
    return None


def _money(rng: random.Random, words: Words) -> str:
    amount = rng.choice(
        (rng.randint(2, 95), rng.randint(2, 19) * 5, rng.randint(10, 95) * 10, rng.randint(11, 99) / 10)
    )
    return _written(rng, words, f"{amount:g}")


def _billions(rng: random.Random, words: Words) -> str:
    amount = rng.choice((rng.randint(2, 40), rng.randint(11, 99) / 10))
    return _written(rng, words, f"{amount:g}", big=True)


def _written(rng: random.Random, words: Words, amount: str, *, big: bool = False) -> str:
    pattern = words.setdefault("#money", rng.choice(MONEY))
    if big:
        pattern = pattern.replace("million", "billion").replace("mln", "bln").replace("}m", "}bn")
    return pattern.format(amount)


def _percent(low: int, high: int) -> Callable[[random.Random, Words], str]:
    def percent(rng: random.Random, words: Words) -> str:
        sign = words.setdefault("#percent", rng.choice(("%", "%", "%", " percent", " per cent", " pct")))
        amount = rng.randint(low, high)
        return f"{amount}.{rng.randint(1, 9)}{sign}" if high < 20 and rng.random() < 0.4 else f"{amount}{sign}"

    return percent


def _count(low: int, high: int) -> Callable[[random.Random], str]:
    """A round number, evenly on the scale of magnitudes."""

    def count(rng: random.Random) -> str:
        amount = int(low * (high / low) ** rng.random())
        step = 10 ** max(0, len(str(amount)) - rng.choice((1, 2, 2)))
        amount = max(low, amount // step * step)
        if amount >= 1_000_000:
            return f"{amount / 1_000_000:.1f}".removesuffix(".0") + " million"
        return f"{amount:,}" if rng.random() < 0.9 else f"{amount}"

    return count


def _pair(
    style: str, draw: Callable[[random.Random], tuple[str, str]], patterns: tuple[str, ...], which: int
) -> Styled:
    """One of two figures that a text compares, the lower (0) or the higher (1)."""

    def figure(rng: random.Random, words: Words) -> str:
        if f"#{style}0" not in words:
            pattern = rng.choice(patterns)
            for place, amount in enumerate(draw(rng)):
                words[f"#{style}{place}"] = pattern.format(amount)
        return words[f"#{style}{which}"]

    return figure


def _amounts(rng: random.Random) -> tuple[str, str]:
    digits = rng.choice((0, 1, 1))
    low = rng.randint(20, 950) if digits == 0 else rng.randint(11, 990) / 10
    high = max(low * rng.uniform(1.03, 2.4), low + 10**-digits)
    return f"{low:,.{digits}f}", f"{high:,.{digits}f}"


def _shares(rng: random.Random) -> tuple[str, str]:
    low = rng.randint(4, 420)
    return f"{low / 100:.2f}", f"{max(low + 1, int(low * rng.uniform(1.03, 1.9))) / 100:.2f}"


def _percents(rng: random.Random) -> tuple[str, str]:
    low = rng.randint(8, 290)
    return f"{low / 10:.1f}", f"{(low + rng.randint(2, 90)) / 10:.1f}"


def _counts(rng: random.Random) -> tuple[str, str]:
    low = int(60 * 10 ** (4 * rng.random()))
    return f"{low:,}", f"{max(low + 1, int(low * rng.uniform(1.03, 1.9))):,}"


def _few(rng: random.Random) -> str:
    return rng.choice((rng.choice(SMALL), rng.choice(SMALL), str(rng.randint(10, 60))))


def _price(rng: random.Random) -> str:
    sign = rng.choice(("$", "$", "€", "£"))
    return f"{sign}{rng.randint(3, 400)}" if rng.random() < 0.6 else f"{sign}{rng.randint(3, 90)}.{rng.randint(10, 99)}"


def _per_share(rng: random.Random) -> str:
    return rng.choice((f"${rng.randint(8, 190) / 100:.2f}", f"{rng.randint(2, 48)} cents", f"{rng.randint(2, 40)}p"))


PLAIN: dict[str, Callable[[random.Random], str]] = {
    "price": _price,
    "dps": _per_share,
    "jobs": _count(60, 14_000),
    "count": _count(900, 4_000_000),
    "few": _few,
    "dead": lambda rng: rng.choice((rng.choice(SMALL), str(rng.randint(10, 48)))),
    "nth": lambda rng: rng.choice(("second", "third", "fourth", "fifth", "sixth")),
    "age": lambda rng: str(rng.randint(14, 140)),
    "years": lambda rng: rng.choice(SMALL[:7]),
    "year": lambda rng: str(rng.randint(2017, 2027)),
    "oldyear": lambda rng: str(rng.randint(1962, 2009)),
    "month": lambda rng: rng.choice(MONTHS),
    "quarter": lambda rng: rng.choice(QUARTERS),
    "period": lambda rng: rng.choice(PERIODS),
    "level": lambda rng: f"{rng.randint(3, 38)},{rng.randint(100, 990)}",
    "number": lambda rng: str(rng.randint(11, 990)),
    "bp": lambda rng: str(rng.choice((5, 10, 15, 25, 25, 50, 75))),
    "rs": lambda rng: f"Rs {rng.randint(12, 990) * rng.choice((1, 5, 10)):,} {rng.choice(('crore', 'crore', 'cr'))}",
    "rsprice": lambda rng: f"Rs {rng.randint(4, 560) * 5}",
}
STYLED: dict[str, Styled] = {
    "money": _money,
    "billions": _billions,
    "pct": _percent(1, 14),
    "bigpct": _percent(20, 68),
    "most": _percent(70, 99),
    "low": _pair("pair", _amounts, PAIRS, 0),
    "high": _pair("pair", _amounts, PAIRS, 1),
    "lowdps": _pair("shares", _shares, SHARES, 0),
    "highdps": _pair("shares", _shares, SHARES, 1),
    "lowpct": _pair("percents", _percents, PERCENTS, 0),
    "highpct": _pair("percents", _percents, PERCENTS, 1),
    "lown": _pair("counts", _counts, ("{}",), 0),
    "highn": _pair("counts", _counts, ("{}",), 1),
}
