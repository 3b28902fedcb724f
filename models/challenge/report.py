"""What a model makes of the challenge sets: minimum functionality by phenomenon, invariance, direction.

Behaviour tests in the sense of Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from models.card import CardError
from models.challenge.changes import BETTER, INVARIANT, WORSE
from models.challenge.chinese import Post
from models.challenge.fields import ANY
from models.challenge.headlines import Headline
from models.labels import SENTIMENTS
from models.predictions import Classifier, Prediction
from models.reading import read

TOLERANCE = 0.1
"""By how much of a probability a change may move a judgement the wrong way before it counts as a failure."""


class Share(msgspec.Struct, frozen=True):
    """Of ``n`` that were tried the share that was right: None where there was none to try."""

    n: int
    right: float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A phenomenon, or a whole set. What a model has no head for was tried on none."""

    phenomenon: str
    texts: int
    sentiment: Share
    toward: Share
    """Sentiment toward companies: the model's answer for each, else the text's sentiment."""
    adverse: Share
    """Whether a text tells any adverse event."""
    kinds: Share
    """All kinds of events that it tells, and no other."""
    topic: Share


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that were called adverse against those that are, and kinds that were named against those that are told."""

    precision: float | None
    recall: float | None
    kinds_precision: float | None
    kinds_recall: float | None


class Constant(msgspec.Struct, frozen=True):
    """The one sentiment that is right of most texts, whatever they say: what a judgement has to beat."""

    sentiment: str
    right: float | None


class Set(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    phenomena: tuple[Row, ...]
    whole: Row
    constant: Constant
    events: Events | None
    """None without a head for them."""
    toward_by_document: int
    """Companies for whom the text's sentiment had to do."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How judgements move. ``kind``: "inv", they must stay; "dir", they may move one way only."""

    name: str
    kind: str
    sentiment: Share
    adverse: Share


