"""Texts to predictions: tokenise, batches of one length, one forward pass for both heads.

    ModelError
    +-- ClassifierError     a text that can't be judged; the caller tries its batch mates alone

A text's probabilities are the same to the bit alone and in any batch on a CPU: the graph's quantisation is static, no
operator mixes rows, and no row is padded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from tokenizers import Tokenizer

from models import card as cards
from models.card import Card, ModelError
from models.labels import SENTIMENTS, TOPICS
from models.reading import scoring_text
from models.session import feeds, open_session, warn_without_vnni

__all__ = ["Classifier", "ClassifierError", "FakeClassifier", "OnnxClassifier", "Prediction", "load", "scoring_text"]

TOKEN_BUDGET = 512
"""Tokens of one pass: larger batches leave the CPU's caches, smaller ones waste calls."""

WHOLE = 4_096
"""Texts tokenised at once: bounds memory whatever the caller passes."""


class ClassifierError(ModelError):
    """A batch could not be judged."""


class Prediction(msgspec.Struct, frozen=True):
    """Calibrated probabilities in the order of the classifier's labels."""

    sentiment: tuple[float, ...]
    topic: tuple[float, ...]
    truncated: bool = False
    unknown_ratio: float = 0.0
    abstain: bool = False


class Classifier(Protocol):
    """What the score stage needs. ``predict`` may be called from several threads."""

    name: str
    """``name@sha256[:12]``."""
    sentiments: tuple[str, ...]
    topics: tuple[str, ...]
    languages: tuple[str, ...]

    def predict(self, texts: Sequence[str]) -> list[Prediction]: ...
    def close(self) -> None: ...


class OnnxClassifier:
    """The real one. ``threads``: passes computed at once; 0 is as many as there are cores."""

    def __init__(
        self, folder: Path, card: Card, *, device: str = "auto", threads: int = 0, memory_mb: int | None = None
    ):
        self.card = card
        self.name = card.identity()
        self.sentiments = card.sentiment.labels
        self.topics = card.topic.labels
        self.languages = card.languages
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown = int(self._tokenizer.token_to_id("[UNK]") or 0)
        self._end = int(self._tokenizer.token_to_id("[SEP]") or 0)
        self._session = open_session(folder / "model.onnx", device=device, memory_mb=memory_mb)
        warn_without_vnni(card.weight_bits)
        count = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="classify") if count > 1 else None
        self.predict(["Warm-up."])

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predictions in the order of ``texts``. Raises ClassifierError where any of them can't be judged."""
        found: list[Prediction] = []
        for start in range(0, len(texts), WHOLE):
            found.extend(self._predict(texts[start : start + WHOLE]))
        return found

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        rows = self._tokenise(texts)
        groups = _groups([len(row) for row, _, _ in rows])
        results: list[Prediction | None] = [None] * len(texts)
        run = self._pool.map if self._pool is not None and len(groups) > 1 else map
        for group, outcome in zip(groups, run(lambda g: self._run([rows[i] for i in g]), groups), strict=True):
            for place, prediction in zip(group, outcome, strict=True):
                results[place] = prediction
        return [prediction for prediction in results if prediction is not None]

    def _tokenise(self, texts: Sequence[str]) -> list[tuple[list[int], bool, float]]:
        """(ids, whether cut, share of unknown tokens) a text."""
        try:
            encodings = self._tokenizer.encode_batch_fast(list(texts))
        except Exception as error:  # the tokenizer's native errors have no class of their own
            raise ClassifierError(f"{len(texts)} texts can't be tokenised: {error}") from error
        rows = []
        for encoding in encodings:
            ids = encoding.ids
            cut = len(ids) > self.card.max_tokens
            if cut:
                ids = [*ids[: self.card.max_tokens - 1], self._end]
            unknown = ids.count(self._unknown) / max(1, len(ids) - 2)
            rows.append((ids, cut, unknown))
        return rows

    def _run(self, rows: Sequence[tuple[list[int], bool, float]]) -> list[Prediction]:
        try:
            sentiment, topic = self._session.run(["sentiment", "topic"], feeds([ids for ids, _, _ in rows]))
        except Exception as error:  # as above
            raise ClassifierError(f"a pass over {len(rows)} texts failed: {error}") from error
        by_sentiment = softmax(sentiment, self.card.sentiment.temperature)
        by_topic = softmax(topic, self.card.topic.temperature)
        return [
            Prediction(
                tuple(by_sentiment[place].tolist()),
                tuple(by_topic[place].tolist()),
                cut,
                unknown,
                bool(by_sentiment[place].max() < self.card.sentiment.abstain_below),
            )
            for place, (_, cut, unknown) in enumerate(rows)
        ]


def softmax(logits: Any, temperature: float) -> Any:
    """Row-wise, in double precision: [batch, labels] to probabilities."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in batches of one length, each within the token budget.

    No text is padded to the length of another: how sums over a row are cut into the registers of the processor depends
    on the row's width, so padding would change the last bits. Measured, a batch of one length costs what one of similar
    lengths does, for it computes no padding.
    """
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    # The longest first: the last batch to end is then a short one.
    return [
        alike[start : start + size]
        for length, alike in sorted(by_length.items(), reverse=True)
        for size in (max(1, TOKEN_BUDGET // length),)
        for start in range(0, len(alike), size)
    ]


def load(name_or_path: str, *, device: str = "auto", threads: int = 0, memory_mb: int | None = None) -> OnnxClassifier:
    """A verified model, ready to judge."""
    folder = cards.folder_of(name_or_path)
    return OnnxClassifier(folder, cards.verify(folder), device=device, threads=threads, memory_mb=memory_mb)


class FakeClassifier:
    """Judges by keywords: fast and fixed, for tests of everything around the model.

    Any of ``BAD`` makes a text negative, any of ``GOOD`` positive; a topic's first word picks the topic; ``poison``
    in a text raises for every batch that holds it.
    """

    BAD = ("falls", "fraud", "probe", "slump", "crash", "loss", "sues")
    GOOD = ("gains", "record", "beats", "surge", "wins")

    def __init__(self, *, poison: str = "\x00poison", languages: tuple[str, ...] = ("en",)) -> None:
        self.name = "fake@000000000000"
        self.sentiments = SENTIMENTS
        self.topics = TOPICS
        self.languages = languages
        self._poison = poison
        self._lock = threading.Lock()
        self.calls = 0

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        with self._lock:
            self.calls += 1
        if any(self._poison in text for text in texts):
            raise ClassifierError("a poisoned text")
        return [self._judge(text.lower()) for text in texts]

    def close(self) -> None:
        pass

    def _judge(self, text: str) -> Prediction:
        if any(word in text for word in self.BAD):
            sentiment = (0.9, 0.08, 0.02)
        elif any(word in text for word in self.GOOD):
            sentiment = (0.02, 0.08, 0.9)
        else:
            sentiment = (0.03, 0.94, 0.03)
        place = next((i for i, topic in enumerate(self.topics) if topic.split(" ")[0].lower() in text), 8)
        rest = 0.1 / (len(self.topics) - 1)
        return Prediction(sentiment, tuple(0.9 if i == place else rest for i in range(len(self.topics))))
