"""What dashboards draw of the watched keys, set by the read model as it reads the log.

Only watched keys have series, so that their number follows from the settings; a key that is watched no longer takes
its series along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter

from prometheus_client import Gauge

from alerts.episode import SEVERITIES
from alerts.spike import combine
from pipelines.documents import SeriesPoint
from pipelines.watch import Watch

WATCHED = Gauge(
    "tapewatch_watched_key_info", "1 for each watched key and watch-list that it is on.", ["key", "name", "watchlist"]
)
SENTIMENT = Gauge(
    "tapewatch_sentiment_index", "Novelty-weighted mean of p_positive - p_negative, half-life 24 h.", ["key"]
)
STORIES = Gauge("tapewatch_negative_stories", "Bad evidence in a key's current block.", ["key", "class"])
EXPECTED = Gauge(
    "tapewatch_negative_stories_expected", "Bad evidence expected in a key's current block.", ["key", "class"]
)
LOW = Gauge(
    "tapewatch_negative_stories_expected_low", "Lower end of the 90 % interval of what is expected.", ["key", "class"]
)
HIGH = Gauge(
    "tapewatch_negative_stories_expected_high", "Upper end of the 90 % interval of what is expected.", ["key", "class"]
)
SPAN = Gauge("tapewatch_baseline_span_seconds", "History that a key's expectation rests on.", ["key", "class"])
SCORE = Gauge("tapewatch_spike_score", "How seldom chance brings so much evidence, as a logarithm.", ["key"])
THRESHOLD = Gauge("tapewatch_spike_threshold", "The score at which a key rings.", ["key"])
FIRING = Gauge("tapewatch_alert_firing", "1 while a key's alert is firing.", ["key", "severity"])

BY_CLASS: dict[Gauge, Callable[[SeriesPoint], float]] = {
    STORIES: attrgetter("bad"),
    EXPECTED: attrgetter("expected"),
    LOW: attrgetter("expected_low"),
    HIGH: attrgetter("expected_high"),
    SPAN: attrgetter("baseline_span"),
}
"""What a block says of its key and class."""
_BY_KEY = (SENTIMENT, SCORE, THRESHOLD)


def combined(scores: Mapping[str, float]) -> float:
    """A key's score, from those of its classes."""
    return combine(list(scores.values()))


class KeyGauges:
    """The gauges of one read model."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._scores: dict[str, dict[str, float]] = {}
        self._show_watched()

    def adopt(self, watch: Watch) -> None:
        """Takes over new watch-lists, and the series of what is watched no longer away."""
        for key in set(self._watch.keys) - set(watch.keys):
            for class_ in self._scores.pop(key, {}):
                for gauge in BY_CLASS:
                    gauge.remove(key, class_)
            for gauge in _BY_KEY:
                gauge.remove(key)
            for severity in SEVERITIES:
                FIRING.remove(key, severity)
        self._watch = watch
        self._show_watched()

    def point(self, point: SeriesPoint) -> None:
        """A block of a key and class, the latest."""
        if point.key not in self._watch.keys:
            return
        for gauge, figure in BY_CLASS.items():
            gauge.labels(point.key, point.class_).set(figure(point))
        scores = self._scores.setdefault(point.key, {})
        scores[point.class_] = point.score
        SCORE.labels(point.key).set(combined(scores))
        THRESHOLD.labels(point.key).set(point.threshold)

    def mood(self, key: str, index: float) -> None:
        if key in self._watch.keys:
            SENTIMENT.labels(key).set(index)

    def alert(self, key: str, severity: str | None) -> None:
        """How a key's alert stands; None when it is over. Then its score is, too: it would else stand as it was until
        the key's next document."""
        if severity is None and key in self._scores:
            self._scores[key] = dict.fromkeys(self._scores[key], 0.0)
            SCORE.labels(key).set(0.0)
        if key in self._watch.keys:
            for one in SEVERITIES:
                FIRING.labels(key, one).set(one == severity)

    def _show_watched(self) -> None:
        WATCHED.clear()
        for key, watched in self._watch.keys.items():
            for name in watched.watchlists or ("",):
                WATCHED.labels(key, watched.name, name).set(1)
