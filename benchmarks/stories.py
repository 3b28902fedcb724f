"""How well a similarity tells a news item told twice from a near miss: the story pairs, phenomenon by phenomenon.

    python -m benchmarks.stories [--model FOLDER] [--seed 7]

--model: also the cosine of the story embedding of this model.

Area under the ROC curve: the chance that a pair which tells one item is more similar than one which does not (Hanley
and McNeil 1982), equals half each, with the 95 % interval of a bootstrap over the pairs of either label. A phenomenon's
area is that of its pairs against all pairs of the other label. `joined` is the share of its pairs that are folded
today: those whose P(same story) by the signature, told at one time, makes one item of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.classifier import load, scoring_text
from models.stories import PHENOMENA, Pair, pairs
from pipelines.signatures import p_same, signature, similarity
from pipelines.stories import SAME

Similarity = Callable[[Sequence[Pair]], Sequence[float]]
DRAWS = 2_000


def by_signature(of: Sequence[Pair]) -> list[float]:
    """What the stage of scores tells stories by: Jaccard similarity of hashed stems of content words."""
    return [similarity(signature(pair.first), signature(pair.second)) for pair in of]


def by_words(of: Sequence[Pair]) -> list[float]:
    """Jaccard similarity of the words as they are written, but for case."""
    sets = [(set(pair.first.casefold().split()), set(pair.second.casefold().split())) for pair in of]
    return [len(first & second) / len(first | second) for first, second in sets]


SIMILARITIES: dict[str, Similarity] = {"signature": by_signature, "words": by_words}


def by_embedding(name: str) -> Similarity:
    """Cosine of the story embeddings of a model, a shipped one's name or a folder."""
    classifier = load(name)
    if classifier.card.story is None:
        raise SystemExit(f"--model {name}: {classifier.name} has no head for stories; name a model that has one")

    def cosines(of: Sequence[Pair]) -> list[float]:
        texts = [scoring_text(text) for pair in of for text in (pair.first, pair.second)]
        marks = [answer.story or b"" for answer in classifier.predict(texts, story=True)]
        vectors = np.frombuffer(b"".join(marks), np.int8).astype(float).reshape(len(of), 2, -1)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        similar: list[float] = (vectors[:, 0] * vectors[:, 1]).sum(1).tolist()
        return similar

    return cosines


class Figures(NamedTuple):
    """Of one similarity. ``by_phenomenon``: areas in the order of PHENOMENA."""

    area: float
    interval: tuple[float, float]
    f1: float
    cut: float
    """The similarity from which F1 is best."""
    by_phenomenon: dict[str, float]


def measure(of: Sequence[Pair], similarities: Mapping[str, Similarity], seed: int) -> dict[str, Figures]:
    same = np.array([pair.same for pair in of])
    names = np.array([pair.phenomenon for pair in of])
    found = {}
    for name, judge in similarities.items():
        values = np.asarray(judge(of), float)
        # [same pairs, different pairs]: 1 where the same one is more similar, a half where both are alike
        wins = np.sign(values[same][:, None] - values[~same][None, :]) / 2 + 0.5
        areas = {
            one: float(wins[names[same] == one].mean() if label == "same" else wins[:, names[~same] == one].mean())
            for one, label in PHENOMENA.items()
        }
        f1, cut = best_f1(values, same)
        found[name] = Figures(float(wins.mean()), bootstrap(wins, seed), f1, cut, areas)
    return found


def bootstrap(wins: Any, seed: int) -> tuple[float, float]:
    """The 2.5 and 97.5 % points of the area over draws of the pairs with replacement, each label for itself."""
    random = np.random.default_rng(seed)
    rows, columns = (random.multinomial(n, np.full(n, 1 / n), DRAWS) / n for n in wins.shape)
    low, high = np.quantile(((rows @ wins) * columns).sum(1), (0.025, 0.975))
    return float(low), float(high)


def best_f1(values: Any, same: Any) -> tuple[float, float]:
    """Best F1 of "same from this similarity on", and that similarity."""
    scores = [(2 * (same & (values >= cut)).sum() / (same.sum() + (values >= cut).sum()), cut) for cut in set(values)]
    f1, cut = max(scores)
    return float(f1), float(cut)


def joined(of: Sequence[Pair]) -> dict[str, float]:
    """Share of each phenomenon's pairs whose second text would join the first one's story."""
    told = [p_same(jaccard) >= SAME for jaccard in by_signature(of)]
    return {
        one: float(np.mean([yes for pair, yes in zip(of, told, strict=True) if pair.phenomenon == one]))
        for one in PHENOMENA
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a shipped model's name or a folder")
    parser.add_argument("--seed", type=int, default=7, help="of the bootstrap")
    arguments = parser.parse_args()
    similarities = dict(SIMILARITIES)
    if arguments.model:
        similarities["embedding"] = by_embedding(arguments.model)
    of = pairs()
    figures = measure(of, similarities, arguments.seed)
    folded = joined(of)
    print(f"{sum(pair.same for pair in of)} pairs of one item, {sum(not pair.same for pair in of)} near misses\n")
    for name, one in figures.items():
        low, high = one.interval
        print(f"{name}: area {one.area:.3f} ({low:.3f} to {high:.3f}), best F1 {one.f1:.3f} from {one.cut:.3f} on")
    for label in ("same", "different"):
        print(f"\n| {label} | n | joined | {' | '.join(figures)} |\n|---|---|---|{'---|' * len(figures)}")
        for name in [name for name, known in PHENOMENA.items() if known == label]:
            areas = " | ".join(f"{one.by_phenomenon[name]:.2f}" for one in figures.values())
            print(f"| `{name}` | {sum(pair.phenomenon == name for pair in of)} | {folded[name]:.2f} | {areas} |")


if __name__ == "__main__":
    main()
