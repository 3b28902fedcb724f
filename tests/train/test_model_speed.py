"""What `make bench-model` compares, on a tiny model: that all of it judges the same texts, and how ratios are told."""

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_encoder import BAD, NAMES
from tests.train.test_finetune import untrained

pytestmark = pytest.mark.train

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXTS = [" ".join([NAMES[i % 6], *BAD[: 1 + i % 5]]) for i in range(40)]


def test_every_contender_judges_each_text(tmp_path: Path) -> None:
    from benchmarks import model_speed

    model = str(untrained(tmp_path / "model", tmp_path, smooth=False))
    classifier, own = model_speed.own(model)
    others = [*model_speed.graphs(model, tmp_path), *model_speed.pipelines(model, SMALL)]
    answers = {one.name: one.run(TEXTS) for one in (*own, *others)}
    assert {name: len(found) for name, found in answers.items()} == dict.fromkeys(answers, len(TEXTS))
    five, two = answers["five heads"], answers["labels"]
    assert all(one.risk and one.story and len(one.mentions) == 1 for one in five)
    assert not any(one.risk or one.story or one.mentions for one in two)
    assert [one.sentiment for one in five] == [one.sentiment for one in two]
    for name in ("fp32", "dynamic int8"):
        assert np.allclose([one.topic for one in two], [one.topic for one in answers[name]], atol=0.02), name
        assert [one.topic for one in two] != [one.topic for one in answers[name]]
    # Of each layer queries, keys, values and what follows them: 32 x 96, 32 x 32, 32 x 64 and 64 x 32, for 4 tokens.
    assert model_speed.operations(model, classifier, ["acme slump"]) == 2 * 2 * 4 * (32 * 96 + 32 * 32 + 2 * 32 * 64)
    classifier.close()


def test_slow_ones_get_texts_of_the_same_lengths() -> None:
    from benchmarks.model_speed import thinned

    texts = ["x" * (1 + 7 * i % 100) for i in range(100)]
    few = thinned(texts, 10)
    assert sorted(map(len, few)) == [6, 16, 26, 36, 46, 56, 66, 76, 86, 96]
    assert few == [text for text in texts if text in few]


def test_ratios_are_of_one_round_and_reach_a_goal_or_not() -> None:
    from benchmarks.model_speed import GOALS, Contender, row, turns

    names = ("labels", "BERT-base, 3 labels", "BERT-base, 20 labels")
    judged: list[tuple[str, int]] = []
    contenders = [Contender(name, 4, lambda texts, name=name: judged.append((name, len(texts)))) for name in names]
    # Two rounds, of which the second finds the machine busy: everything takes twice as long.
    found = {"headlines": turns(contenders, ["text"] * 9, 2, clock=_clock(4, 80, 84, 8, 160, 176))}
    assert judged == [(name, 4) for name in names] * 3
    assert row(GOALS[0], found) == ("| two pipelines over a BERT-base | 41.50 (41.00–42.00) | ≥ 40 headlines | yes |")
    found["headlines"]["labels"] = [1.1, 2.2]
    assert row(GOALS[0], found).endswith("| ≥ 40 headlines | no |")
    assert row(GOALS[0], {"mix": found["headlines"]}).endswith("| – |")


def _clock(*durations: float) -> Callable[[], float]:
    """Reads at the start and the end of each turn that counts."""
    steps = accumulate(step for duration in durations for step in (0, duration))
    return lambda: next(steps)
