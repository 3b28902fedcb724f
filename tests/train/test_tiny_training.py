"""The training side on a tiny encoder and rows of our own: train, export, quantise, load, judge."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_encoder import NAMES, backbone, rows

pytestmark = pytest.mark.train


def happenings(count: int) -> list[Any]:
    """Texts with an adverse event for the first company and none for the second, and look-alikes."""
    from models.data import EVENTS, Mention, Row, indicators

    found = []
    for i in range(count):
        first, second = NAMES[i % 6], NAMES[(i + 1 + i // 6 % 5) % 6]
        word, kinds = (("probe", ("investigation",)), ("default", ("default",)), ("meet", ()), ("host", ()))[i % 4]
        text = f"{first} {word} {second} open"
        at = text.index(second, len(first))
        entities = (
            Mention(((0, len(first)),), risks=indicators(kinds)),
            Mention(((at, at + len(second)),), risks=indicators(())),
        )
        found.append(Row(text, None, None, EVENTS, indicators(kinds), entities))
    return found


def test_from_rows_to_a_verified_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models import train
    from models.assemble import assemble
    from models.classifier import load

    data = tmp_path / "data"
    data.mkdir()
    rows(data)
    recipe = {
        "epochs": 10,
        "rate": 3e-3,
        "second_rate": 1e-3,
        "head_factor": 2.0,
        "events": 80,
        "second_epochs": 6,
        "blend": 0.8,
        "moods": 0,
    }
    for name, value in recipe.items():
        monkeypatch.setattr(train.Recipe, name, value)
    folder, events = backbone(tmp_path / "backbone"), happenings(160)
    report = train.run(data, tmp_path / "run", folder=folder, teacher=folder, events=events)
    assert [row["stage"] for row in report["epochs"]][-2:] == ["news", "blend"]
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    out = tmp_path / "model"
    own = {"train": events, "valid": events[:60], "test": events[:40]}
    card = assemble(tmp_path / "run", data, out, "tiny", "1", events=own)
    figures = card.evaluation["sets"]
    assert figures["sentiment_twitter"]["accuracy"] >= 0.9, json.dumps(figures["sentiment_twitter"])
    assert figures["topic_twitter"]["accuracy"] >= 0.9
    assert figures["entity_sentiment_sentfin"]["accuracy"] >= 0.9
    assert figures["events"]["any"]["auc"] >= 0.9
    assert figures["events"]["mention"]["auc"] >= 0.9
    assert min(card.evaluation["int8_agreement"].values()) >= 0.9

    model = load(str(out))
    texts = ["acme slump today", "acme record today", "castellan oil"]
    together = model.predict(texts)
    assert [model.predict([text])[0] for text in texts] == together
    assert model.sentiments[int(np.argmax(together[0].sentiment))] == "negative"
    assert model.sentiments[int(np.argmax(together[1].sentiment))] == "positive"
    opposite = model.predict(["acme plunge nordane beat"], [[((0, 4),), ((12, 19),)]])[0]
    assert [model.sentiments[int(np.argmax(one.sentiment))] for one in opposite.mentions] == ["negative", "positive"]
    half_precision_says_the_same(out, tmp_path / "half.onnx")


def half_precision_says_the_same(folder: Path, target: Path) -> None:
    import onnxruntime as ort

    from models.export import fp16
    from models.figures import OUTPUTS

    fp16(folder, target)
    ids = np.array([[2, 4, 10, 22, 3]], np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    whole, half = (
        ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"]).run(list(OUTPUTS), feed)
        for graph in (folder / "model.onnx", target)
    )
    for name, a, b in zip(OUTPUTS, whole, half, strict=True):
        assert a.shape == b.shape and b.dtype == np.float32, name
        assert np.abs(a - b).max() < 0.1 * max(1.0, float(np.abs(a).max())), name
    assert int(whole[0].argmax()) == int(half[0].argmax())


def test_a_run_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import load_file

    from models import train

    data = tmp_path / "data"
    data.mkdir()
    rows(data)
    monkeypatch.setattr(train.Recipe, "epochs", 2)
    monkeypatch.setattr(train.Recipe, "events", 20)
    monkeypatch.setattr(train.Recipe, "second_epochs", 1)
    monkeypatch.setattr(train.Recipe, "moods", 0)
    folder, events = backbone(tmp_path / "backbone"), happenings(40)

    def run(name: str) -> dict[str, Any]:
        train.run(data, tmp_path / name, folder=folder, teacher=folder, events=events)
        return dict(load_file(tmp_path / name / "weights.safetensors"))

    whole, epoch, passes = run("whole"), train.Fit.epoch, []

    def breaks(self: Any, rows: Any, rng: Any, name: str) -> float:
        passes.append(name)
        if len(passes) == 2:
            raise KeyboardInterrupt
        return float(epoch(self, rows, rng, name))

    monkeypatch.setattr(train.Fit, "epoch", breaks)
    with pytest.raises(KeyboardInterrupt):
        run("broken")
    resumed = run("broken")
    assert passes == ["tweets 1", "tweets 2", "tweets 2", "news 3"]
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_data_that_is_wrong_is_named(tmp_path: Path) -> None:
    from models.data import DataError, load

    with pytest.raises(DataError, match="not found"):
        load(tmp_path, "sentiment_twitter", "train")
    (tmp_path / "sentiment_twitter.csv").write_text("split,text,label\ntrain,x,gloomy\n")
    with pytest.raises(DataError, match=r"line 2: label 'gloomy'"):
        load(tmp_path, "sentiment_twitter", "train")
