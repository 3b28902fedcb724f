"""What a key's history lets one expect: discounted Gamma rates, a bad share, its wander, the week's shape.

Pure: times are seconds since 1970, rates are per second of exposure. Exposure is time weighted by the pooled
hour-of-week profile (mean 1), less the time in which the sources were down. Baselines learn in blocks of 30
minutes, one block late, so that a burst is not its own expectation.

Source of the statistic: Gamma-Poisson conjugate updating with exponential forgetting (West and Harrison,
*Bayesian Forecasting and Dynamic Models*), winsorised so that one burst does not become the new normal.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import NamedTuple

import msgspec

BLOCK = 1800.0
WEEK_HOURS = 168
HOUR = 3600.0
DAY = 86_400.0
WEEK = 7 * DAY
MONDAY = 4 * DAY
"""1970-01-05, the first Monday of the epoch."""
MONTH = 30.4 * DAY

A0 = 0.5
"""Weight of the prior rate, in items: half an item, so that history soon outweighs it."""

FADES = 4.0
"""Items of its own at which a key's prior has half that weight."""

ALL_TO_BAD = 4.0
"""Prior ratio of all items to bad ones: the share prior below has mean 1/4."""

SHARE_PRIOR = (1.5, 4.5)
SHARE_WEIGHT = 6.0
"""Weight of the share's prior: the sum of its two parts."""
WANDER_PRIOR = (3.2, 40.0)
"""Rate wander c² = .08, with the weight of 40 blocks."""
WANDER_BOUNDS = (0.02, 0.6)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Shape of the week and rates of the population, valid from ``effective_from`` on.

    ``hours``: 168 values with mean 1, from Monday 00:00 UTC. ``prior``: class to bad items per second of a
    typical key.
    """

    schema: int = 1
    version: int = 0
    effective_from: float = 0.0
    hours: tuple[float, ...] = (1.0,) * WEEK_HOURS
    prior: Mapping[str, float] = msgspec.field(default_factory=lambda: {"news": 2e-5 / 60.0, "social": 0.05 / 60.0})


class Closure(NamedTuple):
    """Whole hours since 1970, from ``first`` to before ``end``, in which an exchange is closed: one weekday of its own
    time, or what is left of it after an early close."""

    first: int
    end: int

    def weekend(self) -> tuple[float, float]:
        """Seconds from each of its hours to the same hour of the Saturday, and of the Sunday, of its week."""
        # At two in the afternoon the date is UTC's on every exchange.
        day = ((self.end - 10) * HOUR - MONDAY) // DAY % 7
        return (5 - day) * DAY, (6 - day) * DAY


class Shape:
    """A profile ready for integration.

    ``closures``: of the exchange that a key is tied to, in the order of time, none overlapping. Their hours weigh what
    the same hours of the learned week's weekend do.
    """

    def __init__(self, profile: Profile, closures: Sequence[Closure] = ()) -> None:
        if len(profile.hours) != WEEK_HOURS or min(profile.hours) < 0:
            raise ValueError(f"profile {profile.version}: hours must be {WEEK_HOURS} values of 0 or more")
        self.profile = profile
        self.hours = profile.hours
        self.flat = len(set(profile.hours)) == 1 and profile.hours[0] == 1.0
        total, sums = 0.0, [0.0]
        for value in profile.hours:
            total += value * HOUR
            sums.append(total)
        self._sums = sums
        self.prior = profile.prior
        self._plain = Shape(profile) if closures else self
        self._bounds: list[float] = []
        """Where closures begin and end, in turns."""
        self._less: list[float] = [0.0]
        """By how much the integral is changed by those that are over, before each and after the last."""
        self._weekends: list[tuple[float, float]] = []
        for closure in () if self.flat else closures:
            first, end = closure.first * HOUR, closure.end * HOUR
            self._weekends.append(closure.weekend())
            self._bounds += first, end
            self._less.append(self._less[-1] + self._change(len(self._weekends) - 1, first, end))

    def integral(self, t: float) -> float:
        """Weighted seconds since the first Monday of the epoch."""
        if self.flat:
            return t - MONDAY
        weeks, rest = divmod(t - MONDAY, WEEK)
        hour = int(rest // HOUR)
        usual = weeks * self._sums[WEEK_HOURS] + self._sums[hour] + self.hours[hour] * (rest - HOUR * hour)
        if not self._bounds:
            return usual
        place = bisect_right(self._bounds, t)
        less = self._less[place >> 1]
        return usual + less + self._change(place >> 1, self._bounds[place - 1], t) if place & 1 else usual + less

    def _change(self, number: int, first: float, end: float) -> float:
        """By how much the integral over a part of a closure is changed by it."""
        usual = self._plain.integral
        saturday, sunday = (usual(end + by) - usual(first + by) for by in self._weekends[number])
        return (saturday + sunday) / 2.0 - (usual(end) - usual(first))

    def at(self, t: float) -> float:
        """The weight of the hour of ``t``."""
        if self.flat:
            return 1.0
        place = bisect_right(self._bounds, t)
        if place & 1:
            saturday, sunday = (self.hours[int((t + by - MONDAY) % WEEK // HOUR)] for by in self._weekends[place >> 1])
            return (saturday + sunday) / 2.0
        return self.hours[int((t - MONDAY) % WEEK // HOUR)]


class ClassSettings(msgspec.Struct, frozen=True):
    """What differs between news (with filings) and social posts."""

    name: str
    ratios: tuple[float, ...]
    """Multiples of the expectation that are tested against it."""
    phi: float
    """Cluster discount: how many items one happening usually draws."""
    pi: float
    """Weight of the second null, a volume surge with the usual mood."""
    longest_half_life: float
    longest_excursion: float
    least: float
    """Raw bad evidence below which nothing fires."""
    cold: float
    """Span of history in seconds below which more evidence is asked: twice ``least`` at none."""
    lasting: float
    """Share of a burst's rate at its height from which it goes on."""
    patience: float
    """Cluster discount of the test for its end."""
    least_wander: float
    """Wander of the rate, c² + .02, that is allowed for at least: with much of it what is expected soon follows the
    other items."""
    missed: float
    """Of a reprint: how much of a story it may count, as it is weighed itself or as one that is taken for new."""
    level: float
    """Evidence in nats above which it is counted how often chance brings it."""
    apart: float
    """Seconds below that level after which the next is another time."""
    passages: tuple[float, float, float, float]
    """How often a month that happens to a key with n bad items a month, where its own history does not say:
    t·n^p / (1 + n/m) · n/(n + f), as (f, t, p, m)."""
    slopes: tuple[float, float, float]
    """By how much each nat above makes it rarer: the least of a + b·ln(1 + n) and c, as (a, b, c)."""


