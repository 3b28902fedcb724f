"""Texts to predictions: tokenise, batches of one length, one forward pass for all heads.

A text's probabilities are the same to the bit alone and in any batch on a CPU: the graph's quantisation is static, no
operator mixes rows, and no row is padded (``models.passes``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from models import card as cards
from models import heads, measures
from models.card import Card, CardError
from models.fake import FakeClassifier
from models.heads import softmax
from models.passes import Passes, open_passes
from models.predictions import Classifier, ClassifierError, Mentions, Prediction, Risk, Toward
from models.reading import Span, ends_of, scoring_text, tokens_of
from models.session import DeviceError, warn_without_vnni

__all__ = [
    "Classifier",
    "ClassifierError",
    "FakeClassifier",
    "OnnxClassifier",
    "Prediction",
    "Risk",
    "Toward",
    "load",
    "scoring_text",
    "softmax",
]

UNKNOWN = ("[UNK]", "<unk>")
"""What vocabularies call a piece that they have not."""

WHOLE = 4_096
"""Texts tokenised at once: bounds memory whatever the caller passes."""


class _Row(NamedTuple):
    """A text as the graph reads it."""

    ids: list[int]
    truncated: bool
    unknown: float
    """Share of its tokens that the vocabulary has not."""
    places: tuple[tuple[int, ...], ...]
    """Of each entity the places of its tokens, as far as they are within the window."""


class OnnxClassifier:
    """The real one. ``threads``: passes computed at once on a CPU; 0 is as many as there are cores."""

    def __init__(self, folder: Path, card: Card, passes: Passes, *, threads: int = 0) -> None:
        self.card = card
        self.name = card.identity()
        self.sentiments = card.sentiment.labels
        self.topics = card.topic.labels
        self.risks = card.risks
        self.languages = card.languages
        self.reference = measures.reference_of(card)
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown = next((n for sign in UNKNOWN if (n := self._tokenizer.token_to_id(sign)) is not None), -1)
        self._passes = passes
        self.device = passes.device
        self.threads = 1 if passes.one_at_a_time else threads or os.cpu_count() or 1
        heads.check(card, passes.outputs)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="classify") if self.threads > 1 else None
        self.predict(["Warm-up."])

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]:
        """Predictions in the order of ``texts``. Raises ClassifierError where any of them can't be judged, and
        DeviceError where none can, because the device fails.

        ``mentions``: for each text its entities, each by the spans of its mentions in the text as it is given here.
        ``story``: whether the story embedding is wanted.
        """
        asked = mentions if mentions is not None else [()] * len(texts)
        found: list[Prediction] = []
        for start in range(0, len(texts), WHOLE):
            part = slice(start, start + WHOLE)
            found.extend(self._predict(texts[part], asked[part], story))
        return found

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _predict(self, texts: Sequence[str], mentions: Mentions, story: bool) -> list[Prediction]:
        rows = self._tokenise(texts, mentions)
        groups = self._passes.groups([len(row.ids) for row in rows])
        results: list[Prediction | None] = [None] * len(texts)
        run = self._pool.map if self._pool is not None and len(groups) > 1 else map
        for group, outcome in zip(groups, run(lambda g: self._run([rows[i] for i in g], story), groups), strict=True):
            for place, prediction in zip(group, outcome, strict=True):
                results[place] = prediction
        return [prediction for prediction in results if prediction is not None]

    def _tokenise(self, texts: Sequence[str], mentions: Mentions) -> list[_Row]:
        """The fast way of tokenising tells no offsets, so texts whose entities are asked about go the other one."""
        asked = [bool(entities) and self.card.mention is not None for entities in mentions]
        try:
            plain = iter(self._tokenizer.encode_batch_fast([t for t, ask in zip(texts, asked, strict=True) if not ask]))
            placed = iter(self._tokenizer.encode_batch([t for t, ask in zip(texts, asked, strict=True) if ask]))
        except Exception as error:  # the tokenizer's native errors have no class of their own
            raise ClassifierError(f"{len(texts)} texts can't be tokenised: {error}") from error
        return [
            self._row(next(placed), entities, located=True) if ask else self._row(next(plain), entities, located=False)
            for ask, entities in zip(asked, mentions, strict=True)
        ]

    def _row(self, encoding: Any, entities: Sequence[Sequence[Span]], *, located: bool) -> _Row:
        window = self.card.max_tokens
        ids = list(ends_of(encoding.ids, window))
        offsets = ends_of(encoding.offsets, window) if located else ()
        places = tuple(tokens_of(spans, offsets) for spans in entities)
        return _Row(ids, len(encoding.ids) > window, ids.count(self._unknown) / max(1, len(ids) - 2), places)

    def _run(self, rows: Sequence[_Row], story: bool) -> list[Prediction]:
        card = self.card
        wanted = ["sentiment", "topic"]
        wanted += ["risk"] if card.risk is not None else []
        wanted += ["tokens"] if any(any(row.places) for row in rows) else []
        wanted += ["story"] if card.story is not None and story else []
        try:
            found = self._passes.run(wanted, [row.ids for row in rows])
        except DeviceError:
            raise
        except Exception as error:  # as above
            raise ClassifierError(f"a pass over {len(rows)} texts failed: {error}") from error
        by_sentiment = softmax(found["sentiment"], card.sentiment.temperature)
        by_topic = softmax(found["topic"], card.topic.temperature)
        risks = heads.risks_of(found["risk"], card.risk, card.risk) if card.risk is not None else None
        tokens, stories = found.get("tokens"), found.get("story")
        return [
            Prediction(
                tuple(by_sentiment[place].tolist()),
                tuple(by_topic[place].tolist()),
                row.truncated,
                row.unknown,
                bool(by_sentiment[place].max() < card.sentiment.abstain_below),
                risks[place] if risks is not None else None,
                heads.toward(tokens[place] if tokens is not None else None, row.places, card),
                heads.story_of(stories[place]) if stories is not None else None,
                len(row.ids) - 2,
            )
            for place, row in enumerate(rows)
        ]


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizer's native errors have no class of their own
        raise CardError(f"{path}: no tokenizer can be made of it ({error}); export the model again") from error


def load(
    name_or_path: str, *, device: str = "auto", threads: int = 0, memory_mb: int | None = None, half: bool = False
) -> OnnxClassifier:
    """A verified model, ready to judge. ``half``: as ``open_passes`` has it. Raises CardError, DeviceError."""
    folder = cards.folder_of(name_or_path)
    card = cards.verify(folder)
    passes = open_passes(folder, card.max_tokens, device=device, memory_mb=memory_mb, half=half)
    if not passes.one_at_a_time:
        warn_without_vnni(card.weight_bits)
    return OnnxClassifier(folder, card, passes, threads=threads)
