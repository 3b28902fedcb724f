"""Figures of labelled texts, against values that were reckoned by hand."""

from __future__ import annotations

from typing import Any

import pytest

from models.evaluate import report, wilson

LABELS = ("down", "up")


def found(*pairs: tuple[float, int]) -> dict[str, Any]:
    """Of texts given by P(up) and the true label."""
    return report([[1 - p, p] for p, _ in pairs], [y for _, y in pairs], LABELS)


def test_confidence_and_accuracy_by_bin_and_by_threshold() -> None:
    seen = found((0.97, 1), (0.97, 1), (0.95, 0), (0.1, 0), (0.55, 0))
    assert seen["accuracy"] == 0.6 and seen["confusion"] == [[1, 2], [0, 2]]
    assert seen["reliability"] == [[1, 0.55, 0.0], [1, 0.9, 1.0], [3, 0.9633, 0.6667]]
    by_threshold = {threshold: (share, accuracy) for threshold, share, accuracy in seen["coverage"]}
    assert by_threshold[0.0] == (1.0, 0.6) and by_threshold[0.6] == (0.8, 0.75)
    assert by_threshold[0.95] == (0.6, 0.6667)
    assert seen["ece"] == pytest.approx(0.55 / 5 + 0.1 / 5 + (0.9633 - 0.6667) * 3 / 5, abs=1e-3)


def test_thresholds_that_no_text_reaches_are_left_out() -> None:
    assert [row[0] for row in found((0.52, 1))["coverage"]][-1] == 0.5


def test_the_interval_of_a_share() -> None:
    assert wilson(8, 10) == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert wilson(0, 20)[0] == 0.0 and wilson(20, 20)[1] == 1.0 and wilson(0, 0) == [0.0, 1.0]
