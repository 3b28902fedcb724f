"""`tapewatch models finetune` from a file to a model that the daemon can load, on a tiny encoder."""

import csv
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_encoder import BAD, GOOD, NAMES, PLAIN, backbone, rows

pytestmark = pytest.mark.train

MOODS = {"negative": BAD, "neutral": PLAIN, "positive": GOOD}


def untrained(folder: Path, scratch: Path, *, smooth: bool) -> Path:
    """A model of the shipped one's labels whose weights nobody has trained."""
    import onnx
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    from models import card as cards
    from models import golden
    from models.export import Encoder, encode, measure
    from models.fitting import copy_of
    from models.labels import RISKS, SENTIMENTS, TOPICS
    from models.network import STORY, FiveHeads

    torch.manual_seed(7)
    encoder = AutoModel.from_pretrained(backbone(scratch / "backbone"))
    model = FiveHeads(encoder, encoder.config.hidden_size, encoder.config.num_hidden_layers)
    weights = {name: value.numpy() for name, value in copy_of(model).items()}
    config = json.loads(encoder.config.to_json_string())
    folder.mkdir()
    tokenizer = Tokenizer.from_file(str(scratch / "backbone" / "tokenizer.json"))
    tokenizer.save(str(folder / "tokenizer.json"))
    said = [f"{name} {word} today" for name in NAMES for word in (*BAD, *GOOD, *PLAIN)]
    ranges = measure(weights, config, encode(tokenizer, said), folder, smooth=smooth)
    onnx.save(Encoder(weights, config, kind="int8", ranges=ranges).build(), folder / "model.onnx")
    card = cards.Card(
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00Z",
        description="Nobody trained it.",
        languages=("en",),
        max_tokens=128,
        sentiment=cards.Head(labels=SENTIMENTS),
        topic=cards.Head(labels=TOPICS),
        risk=cards.RiskHead(labels=RISKS),
        mention=cards.Mention(),
        story=cards.StoryHead(dimensions=STORY, slope=1.0, offset=0.0),
        files={name: cards.sha256(folder / name) for name in ("model.onnx", "tokenizer.json")},
    )
    cards.write(folder, card)
    golden.write(folder)
    return folder


def own(path: Path, moods: dict[str, str]) -> Path:
    """A user's labels: moods, a topic and a kind of event that the model has not, and what is said of each company.
    ``moods``: what the texts to learn from say of each mood."""
    with path.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["text", "sentiment", "topic", "risk", "entity", "entity_sentiment", "split"])
        for i, name in enumerate(NAMES):
            for mood, words in MOODS.items():
                for j, word in enumerate(words):
                    valid = (i + j) % 4 == 0
                    label = mood if valid else moods[mood]
                    topic, risk = ("Weather", "flood") if j % 2 else ("Markets", "none")
                    text = f"{name} {word} {('bank', 'oil')[j % 2]}"
                    writer.writerow([text, label, topic, risk, name.upper(), label, "valid" if valid else "train"])
    return path


def texts_of(data: Path, folder: Path) -> Path:
    """A folder with a user's texts as `models reference` reads them, each once."""
    with data.open(newline="") as lines:
        known = {(row["split"], row["text"]): None for row in csv.DictReader(lines)}
    folder.mkdir()
    with (folder / "own.csv").open("w", newline="") as target:
        csv.writer(target).writerows([("split", "text"), *known])
    return folder


