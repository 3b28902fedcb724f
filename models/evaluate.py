"""How good a classifier is on labelled texts: accuracy, macro F1, calibration. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.heads import logistic

BINS = 15


def report(probabilities: Sequence[Sequence[float]], truth: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """n, accuracy, its 95 % interval, macro_f1, per_class, ece (15 equal bins of confidence), nll, the confusion matrix
    (rows: truth, columns: judgement), and what ``reliability`` and ``coverage`` say."""
    p = np.asarray(probabilities, float).reshape(len(truth), len(labels))
    y = np.asarray(truth, int)
    judged = p.argmax(1)
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (y, judged), 1)
    per_class = {}
    for place, label in enumerate(labels):
        hits = int(confusion[place, place])
        precision = hits / max(1, int(confusion[:, place].sum()))
        recall = hits / max(1, int(confusion[place].sum()))
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        per_class[label] = {
            "n": int(confusion[place].sum()),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "f1": round(f1, 4),
        }
    present = [figures["f1"] for figures in per_class.values() if figures["n"]]
    return {
        "n": len(y),
        "accuracy": round(float((judged == y).mean()), 4) if len(y) else 0.0,
        "interval": wilson(int((judged == y).sum()), len(y)),
        "macro_f1": round(float(np.mean(present)), 4) if present else 0.0,
        "per_class": per_class,
        "ece": round(calibration_error(p, y), 4),
        "nll": round(float(-np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1)).mean()), 4) if len(y) else 0.0,
        "confusion": confusion.tolist(),
        "reliability": reliability(p, y),
        "coverage": coverage(p, y),
    }


def wilson(hits: int, n: int) -> list[float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not n:
        return [0.0, 1.0]
    z = 1.959964
    middle, half = hits + z * z / 2, z * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
    return [round((middle - half) / (n + z * z), 4), round((middle + half) / (n + z * z), 4)]


def reliability(p: Any, y: Any) -> list[list[float]]:
    """For each bin of confidence that has texts: their number, mean confidence and accuracy."""
    confidence, right = p.max(1), p.argmax(1) == y
    bins = _bins(confidence)
    within = [bins == one for one in np.unique(bins)]
    return [
        [int(one.sum()), round(float(confidence[one].mean()), 4), round(float(right[one].mean()), 4)] for one in within
    ]


def coverage(p: Any, y: Any) -> list[list[float]]:
    """For thresholds of confidence from 0 to .95: threshold, share of texts at or above it, accuracy on them."""
    confidence, right = p.max(1), p.argmax(1) == y
    found = []
    for threshold in (round(0.05 * step, 2) for step in range(20)):
        kept = confidence >= threshold
        if kept.any():
            found.append([threshold, round(float(kept.mean()), 4), round(float(right[kept].mean()), 4)])
    return found


def _bins(confidence: Any) -> Any:
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def calibration_error(p: Any, y: Any) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over bins (Naeini et al. 2015)."""
    if not len(y):
        return 0.0
    confidence, right = p.max(1), p.argmax(1) == y
    bins = _bins(confidence)
    gaps = [
        (bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean())
        for b in range(BINS)
        if (bins == b).any()
    ]
    return float(sum(gaps))