class Report(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    number: int | None
    """Which of the shipped challenge sets was judged; None: texts of one's own."""
    sets: tuple[Set, ...]
    behaviour: tuple[Behaviour, ...]


def report(
    classifier: Classifier, english: Sequence[Headline], chinese: Sequence[Post] = (), *, number: int | None = None
) -> Report:
    """The sets as the classifier judges them. Raises CardError for a model whose sentiments are others."""
    if set(classifier.sentiments) != set(SENTIMENTS):
        raise CardError(
            f"model {classifier.name}: its sentiments are {', '.join(classifier.sentiments)}, those of the challenge "
            f"sets are {', '.join(SENTIMENTS)}; name a model that has these"
        )
    answers = _judge(classifier, english)
    sets = [_set("headlines", classifier, english, answers)]
    if chinese:
        sets.append(_set("chinese", classifier, chinese, _judge(classifier, chinese)))
    behaviour = (*_groups(classifier, english, answers), *_changes(classifier, english, answers))
    return Report(model=classifier.name, number=number, sets=tuple(sets), behaviour=behaviour)


def _judge(classifier: Classifier, rows: Sequence[Headline | Post]) -> list[Prediction]:
    texts = [read(row.text) for row in rows]
    mentions = [[text.spans(entity.spans) for entity in row.entities] for text, row in zip(texts, rows, strict=True)]
    return classifier.predict([text.text for text in texts], mentions)


def _share(outcomes: Iterable[bool | None]) -> Share:
    """None is what was not tried."""
    tried = [right for right in outcomes if right is not None]
    return Share(len(tried), _ratio(sum(tried), len(tried)))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _label(classifier: Classifier, probabilities: Sequence[float]) -> str:
    return classifier.sentiments[max(range(len(probabilities)), key=probabilities.__getitem__)]


# -- minimum functionality ----------------------------------------------------------------------------------


class _Outcome(NamedTuple):
    """One text: what was right, None where nothing was tried."""

    phenomenon: str
    sentiment: bool | None
    toward: tuple[bool, ...]
    by_document: int
    called: tuple[bool, bool] | None
    """Whether the text was called adverse, and whether it is."""
    kinds: tuple[frozenset[str], frozenset[str]] | None
    """The kinds that were named, and those that are told."""
    topic: bool | None


def _set(name: str, classifier: Classifier, rows: Sequence[Headline | Post], answers: Sequence[Prediction]) -> Set:
    outcomes = [_outcome(classifier, row, answer) for row, answer in zip(rows, answers, strict=True)]
    phenomena = dict.fromkeys(row.phenomenon for row in rows)
    return Set(
        name=name,
        phenomena=tuple(_row(one, [each for each in outcomes if each.phenomenon == one]) for one in phenomena),
        whole=_row("all", outcomes),
        constant=_constant(rows),
        events=_events(outcomes) if classifier.risks else None,
        toward_by_document=sum(each.by_document for each in outcomes),
    )


def _outcome(classifier: Classifier, row: Headline | Post, answer: Prediction) -> _Outcome:
    judged = [pair for pair in zip(row.entities, answer.mentions, strict=True) if pair[0].sentiments != ANY]
    called = kinds = topic = None
    if row.risks is not None and answer.risk is not None:
        called = (answer.risk.adverse, bool(row.risks))
        kinds = (frozenset(kind for kind, _ in answer.risk.kinds), frozenset(row.risks))
    if isinstance(row, Post) and row.topic in classifier.topics:
        topic = classifier.topics[max(range(len(answer.topic)), key=answer.topic.__getitem__)] == row.topic
    return _Outcome(
        row.phenomenon,
        None if row.sentiments == ANY else _label(classifier, answer.sentiment) in row.sentiments,
        tuple(
            _label(classifier, answer.sentiment if toward is None else toward.sentiment) in entity.sentiments
            for entity, toward in judged
        ),
        sum(toward is None for _, toward in judged),
        called,
        kinds,
        topic,
    )


def _constant(rows: Sequence[Headline | Post]) -> Constant:
    judged = [row.sentiments for row in rows if row.sentiments != ANY]
    right = {label: sum(label in labels for labels in judged) for label in SENTIMENTS}
    best = max(SENTIMENTS, key=right.__getitem__)
    return Constant(best, _ratio(right[best], len(judged)))


def _row(name: str, outcomes: Sequence[_Outcome]) -> Row:
    return Row(
        phenomenon=name,
        texts=len(outcomes),
        sentiment=_share(each.sentiment for each in outcomes),
        toward=_share(right for each in outcomes for right in each.toward),
        adverse=_share(None if each.called is None else each.called[0] == each.called[1] for each in outcomes),
        kinds=_share(None if each.kinds is None else each.kinds[0] == each.kinds[1] for each in outcomes),
        topic=_share(each.topic for each in outcomes),
    )


def _events(outcomes: Sequence[_Outcome]) -> Events:
    called = [each.called for each in outcomes if each.called is not None]
    kinds = [each.kinds for each in outcomes if each.kinds is not None]
    found = sum(yes and told for yes, told in called)
    right = sum(len(named & told) for named, told in kinds)
    return Events(
        precision=_ratio(found, sum(yes for yes, _ in called)),
        recall=_ratio(found, sum(told for _, told in called)),
        kinds_precision=_ratio(right, sum(len(named) for named, _ in kinds)),
        kinds_recall=_ratio(right, sum(len(told) for _, told in kinds)),
    )


# -- invariance and direction -------------------------------------------------------------------------------


def _groups(classifier: Classifier, rows: Sequence[Headline], answers: Sequence[Prediction]) -> Iterator[Behaviour]:
    """The groups that the set itself has: lines that say the same, and lines from the worst to the best."""
    groups = dict[tuple[str, str], list[tuple[int, Prediction]]]()
    for row, answer in zip(rows, answers, strict=True):
        if row.group:
            groups.setdefault((row.kind, row.group), []).append((row.rank, answer))
    steps: dict[str, list[tuple[Prediction, Prediction]]] = {"inv": [], "dir": []}
    for (kind, _), members in groups.items():
        ordered = [answer for _, answer in sorted(members, key=lambda member: member[0])]
        steps[kind] += pairwise(ordered)
    yield _unmoved(classifier, "said_otherwise", steps["inv"])
    rises = [_positive(classifier, after) > _positive(classifier, before) for before, after in steps["dir"]]
    yield Behaviour(name="worse_to_better", kind="dir", sentiment=_share(rises), adverse=_share(()))


def _changes(classifier: Classifier, rows: Sequence[Headline], answers: Sequence[Prediction]) -> Iterator[Behaviour]:
    """Each change of the texts that it applies to."""
    for name, change in (INVARIANT | WORSE | BETTER).items():
        texts = [change(row) for row in rows]
        applies = [place for place, row in enumerate(rows) if texts[place] != row.text]
        after = classifier.predict([read(texts[place]).text for place in applies])
        steps = list(zip([answers[place] for place in applies], after, strict=True))
        if name in INVARIANT:
            yield _unmoved(classifier, name, steps)
        else:
            yield _pushed(classifier, name, steps, worse=name in WORSE)


Steps = Sequence[tuple[Prediction, Prediction]]
"""Answers before and after."""


def _unmoved(classifier: Classifier, name: str, steps: Steps) -> Behaviour:
    return Behaviour(
        name=name,
        kind="inv",
        sentiment=_share(_label(classifier, old.sentiment) == _label(classifier, new.sentiment) for old, new in steps),
        adverse=_share(old.risk.adverse == new.risk.adverse if old.risk and new.risk else None for old, new in steps),
    )


def _pushed(classifier: Classifier, name: str, steps: Steps, *, worse: bool) -> Behaviour:
    """Bad news that is added makes nothing more positive nor less adverse, good news nothing more negative."""
    ups = [_positive(classifier, new) - _positive(classifier, old) for old, new in steps]
    falls = [old.risk.probability - new.risk.probability if old.risk and new.risk else None for old, new in steps]
    return Behaviour(
        name=name,
        kind="dir",
        sentiment=_share((up if worse else -up) <= TOLERANCE for up in ups),
        adverse=_share(None if fall is None else fall <= TOLERANCE for fall in falls if worse),
    )


def _positive(classifier: Classifier, answer: Prediction) -> float:
    """From -1, surely negative, to 1, surely positive."""
    worth = dict(zip(classifier.sentiments, answer.sentiment, strict=True))
    return worth["positive"] - worth["negative"]