NEWS = ClassSettings(
    name="news",
    ratios=(2.0, 4.0, 16.0, 64.0),
    phi=1.0,
    pi=0.0,
    longest_half_life=180 * DAY,
    longest_excursion=5 * DAY,
    least=2.0,
    cold=7 * DAY,
    lasting=0.3,
    patience=1.0,
    least_wander=0.04,
    missed=0.05,
    level=4.0,
    apart=3 * DAY,
    passages=(0.1, 0.043, 0.66, 1e9),
    slopes=(0.33, 0.21, 1.05),
)
SOCIAL = ClassSettings(
    name="social",
    ratios=(2.0, 4.0, 8.0),
    phi=2.0,
    pi=0.05,
    longest_half_life=14 * DAY,
    longest_excursion=2 * DAY,
    least=4.0,
    cold=DAY,
    lasting=0.5,
    patience=1.5,
    least_wander=0.62,
    missed=0.0,
    level=2.0,
    apart=6 * HOUR,
    passages=(2.0, 0.01, 1.0, 320.0),
    slopes=(0.95, 0.185, 2.7),
)

HALF_LIFE_ITEMS = 50.0
HALF_LIFE_SPAN = log(2) * HALF_LIFE_ITEMS
SHORTEST_HALF_LIFE = DAY
SHARE_HALF_LIFE = 3 * DAY
WANDER_DECAY = 0.995
QUIET = 8.0
"""Items that the time before a key's first one counts as at most, by what is usual for others: who is hardly ever named
is seldom named, and a company that is new is no surprise for months after."""
LEAST_CAP = 3.0
"""Items that a block may always count, however few were expected."""


class Baseline(msgspec.Struct, array_like=True):
    """One key's history in one class. Sums are discounted; see ``absorb``."""

    since: float
    """When exposure began."""
    bad: float = 0.0
    bad_exposure: float = 0.0
    all: float = 0.0
    all_exposure: float = 0.0
    share_bad: float = 0.0
    share_all: float = 0.0
    wander: float = 0.0
    wander_weight: float = 0.0
    block: int = 0
    """Number of the open block since 1970."""
    block_from: float = 0.0
    block_blind: float = 0.0
    """Cumulative blind seconds when the open block began."""
    block_bad: float = 0.0
    block_others: float = 0.0
    block_documents: int = 0
    pending: tuple[float, float, float, float] | None = None
    """The closed block that is learned when the next one closes: bad, others, exposure, seconds."""


class Closed(msgspec.Struct, gc=False):
    """A block that has just closed, for series and profile."""

    start: float
    bad: float
    others: float
    documents: int
    expected: float


