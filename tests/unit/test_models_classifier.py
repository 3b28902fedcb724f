"""The shipped model: the same to the bit in any batch, floors on the valid parts where the data is at hand."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from models import card as cards
from models import challenge, passes, risk
from models.classifier import ClassifierError, FakeClassifier, OnnxClassifier, load, scoring_text
from models.session import CPU, CUDA, DeviceError, check_device, feeds, half_precision

DATA = Path(os.environ.get("TAPEWATCH_DATA", Path(__file__).parents[3] / "shared" / "data" / "train"))

TEXTS = [
    "Shares plunge after a profit warning",
    "Record profit lifts shares to an all-time high",
    "Board meets on Tuesday",
    "",
    "x",
    "The quick rise of " * 60,
    "Öl fällt, 油价下跌, ราคาน้ำมัน",
    "$ACME - Acme cut at Broker & Sons",
    "🚀🚀🚀 to the moon",
]


@pytest.fixture(scope="module")
def classifier() -> OnnxClassifier:
    return load("default")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=40), st.data())
def test_a_text_is_judged_the_same_alone_and_in_any_batch(batch: list[str], data: st.DataObject) -> None:
    model = load_once()
    together = model.predict(batch)
    place = data.draw(st.integers(0, len(batch) - 1))
    assert model.predict([batch[place]])[0] == together[place]


def test_hundreds_of_texts_of_every_length_are_judged_the_same_alone(classifier: OnnxClassifier) -> None:
    rows = [line.split("\t") for line in (Path(risk.__file__).parent / "test.tsv").read_text("utf-8").splitlines()]
    texts = [max(row, key=len) for row in rows]
    texts = texts[::3] + [f"{one} {another}" for one, another in pairwise(texts[::2])]
    assert len(texts) > 500 and len({len(text) for text in texts}) > 150
    alone = [classifier.predict([text])[0] for text in texts]
    for size in (32, len(texts)):
        batches = (texts[start : start + size] for start in range(0, len(texts), size))
        together = [prediction for batch in batches for prediction in classifier.predict(batch)]
        assert [text for text, a, b in zip(texts, alone, together, strict=True) if a != b] == []


_MODEL: list[OnnxClassifier] = []


def load_once() -> OnnxClassifier:
    if not _MODEL:
        _MODEL.append(load("default", threads=2))
    return _MODEL[0]


def test_order_lengths_and_sums(classifier: OnnxClassifier) -> None:
    found = classifier.predict(TEXTS)
    assert len(found) == len(TEXTS)
    assert classifier.sentiments[max(range(3), key=found[0].sentiment.__getitem__)] == "negative"
    assert classifier.sentiments[max(range(3), key=found[1].sentiment.__getitem__)] == "positive"
    for prediction in found:
        assert abs(sum(prediction.sentiment) - 1) < 1e-9 and abs(sum(prediction.topic) - 1) < 1e-9
        assert len(prediction.topic) == len(classifier.topics) == 20
    assert found[5].truncated and not found[0].truncated


def test_many_threads_get_what_one_gets(classifier: OnnxClassifier) -> None:
    alone = classifier.predict(TEXTS)
    results: list = [None] * 8

    def work(number: int) -> None:
        results[number] = classifier.predict(TEXTS)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == alone for result in results)


def test_cuda_that_is_not_there_is_an_error_not_a_cpu() -> None:
    with pytest.raises(DeviceError, match="gpu"):
        load("default", device="cuda")
    with pytest.raises(DeviceError, match="auto, cpu or cuda"):
        load("default", device="tpu")


def test_a_build_for_gpus_where_there_is_no_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("this machine has a driver")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(DeviceError, match=r"no NVIDIA driver here .*libcuda\.so\.1") as refused:
        check_device("cuda")
    assert 'device = "cpu"' in str(refused.value)


@pytest.fixture
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever an earlier test made of the logs, a logger keeps it for good."""
    before = structlog.get_config()
    structlog.reset_defaults()
    monkeypatch.setattr(passes, "log", structlog.get_logger())
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("fresh_log")
def test_auto_without_cuda_is_the_cpu_and_says_why() -> None:
    with structlog.testing.capture_logs() as told:
        load("default", threads=1).close()
    (line,) = [line for line in told if line["event"] == "device"]
    assert (line["log_level"], line["device"]) == ("info", "cpu")
    assert "no CUDA" in line["reason"] and "tapewatch[gpu]" in line["reason"]


def test_the_half_precision_graph_gives_the_same_labels(classifier: OnnxClassifier) -> None:
    """On a CPU, which computes it in fp32: that the graph is sound and means the same, not what a GPU makes of it."""
    import onnxruntime as ort

    half = ort.InferenceSession(half_precision(cards.folder_of("default") / "model.onnx"), one_thread())
    texts = [line.text for line in challenge.headlines()][::3]
    heads = ("sentiment", "topic")
    found = [half.run(heads, feeds([classifier._tokenizer.encode(text).ids])) for text in texts]
    predictions = classifier.predict(texts)
    for place, head in enumerate(heads):
        same = [np.argmax(getattr(p, head)) == np.argmax(row[place]) for p, row in zip(predictions, found, strict=True)]
        assert np.mean(same) >= 0.93, head  # measured over all of them: .965 and .946


def one_thread() -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def test_the_fake_is_poisoned_on_request() -> None:
    fake = FakeClassifier(poison="BOOM")
    with pytest.raises(ClassifierError):
        fake.predict(["fine", "BOOM"])
    assert fake.predict(["acme falls"])[0].sentiment[0] > 0.5


def test_what_is_read_of_a_text() -> None:
    assert scoring_text("Acme &amp; Sons fall https://t.co/x1 now") == "Acme & Sons fall now"
    assert scoring_text("Acme falls", "Acme falls") == "Acme falls"
    assert scoring_text("Acme falls", "Its bank says so.") == "Acme falls. Its bank says so."
    assert len(scoring_text("x" * 9_000)) == 1_000


@pytest.mark.skipif(
    not (DATA / "sentiment_twitter.csv").is_file(), reason="the training data is not at hand (TAPEWATCH_DATA)"
)
@pytest.mark.parametrize(
    ("name", "floor"), [("sentiment_twitter", 0.865), ("topic_twitter", 0.885), ("sentiment_sentfin", 0.83)]
)
def test_floors_on_the_valid_parts(classifier: OnnxClassifier, name: str, floor: float) -> None:
    from models.data import load as load_rows
    from models.data import pure, truth

    rows = pure(load_rows(DATA, name, "valid"))
    predictions = classifier.predict([row.text for row in rows])
    head = "topic" if name.startswith("topic") else "sentiment"
    right = sum(
        max(range(len(values := getattr(prediction, head))), key=values.__getitem__) == label
        for prediction, label in zip(predictions, truth(rows), strict=True)
    )
    assert right / len(rows) >= floor
