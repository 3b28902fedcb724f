"""How good a classifier is on labelled texts: accuracy, macro F1, calibration. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 15


def report(probabilities: Sequence[Sequence[float]], truth: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """n, accuracy, macro_f1, per_class, ece (15 equal bins of confidence), nll and the confusion matrix
    (rows: truth, columns: judgement)."""
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
        "macro_f1": round(float(np.mean(present)), 4) if present else 0.0,
        "per_class": per_class,
        "ece": round(calibration_error(p, y), 4),
        "nll": round(float(-np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1)).mean()), 4) if len(y) else 0.0,
        "confusion": confusion.tolist(),
    }


def calibration_error(p: Any, y: Any) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over bins (Naeini et al. 2015)."""
    if not len(y):
        return 0.0
    confidence, right = p.max(1), p.argmax(1) == y
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
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
