"""The rule ``silence``: nothing at all about a key whose usual volume makes that improbable.

A gap between two items is measured by the items that the key's baseline expects in it: its rate times the week's shape,
less what could not be seen. Of a Poisson stream with a Gamma-distributed rate the probability of nothing where m are
expected is (1 + c²m)^(-1/c²), the negative binomial's zero; c² is the key's learned wander and how well its rate is
known. Every item begins a gap, so N items a month give N times that probability as false alarms a month: the rule rings
at probability budget / N.

Streams have nights, polls and clusters. So the law of long gaps is learned: how many are longer than ``LONG`` expected
items, and by how much on average. Beyond, they follow a generalised Pareto law whose tail is a little heavier than an
exponential one, for the rate is never known and clusters come in clusters. Both begin with what the negative binomial
says of them.

What ends a gap is any document, while a baseline counts what stories weigh; how much of that comes with one document is
learned as well.

Sources: Greenwood and Yule 1920 (the negative binomial as a Gamma mixture); Pickands 1975 (exceedances over a
threshold); Wald 1945 (the sequential test that it is over). Pure; times in seconds since 1970.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from alerts.baseline import MONTH, NEWS, SOCIAL, rate_wander
from alerts.episode import EpisodeEvent, Kind, Reason
from alerts.key_state import KeyState
from alerts.rules import SilenceRule
from alerts.spike import gamma_quantile

LONG = 4.0
"""Expected items from which a gap counts as a long one: one in fifty of a Poisson stream. Shorter ones say how items
come within a cluster, not how clusters do."""

HEAVY = 0.1
"""Shape of the law of what is beyond LONG: 0 is the exponential one, and the negative binomial of a rate that is off by
a third has .1."""

WEIGHT = 5.0
"""Long gaps of its own at which a key's history weighs as much as the negative binomial."""

LEARNED = 400.0
"""Long gaps at which what was learned of gaps is halved: the law is that of the latest few hundred."""

RECORD = 1.25
"""A silence is longer than the longest gap so far by this factor: nights are alike, and ring but once."""

FADES = 1.0 - 1.0 / 2_000.0
"""What is left of the longest gap with every item after it."""

LONGEST = 3 * 86_400.0
"""Seconds within which a silence must show: a key that is slower than that is never silent."""

LASTS = 7 * 86_400.0
"""Seconds after which nobody waits for the end of a silence any more: it is the usual then."""

FEWEST = 5.0
"""Items that a baseline must have learned for its rate to mean anything here."""

BACK, GONE = 0.5, 0.05
"""Shares of the usual rate between which it is decided that a volume is back."""

CERTAIN = math.log(20.0)
"""Nats for that."""

CHANCES = 1.0
"""Fewest gaps that a month is taken to have."""

LATEST = 200.0
"""Items over which it is averaged how many stories the baseline expected for each."""


class Usual(msgspec.Struct, frozen=True, gc=False):
    """What a key's baselines expect: documents per second of exposure of news and of posts, how far the rate is off
    (squared coefficient of variation), for how long they have been learned, whether that is long enough, and how many
    documents bring what a story weighs."""

    news: float
    social: float
    spread: float
    span: float
    known: bool
    documents: float

    @property
    def rate(self) -> float:
        return self.news + self.social


class Gaps(msgspec.Struct, array_like=True):
    """What was learned of a key's gaps."""

    count: float = 0.0
    long: float = 0.0
    excess: float = 0.0
    """Expected items beyond LONG, summed over the long ones."""
    longest: float = 0.0
    """Expected items of the longest, fading."""
    stories: float = 1.0
    """Weighed stories that the baseline expected in one, on average: what ends a gap is any document, a reprint too."""


class Alarm(msgspec.Struct, array_like=True):
    """An open alert, as kept in its key's state."""

    rule: str
    """Id of the rule that rang."""
    since: float
    """When the last item came before it."""
    opened_at: float
    expected: float
    score: float
    threshold: float
    spread: float
    span: float
    returned: float | None = None
    """When the latest item came since."""
    doubt: float = 0.0
    """Log-evidence that the volume is back."""


class Quiet(msgspec.Struct, array_like=True):
    """What is known of one key's silences."""

    last: float
    """When its latest item came."""
    history: bool = False
    """That this one was history: nobody knows what came after it."""
    gaps: Gaps = msgspec.field(default_factory=Gaps)
    alarm: Alarm | None = None
    episodes: int = 0


# -- what is usual ----------------------------------------------------------------------------------------


def usual(state: KeyState, at: float, gaps: Gaps) -> Usual:
    """Of a class whose baseline has hardly anything nothing is expected. The population's prior is left out: who is
    often in the news has a rate of its own."""
    found = [0.0, 0.0]
    spread = span = 0.0
    known = 0.0
    for place, (one, settings) in enumerate(((state.news, NEWS), (state.social, SOCIAL))):
        if one is None or one.base.all < FEWEST:
            continue
        rate = found[place] = one.base.all / one.base.all_exposure
        spread += rate * rate * (rate_wander(one.base) + 1.0 / one.base.all)
        span = max(span, at - one.base.since)
        known += rate if at - one.base.since >= settings.cold else 0.0
    total, each = sum(found), 1.0 / gaps.stories
    spread = spread / (total * total) if total > 0 else 0.0
    return Usual(found[0] * each, found[1] * each, spread, span, known > 0.5 * total, each)


