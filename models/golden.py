"""Golden predictions: what a model said of fixed texts where it was made, to tell whether it says the same elsewhere.

They lie in the model's folder, bound to its graph by hash. For each text they hold what the int8 graph says, which CPUs
run, and what the half-precision graph says, which CUDA runs, computed on a CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from models.card import Card, CardError
from models.classifier import OnnxClassifier, load
from models.heads import cosine
from models.predictions import Prediction
from models.reading import Span
from models.samples import samples, spread

FILE = "golden.jsonl"

TOLERANCE = 0.02
"""Largest difference of a probability that is let pass. The same graph on the same kind of CPU differs by nothing; half
precision, emulated number by number, differs from the same graph in fp32 by up to .003; the two graphs of the first
weights differ by up to .45 (and in 20 labels of 322), so that one taken for the other is found out. Not measured: a
GPU, and CPUs with other instructions."""

DIGITS = 4


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prediction in short: probabilities, and the story embedding."""

    sentiment: tuple[float, ...]
    topic: tuple[float, ...]
    risk: float | None = None
    toward: tuple[tuple[float, ...] | None, ...] = ()
    """For each entity asked for its sentiment and, where the model has it, its risk."""
    story: bytes | None = None


class Text(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text with the spans of its entities, and what the two graphs say of it."""

    text: str
    int8: Answer
    half: Answer
    entities: tuple[tuple[Span, ...], ...] = ()


class _Head(msgspec.Struct, frozen=True):
    graph: str
    """sha256 of ``model.onnx``."""


class Difference(NamedTuple):
    """How far the answers of a machine are from the golden ones."""

    texts: int
    probability: float
    """The largest of all."""
    worst: str
    """The text that it was found at."""
    sentiments: int
    """Texts that got another label: where two labels are as probable, rounding decides."""
    topics: int

    @property
    def allowed(self) -> bool:
        return self.probability <= TOLERANCE


def read(folder: Path, card: Card) -> list[Text]:
    """The golden predictions of a model's folder. Raises CardError."""
    path, remedy = folder / FILE, _remedy(folder)
    try:
        first, *lines = path.read_bytes().splitlines()
        head = msgspec.json.decode(first, type=_Head)
        texts = [msgspec.json.decode(line, type=Text) for line in lines]
    except FileNotFoundError:
        raise CardError(f"{path}: not found, so there is nothing to compare with; {remedy}") from None
    except (ValueError, msgspec.DecodeError, OSError) as error:
        raise CardError(f"{path}: can't be read ({error}); {remedy}") from error
    if head.graph != card.digest():
        raise CardError(
            f"{path}: was made by another graph ({head.graph[:12]}…, this one is {card.digest()[:12]}…); {remedy}"
        )
    if not texts:
        raise CardError(f"{path}: holds no text; {remedy}")
    return texts


def _remedy(folder: Path) -> str:
    return f"write them anew where the model is known to be sound: python -m models.golden {folder}"


def answers(
    classifier: OnnxClassifier, texts: Sequence[str], entities: Sequence[Sequence[Sequence[Span]]]
) -> list[Answer]:
    """What a classifier says of texts, judged together."""
    predictions = classifier.predict(texts, entities, story=True)
    return [_answer(prediction) for prediction in predictions]


def difference(classifier: OnnxClassifier, texts: Sequence[Text], *, half: bool) -> Difference:
    """Compares a classifier with the golden predictions of its graph."""
    found = answers(classifier, [one.text for one in texts], [one.entities for one in texts])
    wanted = [one.half if half else one.int8 for one in texts]
    apart = [_apart(*pair) for pair in zip(wanted, found, strict=True)]
    largest = max(range(len(texts)), key=apart.__getitem__)
    return Difference(
        len(texts),
        apart[largest],
        texts[largest].text,
        _relabelled(wanted, found, lambda answer: answer.sentiment),
        _relabelled(wanted, found, lambda answer: answer.topic),
    )


def check(classifier: OnnxClassifier, folder: Path) -> None:
    """Raises CardError where a classifier says something else than the golden predictions of its folder."""
    texts = read(folder, classifier.card)
    try:
        found = difference(classifier, texts, half=classifier.device == "cuda")
    except ValueError as error:
        raise CardError(f"{folder / FILE}: is of a model with other labels ({error}); {_remedy(folder)}") from error
    if not found.allowed:
        raise CardError(
            f"{folder}: {classifier.name} says something else on this {classifier.device} than where it was made: a "
            f"probability is off by {found.probability:.4f}, up to {TOLERANCE} is let pass, most so of "
            f"{found.worst!r}; export the model again"
        )


def write(folder: Path) -> int:
    """Computes and writes the golden predictions of a model's folder on this CPU; returns the number of texts."""
    material = [(line.text, tuple(entity.spans for entity in line.entities)) for line in spread()]
    material += [(text, ()) for kind in ("posts", "articles") for text in samples(kind)[::20]]
    texts, entities = [text for text, _ in material], [spans for _, spans in material]
    made = []
    for half in (False, True):
        classifier = load(str(folder), device="cpu", half=half)
        made.append(answers(classifier, texts, entities))
        classifier.close()
    lines = [msgspec.json.encode(_Head(classifier.card.digest()))]
    for text, spans, int8, full in zip(texts, entities, *made, strict=True):
        lines.append(msgspec.json.encode(Text(text, int8, full, spans)))
    (folder / FILE).write_bytes(b"\n".join(lines) + b"\n")
    return len(texts)


def _answer(prediction: Prediction) -> Answer:
    return Answer(
        _rounded(prediction.sentiment),
        _rounded(prediction.topic),
        None if prediction.risk is None else round(prediction.risk.probability, DIGITS),
        tuple(
            None if one is None else _rounded([*one.sentiment, *(() if one.risk is None else (one.risk.probability,))])
            for one in prediction.mentions
        ),
        prediction.story,
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values)


def _apart(one: Answer, other: Answer) -> float:
    """The largest difference of a probability, or of the cosine of the stories from 1."""
    pairs = list(_pairs(one, other))
    if one.story is not None and other.story is not None:
        pairs.append((1.0, cosine(one.story, other.story)))
    return max(abs(a - b) for a, b in pairs)


def _pairs(one: Answer, other: Answer) -> Iterator[tuple[float, float]]:
    yield from zip(one.sentiment, other.sentiment, strict=True)
    yield from zip(one.topic, other.topic, strict=True)
    if one.risk is not None and other.risk is not None:
        yield one.risk, other.risk
    for mine, its in zip(one.toward, other.toward, strict=True):
        if mine is not None and its is not None:
            yield from zip(mine, its, strict=True)


def _relabelled(wanted: Sequence[Answer], found: Sequence[Answer], of: Callable[[Answer], Sequence[float]]) -> int:
    return sum(_label(of(one)) != _label(of(other)) for one, other in zip(wanted, found, strict=True))


def _label(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def main() -> None:
    """Writes the golden predictions of a model's folder, by its graphs on this CPU."""
    parser = argparse.ArgumentParser(prog="python -m models.golden", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print(f"{folder / FILE}: {write(folder)} texts")  # noqa: T201 (a command's output)


if __name__ == "__main__":
    main()
