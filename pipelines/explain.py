"""Why the stories that an alert shows are bad news: the phrases of their headlines, searched while the alert is made.

An alert hardly waits for them: the search is on a thread of its own, the most telling stories first, and the alerts of
a batch leave when a short time is up, with what is found by then. It goes on behind them, for the next events of their
episodes show the same stories, until newer alerts want others. When many alerts come it is given up: a tenth of the
time is all that it ever takes for long. It asks the model that judged the story, and no other.
"""

from __future__ import annotations

import atexit
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import zip_longest
from threading import Condition, Thread

import structlog
from prometheus_client import Counter, Histogram

from alerts.exhibits import Exhibit, Why, headline, speaking
from models.classifier import Classifier
from models.occlusion import TooLong, carriers
from models.reading import Span, read
from pipelines import tally

log = structlog.get_logger(__name__)

EXPLAINED = Counter(
    "tapewatch_explained_stories_total",
    "Stories in alerts, by whether the phrases that make them bad news were searched, or why not.",
    ["outcome"],
)
SECONDS = Histogram(
    "tapewatch_explain_seconds",
    "Time for which the alerts of a batch waited for what explains their stories.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
for _outcome in ("explained", "model", "headline", "length", "time"):  # a rate needs the zero before the first
    EXPLAINED.labels(_outcome)

SHARE = 0.1
"""Of the time that passes, the part in which may be searched: in a storm of alerts the cores are the alerts'."""

SAVED = 10
"""Waits that may be saved up: with one of 100 ms some eight alerts are explained right after each other, of five
headlines each that take the ``default`` model 25 ms."""

LAST = 2.0
"""Seconds for which the process's end waits for the headline in hand: a pass that is cut off by it would abort it."""

KEPT = 1_024
"""Answers remembered: a company's alerts and those of its lists show the same stories, and so do later ones."""

Opener = Callable[[], Classifier]
"""Gives a model, which may have to be loaded. May raise ModelError."""

Key = tuple[str, bytes, tuple[Span, ...]]
"""What an answer depends on: the model, the headline, of which a hash is enough, and where the company stands in it."""


class Explainer:
    """``models``: those that may be asked, by their full names. ``within``: seconds that the alerts of a batch may
    wait; None where nobody waits for an alert. One thread uses it."""

    def __init__(self, models: Mapping[str, Opener], *, within: float | None) -> None:
        self._known: dict[Key, Why] = {}
        self._failed: set[Key] = set()
        """Those that a model failed at since the last batch: it may answer next time."""
        self._waiting: deque[tuple[Key, Exhibit]] = deque()
        self._working = False
        self._saved = math.inf if within is None else SAVED * within
        self._credit, self._settled = self._saved, time.monotonic()
        """Seconds of search that are left, and when."""
        self._changed = Condition()
        """Held by who reads or changes what both threads do."""
        self._within = within
        atexit.register(self.close)
        self.adopt(models)

    def adopt(self, models: Mapping[str, Opener]) -> None:
        """Takes over other models, and has them loaded: the first alert should find them ready."""
        self._models = models
        Thread(target=_open, args=(models,), name="open models").start()

    def search(self, alerts: Sequence[Sequence[Exhibit]]) -> None:
        """Looks for what explains these alerts, for as long as they may wait: the most telling story of each first."""
        ranks = zip_longest(*map(speaking, alerts))
        shown = {_key(one): one for rank in ranks for one in rank if one is not None and one.model in self._models}
        with self._changed:
            self._failed.clear()
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
            wanted = [(key, one) for key, one in shown.items() if key not in self._known]
            if not wanted:
                return
            self._waiting = deque(wanted)
            if not self._may():
                return
            if not self._working:
                self._working = True
                # As a daemon, for a model that stands still must not keep the process from ending.
                Thread(target=self._work, name="explain", daemon=True).start()
            started = time.monotonic()
            self._changed.wait_for(lambda: not self._working, self._within)
            SECONDS.observe(time.monotonic() - started)

    def explain(self, exhibits: Sequence[Exhibit]) -> dict[str, Why]:
        """By document the phrases that make a headline bad news, or why they aren't told; of those that are shown."""
        with self._changed:
            answers = {one.document: self._found(one) for one in speaking(exhibits)}
        for answer in answers.values():
            tally.inc(EXPLAINED.labels(answer if isinstance(answer, str) else "explained"))
        return answers

    def close(self) -> None:
        """Gives up what is still to be searched."""
        with self._changed:
            self._waiting.clear()
            self._changed.wait_for(lambda: not self._working, LAST)

    def _may(self) -> bool:
        """Whether there is time left to search in. It runs out while a search lasts, even if that stands still; but no
        further than it comes back by and by."""
        now = time.monotonic()
        credit = self._credit + (now - self._settled) * (SHARE - self._working)
        self._credit = min(self._saved, max(-self._saved, credit))
        self._settled = now
        return self._credit > 0.0

    def _found(self, one: Exhibit) -> Why:
        key = _key(one)
        return self._known.get(key, "model" if key in self._failed or one.model not in self._models else "time")

    def _work(self) -> None:
        while True:
            with self._changed:
                if not (self._may() and self._waiting):
                    self._working = False
                    self._changed.notify()
                    return
                key, one = self._waiting.popleft()
            answer = self._answer(one)
            with self._changed:
                if answer == "model":
                    self._failed.add(key)
                else:
                    self._known[key] = answer

    def _answer(self, one: Exhibit) -> Why:
        opener = self._models.get(one.model)
        if opener is None:
            return "model"
        try:
            phrases = _phrases(opener(), one)
        except TooLong:
            return "length"
        except Exception as error:  # a model may raise anything, and no alert may be lost for it
            log.warning("explain_failed", action="leave_out", model=one.model, document=one.document, error=str(error))
            return "model"
        return "headline" if phrases is None else phrases


def _open(models: Mapping[str, Opener]) -> None:
    for name, opener in models.items():
        try:
            opener()
        except Exception as error:  # as above; it is tried again when it is needed
            log.warning("model_not_opened", action="go_on", model=name, error=str(error))


def _phrases(classifier: Classifier, one: Exhibit) -> tuple[tuple[int, int, float], ...] | None:
    """As places in the headline as it is shown; None where the headline alone is no bad news."""
    shown = headline(one)
    reading = read(shown)
    # A headline of which something can't be shown has lost its places: it is taken as a whole.
    mentions = reading.spans(one.mentions) if shown == one.headline else ()
    phrases = carriers(classifier, reading.text, mentions)
    if phrases is None:
        return None
    return tuple((reading.title[start], reading.title[end - 1] + 1, weight) for start, end, weight in phrases)


def _key(one: Exhibit) -> Key:
    return one.model, blake2b(one.headline.encode("utf-8", "surrogatepass"), digest_size=16).digest(), one.mentions