def begin(since: float, blind: float) -> Baseline:
    """An empty history whose exposure starts at ``since``."""
    return Baseline(since=since, block=int(since // BLOCK), block_from=since, block_blind=blind)


def rates(base: Baseline, prior: float) -> tuple[float, float]:
    """(bad, all) items per second of exposure."""
    return bad_rate_of(base, prior), (A0 + base.all) / (
        _prior_exposure(prior * ALL_TO_BAD, base.all) + base.all_exposure
    )


def bad_rate_of(base: Baseline, prior: float) -> float:
    """Bad items per second of exposure."""
    return (A0 + base.bad) / (_prior_exposure(prior, base.bad) + base.bad_exposure)


def _prior_exposure(prior: float, items: float) -> float:
    """Seconds in which the prior saw its half an item; they fade as the key's own ``items`` come.

    A busy key forgets within days, and among thousands that are hardly ever named the prior's half item took months: at
    its full weight it would hold the key's rate down for ever.
    """
    faded = items / FADES
    return A0 / prior / (1.0 + faded * faded)


def bad_share(base: Baseline) -> float:
    return (SHARE_PRIOR[0] + base.share_bad) / (SHARE_WEIGHT + base.share_all)


def rate_wander(base: Baseline) -> float:
    """c²: squared coefficient of variation of the rate beyond Poisson."""
    value = (WANDER_PRIOR[0] + base.wander) / (WANDER_PRIOR[1] + base.wander_weight)
    low, high = WANDER_BOUNDS
    return low if value < low else high if value > high else value


def roll(base: Baseline, t: float, blind: float, shape: Shape, prior: float, settings: ClassSettings) -> Closed:
    """Closes the open block, which ``t`` lies beyond, and learns the one before; returns what closed."""
    number = int(t // BLOCK)
    if base.pending is not None:
        absorb(base, base.pending, prior, settings)
    # What could not be seen is neither exposure nor time in which to forget.
    seconds = (number - base.block) * BLOCK
    if blind > base.block_blind:
        seconds *= seen(base.block_from, t, base.block_blind, blind)
    exposure = exposed(base.block_from, t, base.block_blind, blind, shape)
    start = base.block * BLOCK
    expected = bad_rate_of(base, prior) * BLOCK * shape.at(start)
    closed = Closed(start, base.block_bad, base.block_others, base.block_documents, expected)
    base.pending = (base.block_bad, base.block_others, exposure, seconds)
    base.block_bad = base.block_others = 0.0
    base.block_documents = 0
    base.block, base.block_from, base.block_blind = number, t, blind
    return closed


def exposed(t0: float, t1: float, blind0: float, blind1: float, shape: Shape) -> float:
    """Weighted seconds between two times, less the share in which the sources were blind."""
    if t1 <= t0:
        return 0.0
    weighted = t1 - t0 if shape.flat else shape.integral(t1) - shape.integral(t0)
    return weighted * seen(t0, t1, blind0, blind1) if blind1 > blind0 else weighted


def seen(t0: float, t1: float, blind0: float, blind1: float) -> float:
    """Share of the time between two moments in which the sources could be seen."""
    return 1.0 - min(1.0, max(0.0, (blind1 - blind0) / (t1 - t0)))


def absorb(base: Baseline, block: tuple[float, float, float, float], prior: float, settings: ClassSettings) -> None:
    """Learns a closed block: (bad, others, exposure, seconds)."""
    x, y, exposure, seconds = block
    bad_rate, all_rate = rates(base, prior)
    expected_bad, expected_all = bad_rate * exposure, all_rate * exposure
    n = x + y
    if n == 0 and expected_all > QUIET:
        part = QUIET / expected_all
        exposure, seconds, expected_bad = exposure * part, seconds * part, expected_bad * part
    winsorised = min(x, cap(expected_bad)) if x > LEAST_CAP and base.bad >= 3 else x
    counted = min(n, cap(expected_all)) if n > LEAST_CAP and base.all >= 6 else n
    base.bad, base.bad_exposure, _ = _discount(
        base.bad, base.bad_exposure, winsorised, exposure, bad_rate, seconds, settings
    )
    base.all, base.all_exposure, half_life = _discount(
        base.all, base.all_exposure, counted, exposure, all_rate, seconds, settings
    )
    if n:
        _learn_share(base, x, n, counted, seconds, half_life)
    if expected_bad > 1:
        r = min(winsorised / expected_bad, 3.0)
        weight = expected_bad / (expected_bad + 10.0)
        base.wander = base.wander * WANDER_DECAY + weight * ((r - 1) ** 2 - 1.5 / expected_bad)
        base.wander_weight = base.wander_weight * WANDER_DECAY + weight


def cap(expected: float) -> float:
    """Most items of a block of which ``expected`` were: what is beyond is a burst."""
    return 2 * expected + 3 * sqrt(2 * expected) + LEAST_CAP


def _discount(
    items: float,
    total: float,
    new: float,
    exposure: float,
    rate: float,
    seconds: float,
    settings: ClassSettings,
) -> tuple[float, float, float]:
    half_life = HALF_LIFE_SPAN / rate if rate > 1e-12 else settings.longest_half_life
    if half_life < SHORTEST_HALF_LIFE:
        half_life = SHORTEST_HALF_LIFE
    elif half_life > settings.longest_half_life:
        half_life = settings.longest_half_life
    keep = 0.5 ** (seconds / half_life)
    return items * keep + new, total * keep + exposure, half_life


def _learn_share(base: Baseline, x: float, n: float, counted: float, seconds: float, half_life: float) -> None:
    weight = counted / n
    p = bad_share(base)
    n_eff = n * weight
    bound = p * n_eff + 2 * sqrt(p * (1 - p) * n_eff) + 1
    bad = x * weight
    keep = 0.5 ** (seconds / (half_life if half_life > SHARE_HALF_LIFE else SHARE_HALF_LIFE))
    base.share_bad = base.share_bad * keep + (bad if bad < bound else bound)
    base.share_all = base.share_all * keep + n_eff
