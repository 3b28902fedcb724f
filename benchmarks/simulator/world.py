"""What the streams of a class are like. Times in seconds, rates in items per second, shares and factors plain."""

from __future__ import annotations

from typing import NamedTuple

from alerts.baseline import DAY, HOUR, MONDAY, WEEK

START = MONDAY + 2960 * WEEK
"""A Monday, 00:00 UTC."""

MINUTE = 60.0

SPIKES = ("fast", "middle", "slow", "flip")
RATIOS = (2.5, 4.0, 8.0, 16.0)
DISTRACTORS = ("surge", "usual", "cheer", "copies")
"""Neutral items, items with the usual mood, good ones, reprints of one bad story. Market-wide moves come besides."""

LEAST = 2.0
"""Bad items that a spike multiplies at least: sixteen times next to nothing would be no crisis."""


class World(NamedTuple):
    """A class. Pairs are the bounds of what is drawn evenly for each key."""

    social: bool
    rates: tuple[float, float]
    """Stories per second, drawn on the log scale."""
    skew: float
    """1 draws them evenly; more, more of the keys that are seldom talked about."""
    step: float
    """Grid of the rates' path, and the periods in which rules count."""
    warm: float
    """Seconds at first in which nothing happens and no alarm counts."""
    weeks: int
    period: float
    """Every key has one happening in each, after the warm weeks."""
    durations: dict[str, tuple[float, float]]
    crises: tuple[int, ...]
    """Sizes of the crises that come besides spikes: so many bad stories within a day, whatever is usual."""
    tail: float
    """Seconds after a happening that still belong to it: an alarm in them is neither a hit nor a false one."""
    quiet: float
    """Seconds below the threshold after which a rule may ring again."""
    branching: tuple[float, float]
    """Follow-ups that an item draws on average; they may draw further ones."""
    decay: float
    """Mean seconds until a follow-up."""
    reprinted: float
    """Share of the stories that have copies."""
    copy_delay: float
    wander_fast: tuple[float, float]
    """Standard deviation of the log rate's fast wander."""
    tau_fast: tuple[float, float]
    wander_slow: tuple[float, float]
    tau_slow: tuple[float, float]
    share_wander: tuple[float, ...]
    """Standard deviations of the bad share's wander on the logit scale: a key has one of them."""
    tau_share: tuple[float, float]
    outage: tuple[float, float]

    @property
    def span(self) -> float:
        return self.weeks * WEEK

    @property
    def name(self) -> str:
        return "social" if self.social else "news"


NEWS = World(
    social=False,
    rates=(0.02 / DAY, 20 / DAY),
    skew=1.0,
    step=HOUR,
    warm=12 * WEEK,
    weeks=40,
    period=4 * WEEK,
    durations={"fast": (2 * HOUR, 4 * HOUR), "middle": (8 * HOUR, DAY), "slow": (2 * DAY, 4 * DAY)},
    crises=(6, 10),
    tail=2 * DAY,
    quiet=3 * DAY,
    branching=(0.2, 0.6),
    decay=DAY,
    reprinted=0.3,
    copy_delay=3 * HOUR,
    wander_fast=(0.05, 0.4),
    tau_fast=(6 * HOUR, DAY),
    wander_slow=(0.1, 0.6),
    tau_slow=(7 * DAY, 40 * DAY),
    share_wander=(0.1, 0.3, 0.6),
    tau_share=(3 * DAY, 15 * DAY),
    outage=(6 * HOUR, 2 * DAY),
)

SOCIAL = World(
    social=True,
    rates=(0.02 / (5 * MINUTE), 20 / (5 * MINUTE)),
    skew=2.0,
    step=5 * MINUTE,
    warm=2 * WEEK,
    weeks=8,
    period=WEEK / 2,
    durations={
        "fast": (12 * MINUTE, 25 * MINUTE),
        "middle": (45 * MINUTE, 90 * MINUTE),
        "slow": (3 * HOUR, 6 * HOUR),
    },
    crises=(),
    tail=6 * HOUR,
    quiet=6 * HOUR,
    branching=(0.05, 0.4),
    decay=20 * MINUTE,
    reprinted=0.15,
    copy_delay=15 * MINUTE,
    wander_fast=(0.05, 0.4),
    tau_fast=(HOUR, 6 * HOUR),
    wander_slow=(0.1, 0.6),
    tau_slow=(3 * DAY, 15 * DAY),
    share_wander=(0.1, 0.3, 0.6),
    tau_share=(12 * HOUR, 4 * DAY),
    outage=(2 * HOUR, 8 * HOUR),
)


class Event(NamedTuple):
    """Something that happens to a key. ``ratio``: bad items, or all of a distractor's kind, over the usual number."""

    kind: str
    ratio: float
    onset: float
    end: float
    usual: float
    """Bad items that would come within it as usual."""
    added: int
    """Stories that it adds, or, of a tone flip, turns bad."""

    @property
    def real(self) -> bool:
        """Whether it should ring."""
        return self.kind in SPIKES or self.kind.startswith("crisis")