def temperature(logits: Any, y: Any) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017), to a hundredth."""
    y = np.asarray(y, int)

    def nll(t: float) -> float:
        scaled = logits / t
        top = scaled.max(1, keepdims=True)
        norm = np.log(np.exp(scaled - top).sum(1)) + top[:, 0]
        return float((norm - scaled[np.arange(len(y)), y]).mean())

    return float(min((round(0.5 + 0.01 * step, 2) for step in range(251)), key=nll))


def binary_report(probabilities: Any, truth: Any, threshold: float = 0.5) -> dict[str, Any]:
    """Of [texts] probabilities and 0 or 1: n, positives, precision, recall, f1 at ``threshold``; average precision, ROC
    AUC, ece, nll."""
    p, y = np.asarray(probabilities, float), np.asarray(truth, int)
    called = p >= threshold
    hits, positives = int((called & (y == 1)).sum()), int(y.sum())
    precision, recall = hits / max(1, int(called.sum())), hits / max(1, positives)
    clipped = np.clip(np.where(y == 1, p, 1 - p), 1e-12, 1)
    return {
        "n": len(y),
        "positives": positives,
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / (precision + recall), 4) if hits else 0.0,
        "average_precision": round(average_precision(p, y), 4),
        "auc": round(auc(p, y), 4),
        "ece": round(calibration_error(np.stack([1 - p, p], 1), y), 4) if len(y) else 0.0,
        "nll": round(float(-np.log(clipped).mean()), 4) if len(y) else 0.0,
    }


def average_precision(p: Any, y: Any) -> float:
    """The mean of the precision at every positive, the most probable first."""
    ranked = np.asarray(y)[np.argsort(-np.asarray(p), kind="stable")]
    if not ranked.any():
        return 0.0
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked == 1].mean())


def auc(p: Any, y: Any) -> float:
    """Probability that a positive is above a negative, ties counting half (the Mann-Whitney statistic)."""
    p, y = np.asarray(p, float), np.asarray(y, int)
    positives = int(y.sum())
    if not 0 < positives < len(y):
        return 0.5
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(y) - positives)))


def platt(logits: Any, truth: Any, weights: Any = None, steps: int = 100) -> tuple[float, float]:
    """(slope, offset) of the sigmoid of least log-loss (Platt 1999, with his softened targets).

    By Newton's method whose steps are halved until they help (Lin, Lin and Weng 2007). ``weights``: for how many each
    row stands, their sum the number of rows; None for one each.
    """
    x, y = np.asarray(logits, float), np.asarray(truth, int)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    positives = float((w * y).sum())
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (len(y) - positives + 2))
    design = np.stack([x, np.ones_like(x)], 1)

    def loss(of: Any) -> float:
        z = design @ of
        return float((w * (np.logaddexp(0, z) - target * z)).sum())

    beta = np.array([0.0, _odds((positives + 1) / (len(y) + 2))])
    for _ in range(steps):
        p = logistic(design @ beta, 1.0, 0.0)
        hessian = (design * (w * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (w * (p - target)))
        share = 1.0
        while share > 1e-6 and loss(beta - share * step) > loss(beta):
            share /= 2
        beta = beta - share * step
        if np.abs(share * step).max() < 1e-9:
            break
    return round(float(beta[0]), 4), round(float(beta[1]), 4)


def shift(probabilities: Any, prior: float, steps: int = 1_000) -> float:
    """What to add to the log-odds of probabilities that were calibrated where the share of positives was ``prior``.

    The share among these texts is estimated by expectation maximisation (Saerens, Latinne and Decaestecker 2002).
    """
    p = np.clip(np.asarray(probabilities, float), 1e-9, 1 - 1e-9)
    logits, share = np.log(p / (1 - p)), prior
    for _ in range(steps):
        moved = float(logistic(logits, 1.0, _odds(share) - _odds(prior)).mean())
        if abs(moved - share) < 1e-9:
            break
        share = min(max(moved, 1e-6), 1 - 1e-6)
    return _odds(share) - _odds(prior)


def best_threshold(probabilities: Any, truth: Any) -> float:
    """The threshold of the best F1, to a hundredth."""
    p, y = np.asarray(probabilities, float), np.asarray(truth, int)

    def f1(threshold: float) -> float:
        called = p >= threshold
        return 2 * float((called & (y == 1)).sum()) / max(1, int(called.sum() + y.sum()))

    return max((round(0.2 + 0.01 * step, 2) for step in range(61)), key=f1)


def _odds(share: float) -> float:
    return float(np.log(share / (1 - share)))
