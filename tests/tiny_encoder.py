"""An encoder of some forty words, without any training, and rows in them: what tests of the training side begin with."""

import csv
from pathlib import Path

BAD = ("slump", "plunge", "loss", "default", "probe", "downgrade")
GOOD = ("soar", "record", "beat", "win", "upgrade", "surge")
PLAIN = ("meet", "file", "open", "move", "name", "host")
NAMES = ("acme", "brightwater", "halvorne", "castellan", "nordane", "quillon")


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


def rows(folder: Path) -> None:
    """The files that training reads, of some hundred rows each."""
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
                for text in dict.fromkeys(mentions(folder)):
                    writer.writerow(["train", text, "mixed"])


def mentions(folder: Path) -> list[str]:
    """Headlines of two companies with opposite fates: what is said of each stands beside its name."""
    headlines = []
    with (folder / "entity_sentiment_sentfin.csv").open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["split", "text", "entity", "label"])
        for split, count in (("train", 90), ("valid", 30)):
            for i in range(count):
                first, second = NAMES[i % 6], NAMES[(i + 1 + i // 6 % 5) % 6]
                text = f"{first} {BAD[i % 6]} {second} {GOOD[i // 2 % 6]}"
                headlines += [text] if split == "train" else []
                writer.writerow([split, text, first.upper(), "negative"])
                writer.writerow([split, text, second, "positive"])
                writer.writerow([split, text, "nobody", "positive"])
    return headlines
