"""What a graph answers to labelled texts, how its logits become probabilities, and how good those are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from tokenizers import Tokenizer

from models import card as cards
from models.card import Head, RiskHead, StoryHead
from models.data import EVENTS, Row, best, truth
from models.data import Mention as Target
from models.evaluate import best_threshold, binary_report, platt, report, shift, temperature
from models.heads import logistic, softmax
from models.labels import RISKS, SENTIMENTS, TOPICS
from models.reading import ends_of, tokens_of
from models.session import feeds, open_session
from models.stories import pairs, weights

OUTPUTS = ("sentiment", "topic", "risk", "story", "tokens")
SENTIMENT_ABSTAINS, TOPIC_ABSTAINS = 0.5, 0.4


class Logits(NamedTuple):
    """Answers to rows, [rows, labels], and to the mentions in them that the window holds, [mentions, labels]."""

    sentiment: Any
    topic: Any
    risk: Any
    story: Any
    mention_sentiment: Any
    mention_risk: Any
    targets: list[Target]
    """The mentions, in the order of their answers."""


def answers(graph: Path, tokenizer: Tokenizer, rows: Sequence[Row], window: int) -> Logits:
    """One text a pass: the int8 graph gives the same in any batch."""
    session = open_session(graph, device="cpu")
    found: list[list[Any]] = [[], [], [], []]
    mentioned, targets = [], []
    for row, encoding in zip(rows, tokenizer.encode_batch([row.text for row in rows]), strict=True):
        ids = ends_of(encoding.ids, window)
        *whole, tokens = session.run(list(OUTPUTS), feeds([ids]))
        for kept, value in zip(found, whole, strict=True):
            kept.append(value[0].astype(np.float64))
        for target in row.mentions:
            places = tokens_of(target.spans, ends_of(encoding.offsets, window))
            if places:
                mentioned.append(tokens[0][list(places)].astype(np.float64).mean(0))
                targets.append(target)
    toward = np.stack(mentioned) if mentioned else np.zeros((0, tokens.shape[2]))
    sentiment, topic, risk, story = (np.stack(values) for values in found)
    return Logits(sentiment, topic, risk, story, toward[:, : len(SENTIMENTS)], toward[:, len(SENTIMENTS) :], targets)


class Calibration(NamedTuple):
    """How logits become probabilities."""

    sentiment: Head
    topic: Head
    risk: RiskHead
    mention: cards.Mention


def calibrate(parts: Mapping[str, Sequence[Row]], seen: Mapping[str, Logits], ordinary: Logits) -> Calibration:
    """Calibration on held-out rows (``parts`` by set, and what the graph answers to them).

    Two in five of the project's own texts tell of adverse events, more than the news does: the probabilities of events
    are moved to the share among ``ordinary`` texts, which needs no labels of them. Those toward a mention are moved as
    far: a share of mentions can't be told so, most ordinary ones being bystanders of one kind.
    """
    sentiments = ("sentiment_twitter", "sentiment_sentfin")
    events, entities = seen[EVENTS], seen["entity_sentiment_sentfin"]
    known = [row.risks for row in parts[EVENTS] if row.risks is not None]
    toward = [target.risks for target in events.targets if target.risks is not None]
    whole = platt_of(events.risk, np.array(known), 0.0)
    adverse = logistic(ordinary.risk[:, 0], whole["slope"], whole["offset"])
    moved = shift(adverse, float(np.mean([risks[0] for risks in known])))
    risk = RiskHead(labels=RISKS, **platt_of(events.risk, np.array(known), moved))
    kinds = logistic(events.risk[:, 1:], risk.kind_slope, risk.kind_offset)
    return Calibration(
        Head(
            labels=SENTIMENTS,
            temperature=temperature(
                np.concatenate([seen[part].sentiment for part in sentiments]),
                [label for part in sentiments for label in truth(parts[part])],
            ),
            abstain_below=SENTIMENT_ABSTAINS,
        ),
        Head(
            labels=TOPICS,
            temperature=temperature(seen["topic_twitter"].topic, truth(parts["topic_twitter"])),
            abstain_below=TOPIC_ABSTAINS,
        ),
        msgspec.structs.replace(risk, kind_at=best_threshold(kinds.reshape(-1), np.array(known)[:, 1:].reshape(-1))),
        cards.Mention(
            sentiment_temperature=temperature(*pure_mentions(entities)),
            **platt_of(events.mention_risk, np.array(toward), moved),
        ),
    )


def platt_of(logits: Any, known: Any, moved: float) -> dict[str, float]:
    """The fields of a card's Platt: of "any", moved by so much log-odds, and of all kinds pooled."""
    slope, offset = platt(logits[:, 0], known[:, 0])
    kind_slope, kind_offset = platt(logits[:, 1:].reshape(-1), known[:, 1:].reshape(-1))
    return {
        "slope": slope,
        "offset": round(offset + moved, 4),
        "kind_slope": kind_slope,
        "kind_offset": kind_offset,
    }


