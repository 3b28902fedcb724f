"""What explaining a headline costs, and whether its phrases are what makes it bad news: over the challenge sets.

    python -m benchmarks.explain [--model default] [--chinese]

Of every headline that is bad news toward its first company the phrases are searched as for an alert, on one thread.
`fall` is by how much the badness falls without all of them, `at random` without as many other letters in as many places
(what DeYoung et al. 2020 call comprehensiveness); `cleared` is the share that is bad news no longer. Processor
milliseconds.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from statistics import fmean, quantiles
from typing import Any

from models.challenge import Headline, Post, chinese, headlines
from models.classifier import OnnxClassifier, load
from models.occlusion import Phrase, TooLong, carriers
from models.predictions import BAD, Prediction, bad_news
from models.reading import Span, spans_of


class Counted:
    """A classifier, and how many texts it was asked to judge."""

    def __init__(self, classifier: OnnxClassifier) -> None:
        self._classifier = classifier
        self.texts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def predict(self, texts: Sequence[str], *arguments: Any, **options: Any) -> list[Prediction]:
        self.texts += len(texts)
        return self._classifier.predict(texts, *arguments, **options)


def badness(classifier: OnnxClassifier, text: str, spans: Sequence[Span]) -> float:
    answer = classifier.predict([text], [[spans] if spans else []])[0]
    said = next((one for one in answer.mentions if one is not None), None) or answer
    negative = said.sentiment[classifier.sentiments.index("negative")]
    return bad_news(negative, said.risk.probability if said.risk is not None else 0.0)


def without(text: str, spans: Sequence[Span]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:].removeprefix(" ")
    return text


def others(phrases: Sequence[Phrase], text: str, named: Sequence[Span], rng: random.Random) -> list[Span]:
    """Spans of the phrases' lengths anywhere else, but not over the company."""
    found = []
    for start, end, _ in phrases:
        places = [
            (at, at + end - start)
            for at in range(len(text) - (end - start) + 1)
            if not any(at < last and at + end - start > first for first, last in [*named, *found])
        ]
        if places:
            found.append(rng.choice(places))
    return found


def measure(classifier: OnnxClassifier, lines: Sequence[Headline | Post]) -> None:
    rng = random.Random(7)
    costs, texts, falls, random_falls, marked = [], [], [], [], []
    cleared = empty = 0
    for line in lines:
        name = line.entities[0].name if line.entities else ""
        spans = line.entities[0].spans if line.entities else ()
        counted: Any = Counted(classifier)
        started = time.process_time()
        try:
            phrases = carriers(counted, line.text, spans)
        except TooLong as error:
            print(f"{line.text[:40]}…: {error}")
            continue
        if phrases is None:
            continue
        costs.append(1e3 * (time.process_time() - started))
        texts.append(counted.texts)
        empty += not phrases
        whole = badness(classifier, line.text, spans)
        for cuts, into in (
            ([(start, end) for start, end, _ in phrases], falls),
            (others(phrases, line.text, spans, rng), random_falls),
        ):
            rest = without(line.text, cuts)
            into.append(whole - badness(classifier, rest, spans_of(name, rest)))
        cleared += whole - falls[-1] < BAD
        marked.append(sum(end - start for start, end, _ in phrases) / len(line.text))
    cuts = quantiles(costs, n=100)
    print(f"{classifier.name}: {len(costs)} of {len(lines)} are bad news, {empty} without a phrase")
    print(f"processor ms a headline: mean {fmean(costs):.1f}, p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}")
    print(f"texts judged a headline: mean {fmean(texts):.0f}, most {max(texts)}")
    print(f"fall {fmean(falls):.3f}, at random {fmean(random_falls):.3f}, cleared {cleared / len(costs):.3f}")
    print(f"letters in phrases: {fmean(marked):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="default")
    parser.add_argument("--chinese", action="store_true", help="the Chinese challenge set")
    arguments = parser.parse_args()
    classifier = load(arguments.model, device="cpu", threads=1)
    measure(classifier, chinese() if arguments.chinese else headlines())


if __name__ == "__main__":
    main()
