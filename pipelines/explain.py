"""Why the stories that an alert shows are bad news: the phrases of their headlines, searched while the alert is made.

The search never holds an alert up: all alerts of a batch share a budget of seconds, on a thread of its own. Whatever
goes wrong there, the alert leaves without and says so. It asks the model that judged the story, and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from threading import Event, Thread

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
    "Time for which an alert waited for what explains its stories.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
for _outcome in ("explained", "model", "headline", "length", "time"):  # a rate needs the zero before the first
    EXPLAINED.labels(_outcome)

BUDGET = 2.0
"""Seconds for all alerts of a batch."""

KEPT = 1_024
"""Answers remembered: a company's alerts and those of its lists show the same stories, and so do later ones."""

Opener = Callable[[], Classifier]
"""Gives a model, which may have to be loaded. May raise ModelError."""

Key = tuple[str, bytes, tuple[Span, ...]]
"""What an answer depends on: the model, the headline, of which a hash is enough, and where the company stands in it."""


class Explainer:
    """``models``: those that may be asked, by their full names. ``budget``: seconds; None where nobody waits for an
    alert. One thread uses it."""

    def __init__(self, models: Mapping[str, Opener], *, budget: float | None = BUDGET) -> None:
        self._budget = self._left = budget
        self._known: dict[Key, Why] = {}
        self._late: Thread | None = None
        """A search that outlasted its budget, and may still run."""
        self.adopt(models)

    def adopt(self, models: Mapping[str, Opener]) -> None:
        """Takes over other models, and has them loaded: the first alert should find them ready."""
        self._models = models
        Thread(target=_open, args=(models,), name="open models").start()

    def renew(self) -> None:
        """A new batch has a budget of its own."""
        self._left = self._budget

    def explain(self, exhibits: Sequence[Exhibit]) -> dict[str, Why]:
        """By document the phrases that make a headline bad news, or why they aren't told; of those that are shown."""
        shown = {one.document: one for one in speaking(exhibits)}
        known = {key: self._known[key] for one in shown.values() if (key := _key(one)) in self._known}
        found = self._search([one for one in shown.values() if _key(one) not in known])
        if len(self._known) > KEPT:
            self._known.clear()
        # A model that failed, or is not there, may answer next time.
        self._known |= {key: answer for key, answer in found.items() if answer != "model"}
        answers = {document: (known | found).get(_key(one), "time") for document, one in shown.items()}
        for answer in answers.values():
            tally.inc(EXPLAINED.labels(answer if isinstance(answer, str) else "explained"))
        return answers

    def _search(self, exhibits: Sequence[Exhibit]) -> dict[Key, Why]:
        """What is found within the budget."""
        spent = self._left is not None and self._left <= 0
        if not exhibits or spent or (self._late is not None and self._late.is_alive()):
            return {}
        found: dict[Key, Why] = {}
        enough = Event()
        # As a daemon, for a model that stands still must not keep the process from ending.
        self._late = Thread(target=self._work, args=(exhibits, found, enough), name="explain", daemon=True)
        started = time.monotonic()
        self._late.start()
        self._late.join(self._left)
        enough.set()
        took = time.monotonic() - started
        SECONDS.observe(took)
        if self._left is not None:
            self._left -= took
        return found.copy()

    def _work(self, exhibits: Sequence[Exhibit], found: dict[Key, Why], enough: Event) -> None:
        for one in exhibits:
            answer = self._answer(one)
            if enough.is_set():
                return
            found[_key(one)] = answer

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