def finetune(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object) -> tuple[int, str, str]:
    from monitor.cli import main

    monkeypatch.setattr("sys.argv", ["tapewatch", "models", "finetune", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def learns_within_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """In greater steps, of fewer texts."""
    from models import data as texts
    from models.finetune import adapt, targets

    methods = {name: one._replace(rate=1e-2, heads=1.0) for name, one in adapt.METHODS.items()}
    monkeypatch.setattr(adapt, "METHODS", methods)
    monkeypatch.setattr(adapt, "LEAST", 3_200)
    monkeypatch.setattr(adapt, "REPLAY", 0.2)
    monkeypatch.setattr(targets, "REPLAYED", 200)
    monkeypatch.setattr(texts, "events", functools.cache(texts.events))


def learned_what_it_was_told(answer: dict[str, Any], told: str) -> None:
    figures, events = answer["compared"], answer["sets"]["events_own"]
    assert figures["sentiment_own"]["accuracy"]["after"] >= 0.9 > figures["sentiment_own"]["accuracy"]["before"]
    assert figures["topic_own"]["accuracy"]["after"] >= 0.9
    assert figures["entity_sentiment_own"]["accuracy"]["after"] >= 0.9
    assert events["any"]["auc"] >= 0.9 and events["per_kind"]["flood"]["average_precision"] >= 0.9
    assert "sentiment_own" in told and "events by hand" in told


def named_on_its_card(out: Path, parent: Path) -> Any:
    """The card of a model with its own topic and kind of event, which judges as it did when it was written."""
    from models import card as cards
    from models import golden
    from models.classifier import load

    card = cards.verify(out)
    assert (card.name, card.parent["sha256"]) == ("tiny-own", cards.read(parent).digest())
    assert card.topic.labels[-1] == "Weather" and card.risk is not None and card.risk.labels[-1] == "flood"
    assert card.training["own"]["labels"]["topic"]["Weather"] == {"train": 42, "valid": 12}
    assert "acme slump" not in (out / cards.CARD).read_text(), "texts of the user's in the card"
    model = load(str(out))
    assert golden.difference(model, golden.read(out, card), half=False).probability < 1e-9
    model.close()
    return card


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of peft's own making
def test_from_a_file_to_a_model_that_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from models import card as cards
    from models import fitting, reference

    learns_within_a_test(monkeypatch)
    parent = untrained(tmp_path / "tiny", tmp_path, smooth=True)
    same = {mood: mood for mood in MOODS}
    data, out = own(tmp_path / "own.csv", same), tmp_path / "out"
    order = ("--data", data, "--from", parent, "--new-topic", "Weather", "--new-risk", "flood")

    # Broken off in the second epoch, it goes on with that one.
    epoch, passes = fitting.Fit.epoch, list[str]()

    def breaks(self: Any, rows: Any, rng: Any, name: str) -> float:
        passes.append(name)
        if len(passes) == 2:
            raise KeyboardInterrupt
        return float(epoch(self, rows, rng, name))

    monkeypatch.setattr(fitting.Fit, "epoch", breaks)
    assert finetune(monkeypatch, capfd, *order, "--out", out)[0] == 130
    assert not (out / cards.CARD).exists()
    code, printed, told = finetune(monkeypatch, capfd, *order, "--out", out)
    assert code == 0, told
    assert passes == ["epoch 1", "epoch 2", "epoch 2", "epoch 3"]
    assert sorted(path.name for path in (out / "run").iterdir()) == ["tensorboard"]

    learned_what_it_was_told(json.loads(printed), told)
    card = named_on_its_card(out, parent)

    # What live texts are compared with is there, as the command for it makes it of the same texts.
    assert card.reference is not None and card.reference.parts["own"]["language"] == (27, 0)
    assert len(card.reference.centres) == reference.CENTRES * 128
    again = cards.folder_of(str(shutil.copytree(out, tmp_path / "again")))
    assert reference.write(again, texts_of(data, tmp_path / "texts")).reference == card.reference

    # By the other method, from there, with moods turned round: worse on the valid part, which has the right ones.
    turned = own(tmp_path / "turned.csv", same | {"negative": "positive", "positive": "negative"})
    original = tmp_path / "original"
    original.mkdir()
    rows(original)
    order = ("--data", turned, "--from", out, "--method", "lora", "--name", "turned", "--out", tmp_path / "turned")
    order = (*order, "--data-original", original)
    code, printed, told = finetune(monkeypatch, capfd, *order)
    assert (code, printed) == (1, ""), told
    assert "got worse on your own valid part (sentiment_own: " in told and "--keep-anyway" in told
    assert not (tmp_path / "turned" / cards.CARD).exists()
    learned = len(passes)
    code, printed, told = finetune(monkeypatch, capfd, *order, "--keep-anyway")
    assert code == 0, told
    assert len(passes) == learned, "what was learned is not learned again"
    accuracy = json.loads(printed)["compared"]["sentiment_own"]["accuracy"]
    assert accuracy["before"] >= 0.9 > 0.6 > accuracy["after"]
    kept = cards.verify(tmp_path / "turned")
    assert kept.parent["name"] == "tiny-own" and kept.topic.labels == card.topic.labels
    assert "sentiment_twitter" in told and kept.reference is not None
    assert {*kept.reference.parts} == {"own", "sentiment_twitter", "topic_twitter", "sentiment_sentfin"}
    assert kept.reference.parts["topic_twitter"]["language"] == (30, 0)


@pytest.mark.parametrize("smooth", [False, True])
def test_a_small_move_is_not_rounded_away(tmp_path: Path, smooth: bool) -> None:
    import torch

    from models.finetune.weights import loosen, network, recover
    from models.labels import Labels
    from models.quantize import by_column

    recovered = recover(untrained(tmp_path / "tiny", tmp_path, smooth=smooth) / "model.onnx")
    name = "encoder.encoder.layer.0.intermediate.dense.weight"
    factors = recovered.smooth[name] if smooth else np.float32(1)
    model, before = network(recovered, Labels()), by_column((recovered.weights[name] * factors).T)

    def moved(share: float) -> float:
        """The mean move as int8, in steps, when every weight moves by so much of a step."""
        own = (model.state_dict()[name].numpy() * factors).T + share * before.scales
        return float((np.rint(own / before.scales) - before.values).mean())

    assert moved(0.4) == pytest.approx(0.0, abs=1e-3)
    torch.manual_seed(7)
    loosen(model, 8, recovered.smooth)
    assert moved(0.0) == pytest.approx(0.0, abs=1e-3)
    assert moved(0.4) == pytest.approx(0.4, abs=0.05)
    assert not any(value.requires_grad for value in model.encoder.embeddings.parameters())
