"""How texts go through a graph: in passes that fit, with numbers bound to a device or handed over."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from models import card as cards
from models import challenge, golden
from models.classifier import OnnxClassifier, load
from models.passes import CPU_TOKENS, CUDA_TOKENS, WIDTH, ExactPasses, PaddedPasses, bound, outputs_of
from models.session import DeviceError, feeds, half_precision, open_session
from tests import five_heads

GRAPH = cards.folder_of("default") / "model.onnx"
WINDOW = 128


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return five_heads.write(tmp_path_factory.mktemp("models") / "five")


@pytest.fixture(scope="module")
def half() -> OnnxClassifier:
    return load("default", device="cpu", half=True)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(2, WINDOW), max_size=3_000), padded=st.booleans())
def test_every_text_is_in_one_pass_and_every_pass_within_its_budget(lengths: list[int], padded: bool) -> None:
    session = Sessions.get()
    passes = PaddedPasses(session, window=WINDOW, device="cpu") if padded else ExactPasses(session)
    groups = passes.groups(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    for group in groups:
        widths = [lengths[place] for place in group]
        if padded:
            assert len({-(-width // WIDTH) for width in widths}) == 1
            assert len(group) * -(-max(widths) // WIDTH) * WIDTH <= CUDA_TOKENS
        else:
            assert len(set(widths)) == 1 and len(group) * widths[0] <= CPU_TOKENS


class Sessions:
    _one = None

    @classmethod
    def get(cls):
        cls._one = cls._one or open_session(GRAPH, device="cpu")
        return cls._one


def test_512_headlines_of_cuda_are_one_pass() -> None:
    assert [len(group) for group in PaddedPasses(Sessions.get(), window=WINDOW, device="cpu").groups([32] * 512)] == [
        512
    ]


@pytest.mark.parametrize("texts", [1, 7, 32])
def test_bound_numbers_are_those_of_a_plain_run_to_the_bit(texts: int) -> None:
    ids = [[101, *range(2_000, 2_000 + 3 * n), 102] for n in range(1, texts + 1)]
    session, wanted = Sessions.get(), ["topic", "sentiment"]
    plain = session.run(wanted, feeds(ids))
    found = bound(session, wanted, feeds(ids), "cpu")
    for one, another in zip(plain, found, strict=True):
        assert one.dtype == another.dtype and one.tobytes() == another.tobytes()


def test_padding_moves_what_is_said_of_a_text_by_rounding_alone(half: OnnxClassifier) -> None:
    """Texts of every width, alone and in one batch, through the graph and the passes of CUDA on the CPU."""
    lines = [line.text for line in challenge.headlines()][::6]
    texts = lines + [" ".join(lines[n : n + 8]) for n in range(0, len(lines), 8)]
    texts += [f"{one} {another}" for one, another in pairwise(lines[::3])]
    together = half.predict(texts)
    for text, prediction in list(zip(texts, together, strict=True))[::4]:
        alone = half.predict([text])[0]
        assert np.allclose(prediction.sentiment, alone.sentiment, atol=2e-3), text
        assert np.allclose(prediction.topic, alone.topic, atol=2e-3), text


def test_mentions_are_read_in_padded_passes_too(small: Path) -> None:
    session = open_session(small / "model.onnx", device="cpu")
    texts = ["acme recall and beta wins", "acme fraud", "beta"]
    ids = [[2, *(five_heads.WORDS.index(word) for word in text.split()), 3] for text in texts]
    passes = PaddedPasses(session, window=five_heads.WINDOW, device="cpu")
    (group,) = passes.groups([len(row) for row in ids])
    found = passes.run(["tokens", "risk"], [ids[place] for place in group])
    assert found["tokens"].shape == (3, five_heads.WINDOW, 6)
    for place, text in enumerate(texts):
        row = found["tokens"][group.index(place)]
        for position, word in enumerate(text.split(), 1):
            assert row[position].tolist() == pytest.approx(five_heads.TOKENS[word])


class Emulated:
    """Passes of the half-precision graph whose every product is rounded to fp16, as on a GPU and not on a CPU."""

    device, one_at_a_time = "cpu", True

    def __init__(self, graph: Path) -> None:
        self._graph = ReferenceEvaluator(onnx.load_from_string(half_precision(graph)))
        self.outputs = outputs_of(Sessions.get())

    def groups(self, lengths: list[int]) -> list[list[int]]:
        return [[place] for place in range(len(lengths))]

    def run(self, wanted: list[str], ids: list[list[int]]) -> dict[str, np.ndarray]:
        return dict(zip(wanted, self._graph.run(list(wanted), feeds(ids)), strict=True))


def test_numbers_of_16_bits_are_enough_for_the_graph_of_cuda() -> None:
    """Slow arithmetic, so few texts: of those that half precision and int8 judge most unlike, the shortest."""
    folder = cards.folder_of("default")
    card = cards.read(folder)
    texts = sorted(golden.read(folder, card), key=lambda one: len(one.text))[:40]
    texts.sort(key=lambda one: -max(abs(a - b) for a, b in zip(one.half.sentiment, one.int8.sentiment, strict=True)))
    found = golden.difference(OnnxClassifier(folder, card, Emulated(GRAPH)), texts[:4], half=True)
    print(f"half precision: up to {found.probability:.4f} from fp32 on {found.texts} texts")
    assert 0 < found.probability < golden.TOLERANCE / 2


def test_a_pass_that_fails_is_the_devices_fault(small: Path) -> None:
    passes = PaddedPasses(open_session(small / "model.onnx", device="cpu"), window=12, device="cpu")
    with pytest.raises(DeviceError, match="a pass over 2 texts of 12 tokens failed on cpu"):
        passes.run(["nothing"], [[2, 3]] * 2)


CEILING = """
import sys
from pathlib import Path
import onnxruntime as ort
from models.passes import PaddedPasses
from models.session import DeviceError
memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
arena = ort.OrtArenaCfg({"max_mem": int(sys.argv[2]), "arena_extend_strategy": 1})
ort.create_and_register_allocator(memory, arena)
options = ort.SessionOptions()
options.add_session_config_entry("session.use_env_allocators", "1")
session = ort.InferenceSession(str(Path(sys.argv[1]) / "model.onnx"), options, providers=["CPUExecutionProvider"])
passes = PaddedPasses(session, window=12, device="cpu")
passes.run(["sentiment"], [[2, 3]])
try:
    passes.warm_up()
except DeviceError as error:
    print(error)
else:
    print("warm")
"""


@pytest.mark.parametrize(("ceiling", "answer"), [(200_000, "smaller than requested"), (64_000_000, "warm")])
def test_a_warm_up_finds_out_whether_the_largest_pass_has_room(small: Path, ceiling: int, answer: str) -> None:
    """An arena of the CPU with a ceiling, as that of CUDA has one; it is the process's own, so the process is apart."""
    done = subprocess.run([sys.executable, "-c", CEILING, small, str(ceiling)], capture_output=True, text=True)
    assert answer in done.stdout, done.stdout + done.stderr
    if answer != "warm":
        assert (
            f"a pass over {CUDA_TOKENS // five_heads.WINDOW} texts of {five_heads.WINDOW} tokens failed" in done.stdout
        )
