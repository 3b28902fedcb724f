"""An encoder of some forty words, without any training: what tests of the training side begin with."""

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