def pure_mentions(seen: Logits) -> tuple[Any, list[int]]:
    """Logits toward mentions that have one right sentiment, and which it is."""
    kept = [place for place, target in enumerate(seen.targets) if target.sentiment and max(target.sentiment) == 1.0]
    return seen.mention_sentiment[kept], [best(seen.targets[place].sentiment or ()) for place in kept]


def story_of_pairs(graph: Path, tokenizer: Tokenizer, window: int) -> StoryHead:
    """P(same story) from the cosine, for two headlines about one company within 48 hours: of the project's own pairs,
    each kind as frequent as it is there."""
    known = pairs()
    rows = [Row(text, None, None, "pairs") for pair in known for text in (pair.first, pair.second)]
    story = answers(graph, tokenizer, rows, window).story
    cosines = (story[::2] * story[1::2]).sum(1)
    slope, offset = platt(cosines, [pair.same for pair in known], weights(known))
    return StoryHead(dimensions=story.shape[1], slope=slope, offset=offset)


def figures(name: str, rows: Sequence[Row], seen: Logits, by: Calibration) -> dict[str, Any]:
    """The figures of one set."""
    if name.startswith("topic"):
        return report(softmax(seen.topic, by.topic.temperature), truth(rows), by.topic.labels)
    if name.startswith("sentiment"):
        return report(softmax(seen.sentiment, by.sentiment.temperature), truth(rows), SENTIMENTS)
    if name.startswith("entity"):
        logits, right = pure_mentions(seen)
        return report(softmax(logits, by.mention.sentiment_temperature), right, SENTIMENTS)
    return _event_figures(rows, seen, by)


def _event_figures(rows: Sequence[Row], seen: Logits, by: Calibration) -> dict[str, Any]:
    """Any adverse event, toward whom, and by kind. Calibration errors there say how far the share of adverse texts is
    from the news'."""
    known = np.array([row.risks for row in rows])
    toward = np.array([target.risks for target in seen.targets]).reshape(len(seen.targets), known.shape[1])
    kinds = logistic(seen.risk[:, 1:], by.risk.kind_slope, by.risk.kind_offset)
    mention_kinds = logistic(seen.mention_risk[:, 1:], by.mention.kind_slope, by.mention.kind_offset)
    return {
        "any": binary_report(logistic(seen.risk[:, 0], by.risk.slope, by.risk.offset), known[:, 0], by.risk.call_at),
        "mention": binary_report(
            logistic(seen.mention_risk[:, 0], by.mention.slope, by.mention.offset), toward[:, 0], by.risk.call_at
        ),
        "kinds": binary_report(kinds.reshape(-1), known[:, 1:].reshape(-1), by.risk.kind_at),
        "mention_kinds": binary_report(mention_kinds.reshape(-1), toward[:, 1:].reshape(-1), by.risk.kind_at),
        "per_kind": {
            kind: binary_report(kinds[:, place], known[:, 1 + place], by.risk.kind_at)
            for place, kind in enumerate(by.risk.labels)
        },
    }


def headline(whole: Mapping[str, Any]) -> float:
    """The one figure that says most: accuracy, or F1 of "any adverse event"."""
    return float(whole["any"]["f1"] if "any" in whole else whole["accuracy"])


def right(name: str, rows: Sequence[Row], seen: Logits, by: Calibration) -> Any:
    """Of each row (or mention with one right sentiment) whether the answer is right: its label, or whether it is called
    adverse."""
    if name.startswith("topic"):
        return seen.topic.argmax(1) == np.array(truth(rows), int)
    if name.startswith("sentiment"):
        return seen.sentiment.argmax(1) == np.array(truth(rows), int)
    if name.startswith("entity"):
        logits, labels = pure_mentions(seen)
        return logits.argmax(1) == np.array(labels, int)
    called = logistic(seen.risk[:, 0], by.risk.slope, by.risk.offset) >= by.risk.call_at
    return called == np.array([row.risks is not None and row.risks[0] > 0.5 for row in rows])


def agreement(name: str, a: Logits, b: Logits, by: Calibration) -> float:
    """The share of rows (or mentions) of which two graphs say the same: one label, or whether it is called adverse."""
    if name.startswith("topic"):
        same = a.topic.argmax(1) == b.topic.argmax(1)
    elif name.startswith("sentiment"):
        same = a.sentiment.argmax(1) == b.sentiment.argmax(1)
    elif name.startswith("entity"):
        same = a.mention_sentiment.argmax(1) == b.mention_sentiment.argmax(1)
    else:
        called = [logistic(one.risk[:, 0], by.risk.slope, by.risk.offset) >= by.risk.call_at for one in (a, b)]
        same = called[0] == called[1]
    return round(float(same.mean()), 4)
