"""Draws what a model's card says of its valid parts: calibration, coverage and confusion.

``python -m benchmarks.card [MODEL]`` writes docs/images/model-MODEL.png from the card alone, without data or a pass.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from models import card as cards
from models.card import Card

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DRAWN = {
    "sentiment_twitter": "tweets, sentiment",
    "sentiment_sentfin": "headlines, sentiment",
    "entity_sentiment_sentfin": "headlines, toward companies",
    "topic_twitter": "tweets, topic",
}
COLOURS = ("#3274d9", "#c8342f", "#3a9c4f", "#e07b28")
FEWEST = 10
"""Texts of a bin that is drawn."""


def draw(card: Card, path: Path) -> None:
    sets = {name: figures for name, figures in card.evaluation["sets"].items() if name in DRAWN}
    if not all("reliability" in figures for figures in sets.values()):
        raise SystemExit(f"the card of {card.name} is older than what is drawn here: export the model again")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 3, figsize=(13, 8.4), facecolor="white", layout="constrained")
    _reliability(axes[0, 0], sets)
    _coverage(axes[0, 1], sets, card)
    _confusion(axes[1, 0], sets["sentiment_twitter"], card.sentiment.labels, DRAWN["sentiment_twitter"])
    _confusion(axes[0, 2], sets["sentiment_sentfin"], card.sentiment.labels, DRAWN["sentiment_sentfin"])
    _confusion(axes[1, 1], sets["entity_sentiment_sentfin"], card.sentiment.labels, DRAWN["entity_sentiment_sentfin"])
    _confusion(axes[1, 2], sets["topic_twitter"], card.topic.labels, DRAWN["topic_twitter"])
    figure.suptitle(f"{card.name} {card.version}, int8, on the valid parts", fontsize=12, fontweight="bold")
    figure.savefig(path, dpi=95)
    plt.close(figure)


def _reliability(axes: Any, sets: dict[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
    for colour, (name, figures) in zip(COLOURS, sets.items(), strict=False):
        bins = np.array([one for one in figures["reliability"] if one[0] >= FEWEST])
        spread = 1.96 * np.sqrt(np.clip(bins[:, 2] * (1 - bins[:, 2]), 0.01, None) / bins[:, 0])
        label = f"{DRAWN[name]}: ECE {figures['ece']:.3f}"
        axes.errorbar(
            bins[:, 1], bins[:, 2], yerr=spread, color=colour, marker="o", markersize=3, linewidth=1, label=label
        )
    axes.set(xlabel="confidence (mean of a bin)", ylabel="accuracy", xlim=(0.25, 1.01), ylim=(0.0, 1.04))
    axes.set_title("is it as sure as it is right?", loc="left")
    axes.legend(frameon=False, fontsize=8)


def _coverage(axes: Any, sets: dict[str, Any], card: Card) -> None:
    for colour, (name, figures) in zip(COLOURS, sets.items(), strict=False):
        thresholds, share, accuracy = np.array(figures["coverage"]).T
        axes.plot(share, accuracy, color=colour, linewidth=1.4, label=DRAWN[name])
        head = card.topic if name.startswith("topic") else card.sentiment
        at = int(np.abs(thresholds - head.abstain_below).argmin())
        axes.plot(share[at], accuracy[at], "o", color=colour, markersize=6)
    axes.set(xlabel="share of texts that are answered", ylabel="accuracy on them")
    axes.set_title("what abstaining is worth (dot: where it abstains)", loc="left")
    axes.legend(frameon=False, fontsize=8)


def _confusion(axes: Any, figures: dict[str, Any], labels: tuple[str, ...], title: str) -> None:
    table = np.array(figures["confusion"], float)
    shares = table / np.clip(table.sum(1, keepdims=True), 1, None)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    small = len(labels) > 5
    axes.set_xticks(places, labels, rotation=90 if small else 0, fontsize=6 if small else 8)
    axes.set_yticks(places, labels, fontsize=6 if small else 8)
    for row, column in np.ndindex(table.shape):
        if table[row, column] and (not small or shares[row, column] >= 0.05):
            shade = "white" if shares[row, column] > 0.55 else "#333"
            text = f"{shares[row, column]:.2f}".lstrip("0") if small else f"{int(table[row, column])}"
            axes.text(column, row, text, ha="center", va="center", fontsize=5 if small else 9, color=shade)
    axes.set_title(f"{title}: {figures['accuracy']:.3f} of {figures['n']:,}", loc="left")
    axes.set(xlabel="judged", ylabel="labelled")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description=__doc__)
    parser.add_argument("model", nargs="?", default="default", help="name or folder of a model")
    name = parser.parse_args().model
    card = cards.verify(cards.folder_of(name))
    draw(card, IMAGES / f"model-{card.name}.png")


if __name__ == "__main__":
    main()