def nothing(mean: float, spread: float) -> float:
    """Probability of no item where ``mean`` are expected: Poisson's exp(-mean) at ``spread`` 0."""
    return math.exp(-mean if spread <= 0.0 else -math.log1p(spread * mean) / spread)


def _tail(gaps: Gaps, spread: float) -> tuple[float, float, float]:
    """(share of long gaps, shape, scale) of the Pareto tail. A negative binomial's gaps are longer than LONG by
    (1 + c² LONG)/(1 - c²) on average."""
    share = (gaps.long + WEIGHT) / (gaps.count + WEIGHT / nothing(LONG, spread))
    usual = (1.0 + spread * LONG) / (1.0 - spread)
    beyond = (WEIGHT * usual + gaps.excess) / (WEIGHT + gaps.long)
    return share, 1.0 / HEAVY, beyond * (1.0 - HEAVY) / HEAVY


def probability(mean: float, gaps: Gaps, spread: float) -> float:
    """Probability that a gap is as long as ``mean`` expected items; ``spread`` above 0."""
    if mean <= LONG:
        return nothing(mean, spread)
    share, shape, scale = _tail(gaps, spread)
    return share * math.exp(-shape * math.log1p((mean - LONG) / scale))


def needed(wanted: float, gaps: Gaps, spread: float) -> float:
    """Expected items at which a gap's probability is ``wanted``, and that no gap had so far."""
    share, shape, scale = _tail(gaps, spread)
    improbable = LONG + scale * ((share / wanted) ** (1.0 / shape) - 1.0) if wanted < share else LONG
    return max(improbable, RECORD * gaps.longest)


def chance(usual: Usual, budget: float) -> float:
    """Probability at which a key rings: ``budget`` false alarms a month over the gaps of a month."""
    return budget / max(CHANCES, usual.rate * MONTH)


# -- a key's gaps -----------------------------------------------------------------------------------------


def learn(gaps: Gaps, mean: float, most: float, documents: float) -> None:
    """Learns a gap that ended, of ``mean`` expected documents, of which ``documents`` bring what a story weighs; one
    beyond what would ring counts as twice that at most."""
    mean = min(mean, 2.0 * most)
    gaps.count += 1.0
    gaps.stories += (mean / documents - gaps.stories) / LATEST
    gaps.longest = max(mean, FADES * gaps.longest)
    if mean > LONG:
        gaps.long += 1.0
        gaps.excess += mean - LONG
        if gaps.long > LEARNED:
            gaps.count, gaps.long, gaps.excess = gaps.count / 2.0, gaps.long / 2.0, gaps.excess / 2.0


def together(gaps: Gaps) -> None:
    """Learns of a document that came at the moment of the one before, with one look at a feed: it begins no gap."""
    gaps.stories -= gaps.stories / LATEST


def due(expected: Callable[[float], float], since: float, wanted: float) -> float | None:
    """When ``expected``, the items that were expected from ``since`` to a time, comes to ``wanted``; None where it does
    not within LONGEST. The same to the last digit however often it is asked."""
    low, high = since, since + LONGEST
    if expected(high) < wanted:
        return None
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if expected(middle) >= wanted else (middle, high)
    return high


def ring(
    rule: SilenceRule, key: str, quiet: Quiet, at: float, mean: float, usual: Usual, wanted: float
) -> EpisodeEvent:
    """The beginning of a silence at ``at``, where ``mean`` were expected since the last item."""
    quiet.episodes += 1
    score = -math.log(probability(mean, quiet.gaps, usual.spread))
    quiet.alarm = Alarm(rule.id, quiet.last, at, mean, score, -math.log(wanted), usual.spread, usual.span)
    return _event(key, quiet, quiet.alarm, "firing", at)


def came(key: str, quiet: Quiet, at: float, mean: float) -> EpisodeEvent | None:
    """An item during a silence; ``mean``: items that were expected since the latest one. The end of it, once the volume
    is back: decided between half the usual rate and a twentieth of it, at odds of 20."""
    alarm = quiet.alarm
    if alarm is None:
        return None
    fallen = (BACK - GONE) * mean if alarm.returned is not None else 0.0
    alarm.doubt = max(0.0, alarm.doubt - fallen) + math.log(BACK / GONE)
    alarm.returned = at
    return close(key, quiet, at, "back") if alarm.doubt >= CERTAIN else None


def close(key: str, quiet: Quiet, at: float, reason: Reason) -> EpisodeEvent | None:
    """Ends an open alert."""
    alarm, quiet.alarm = quiet.alarm, None
    return None if alarm is None else _event(key, quiet, alarm, "resolved", at, reason)


def _event(key: str, quiet: Quiet, alarm: Alarm, kind: Kind, at: float, reason: Reason | None = None) -> EpisodeEvent:
    variance = alarm.expected * (1.0 + alarm.spread * alarm.expected)
    return EpisodeEvent(
        kind=kind,
        key=key,
        episode=quiet.episodes,
        opened_by=f"silence since {alarm.since:.3f}",
        opened_at=alarm.opened_at,
        at=at,
        since=alarm.since,
        sequence=int(kind == "resolved"),
        score=alarm.score,
        threshold=alarm.threshold,
        observed=0.0,
        others=0.0,
        expected=alarm.expected,
        expected_low=gamma_quantile(alarm.expected, variance, -1.645),
        expected_high=gamma_quantile(alarm.expected, variance, 1.645),
        stories=0,
        publishers=0,
        share=0.0,
        usual_share=0.0,
        baseline_span=alarm.span,
        severity="warning",
        excess=-alarm.expected,
        excess_low=0.0,
        reason=reason,
    )
