"""Rules over counts: the usual ones, those of disease surveillance, and what peers document.

A rule gives its score for each key and period; its threshold is matched later. The last period is never part of its own
baseline. Where nothing came so far, one item in the baseline's time is taken for granted: else the first item of a key
would be infinitely unusual.

Sources: EARS C2, Hutwagner et al. 2003; the median absolute deviation, Iglewicz and Hoaglin 1993; TwitInfo, Marcus et
al. 2011; Farrington et al. 1996 and Noufaily et al. 2013.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alerts.baseline import DAY, HOUR, WEEK
from benchmarks.detectors.counts import Counts, before, past
from benchmarks.detectors.scores import Floats

Rule = Callable[[Counts], Floats]

SHARE_Z = 2.0
"""Normal deviate by which the bad share must exceed that of the last week, for rules that test it."""


def window(counts: Counts) -> int:
    """Periods of the window that rules made for daily counts compare: an hour of posts, a day of news."""
    return counts.periods(HOUR if counts.world.social else DAY)


def mean_sigma(counts: Counts) -> Floats:
    """Standard deviations of the last period's bad items above the mean of a day's periods."""
    day = counts.periods(DAY)
    mean = past(counts.bad, day, 1) / day
    variance = past(counts.bad**2, day, 1) / day - mean**2
    return np.asarray((counts.bad - mean) / np.sqrt(np.maximum(variance, 1 / day)))


def mean_sigma_gated(counts: Counts) -> Floats:
    """The same, of at least 5 posts or 3 stories, and only where their share is above the last week's."""
    week = counts.periods(WEEK)
    share = (past(counts.bad, week, 1) + 1) / (past(counts.every, week, 1) + 4)
    z = (counts.bad - counts.every * share) / np.sqrt(np.maximum(counts.every * share * (1 - share), 1e-9))
    enough = counts.bad >= (5 if counts.world.social else 3)
    return np.where(enough & (z >= SHARE_Z), mean_sigma(counts), 0.0)


def ears_c2(counts: Counts) -> Floats:
    """Standard deviations above the mean of seven days' windows at the same time of day, two days left out between."""
    now = past(counts.bad, window(counts))
    day = counts.periods(DAY)
    former = np.stack([before(now, lag * day) for lag in range(3, 10)])
    return np.asarray((now - former.mean(0)) / np.maximum(former.std(0, ddof=1), 0.2))


def mad(counts: Counts) -> Floats:
    """Robust deviations above the median of the last 28 windows."""
    size = window(counts)
    now = past(counts.bad, size)
    scores = np.zeros_like(now)
    for key in range(len(now)):
        former = np.stack([before(now[key], lag * size) for lag in range(1, 29)])
        median = np.median(former, axis=0)
        scores[key] = 0.6745 * (now[key] - median) / np.maximum(np.median(np.abs(former - median), axis=0), 0.5)
    return scores


def twitinfo(counts: Counts) -> Floats:
    """Mean deviations of a rising count above a moving mean, both forgetting an eighth each period."""
    mean, deviation = counts.bad[:, 0].copy(), np.ones(len(counts.bad))
    scores, last = np.zeros_like(counts.bad), counts.bad[:, 0]
    for period in range(1, counts.bad.shape[1]):
        now = counts.bad[:, period]
        apart = np.abs(now - mean)
        scores[:, period] = np.where(now > last, (now - mean) / np.maximum(deviation, 0.05), 0.0)
        deviation += 0.125 * (apart - deviation)
        mean += 0.125 * (now - mean)
        last = now
    return scores


def farrington(counts: Counts) -> Floats:
    """Overdispersed Poisson deviations on the 2/3 power scale above the same time of former days or weeks.

    Reference windows that are themselves outbreaks are drawn in to 2.58 deviations.
    """
    now = past(counts.bad, window(counts))
    if counts.world.social:
        lags = [day * DAY + off for day in range(1, 14) for off in (-HOUR, 0.0, HOUR)]
    else:
        lags = [week * WEEK + off for week in range(1, 9) for off in (-DAY, 0.0, DAY)]
    scores = np.zeros_like(now)
    for key in range(len(now)):
        former = np.stack([before(now[key], counts.periods(lag)) for lag in lags])
        mean = np.maximum(former.mean(0), 1 / len(lags))
        former = np.minimum(former, mean + 2.58 * np.maximum(former.std(0), np.sqrt(mean)))
        mean = np.maximum(former.mean(0), 1 / len(lags))
        spread = np.maximum(former.var(0) / mean, 1.0)
        error = 2 / 3 * mean ** (-1 / 3) * np.sqrt(spread * mean * (1 + 1 / len(lags)))
        scores[key] = (np.maximum(now[key], 0) ** (2 / 3) - mean ** (2 / 3)) / error
    return scores


def worldmonitor(counts: Counts) -> Floats:
    """Multiple of a week's mean by two hours with at least 5 bad items, of news from at least two publishers."""
    two, week = counts.periods(2 * HOUR), counts.periods(WEEK)
    now = past(counts.bad, two)
    usual = np.maximum(past(counts.bad, week, two), 1.0) * two / week
    enough = now >= 5
    if not counts.world.social:
        enough &= (past(counts.told, two) > 0.5).sum(0) >= 2
    return np.where(enough, now / usual, 0.0)


def meltwater(counts: Counts) -> Floats:
    """The larger multiple: the last hour over that of the twelve before, the last day over that of the 14 before."""
    hour, day = counts.periods(HOUR), counts.periods(DAY)
    short = past(counts.bad, hour) / np.maximum(past(counts.bad, 12 * hour, hour) / 12, 1 / 12)
    long = past(counts.bad, day) / np.maximum(past(counts.bad, 14 * day, day) / 14, 1 / 14)
    return np.maximum(short, long)


def socialmetrix(counts: Counts) -> Floats:
    """Standard deviations of a week's hourly counts by which the mean of the last day exceeds the week's; each hour."""
    hour = counts.periods(HOUR)
    hourly = past(counts.bad, hour)[:, hour - 1 :: hour]
    mean = past(hourly, 168) / 168
    sd = np.sqrt(np.maximum(past(hourly**2, 168) / 168 - mean**2, 1 / 168))
    score = (past(hourly, 24) / 24 - mean) / sd
    whole = np.full_like(counts.bad, -np.inf)
    whole[:, hour - 1 :: hour] = score
    return whole


RULES: dict[str, Rule] = {
    "mean of a day + kσ": mean_sigma,
    "mean + kσ, least count, share test": mean_sigma_gated,
    "EARS C2": ears_c2,
    "MAD z-score": mad,
    "TwitInfo": twitinfo,
    "Farrington-like": farrington,
    "worldmonitor's rule": worldmonitor,
    "Meltwater's rule": meltwater,
    "Socialmetrix's rule": socialmetrix,
}
