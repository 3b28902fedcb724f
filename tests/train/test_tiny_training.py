"""The training side on a tiny encoder and rows of our own: train, export, quantise, load, judge."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

BAD = ("slump", "plunge", "loss", "default", "probe", "downgrade")
GOOD = ("soar", "record", "beat", "win", "upgrade", "surge")
PLAIN = ("meet", "file", "open", "move", "name", "host")
NAMES = ("acme", "brightwater", "halvorne", "castellan", "nordane", "quillon")


def rows(folder: Path) -> None:
    from models.labels import TOPICS

    kinds = {"negative": BAD, "neutral": PLAIN, "positive": GOOD}
    for name in ("sentiment_twitter", "sentiment_sentfin", "topic_twitter"):
        with (folder / f"{name}.csv").open("w", newline="") as target:
            writer = csv.writer(target)
            writer.writerow(["split", "text", "label"])
            for split, count in (("train", 90), ("valid", 30)):
                for i in range(count):
                    label = list(kinds)[i % 3]
                    text = f"{NAMES[i % 6]} {kinds[label][i // 3 % 6]} today"
                    if name.startswith("topic"):
                        text, label = f"{NAMES[i % 6]} {('oil', 'bank')[i % 2]}", (TOPICS[5], TOPICS[7])[i % 2]
                    writer.writerow([split, text, label])
            if name == "sentiment_sentfin":
                writer.writerow(["train", "acme slump record", "mixed"])


def backbone(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *NAMES, *BAD, *GOOD, *PLAIN, "today", "oil", "bank"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=160,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_from_rows_to_a_verified_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime as ort

    from models import train
    from models.assemble import assemble
    from models.classifier import load
    from models.export import fp16

    data = tmp_path / "data"
    data.mkdir()
    rows(data)
    monkeypatch.setattr(train.Recipe, "epochs", 12)
    monkeypatch.setattr(train.Recipe, "rate", 3e-3)
    monkeypatch.setattr(train.Recipe, "second_rate", 1e-3)
    monkeypatch.setattr(train.Recipe, "head_factor", 2.0)
    report = train.run(data, tmp_path / "run", folder=backbone(tmp_path / "backbone"))
    assert [row["stage"] for row in report["epochs"]][-2:] == ["news", "blend"]
    out = tmp_path / "model"
    card = assemble(tmp_path / "run", data, out, "tiny", "1")
    figures = card.evaluation["sets"]
    assert figures["sentiment_twitter"]["accuracy"] >= 0.9, json.dumps(figures["sentiment_twitter"])
    assert figures["topic_twitter"]["accuracy"] >= 0.9
    assert min(card.evaluation["int8_agreement"].values()) >= 0.9

    model = load(str(out))
    texts = ["acme slump today", "acme record today", "castellan oil"]
    together = model.predict(texts)
    assert [model.predict([text])[0] for text in texts] == together
    assert model.sentiments[int(np.argmax(together[0].sentiment))] == "negative"
    assert model.sentiments[int(np.argmax(together[1].sentiment))] == "positive"

    fp16(out, tmp_path / "half.onnx")
    half = ort.InferenceSession(str(tmp_path / "half.onnx"), providers=["CPUExecutionProvider"])
    ids = np.array([[2, 4, 10, 22, 3]], np.int64)
    whole = ort.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    a, b = whole.run(["sentiment"], feed)[0], half.run(["sentiment"], feed)[0]
    assert int(a.argmax()) == int(b.argmax())


def test_data_that_is_wrong_is_named(tmp_path: Path) -> None:
    from models.data import DataError, load

    with pytest.raises(DataError, match="not found"):
        load(tmp_path, "sentiment_twitter", "train")
    (tmp_path / "sentiment_twitter.csv").write_text("split,text,label\ntrain,x,gloomy\n")
    with pytest.raises(DataError, match=r"line 2: label 'gloomy'"):
        load(tmp_path, "sentiment_twitter", "train")
