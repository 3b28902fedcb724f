"""What a model says on a device against what it should, where its nodes are computed, and how fast it is."""

import json
import shutil
import sys
from pathlib import Path

import onnxruntime
import pytest
from msgspec.structs import replace

from models import card as cards
from models import golden
from models.classifier import load
from models.placement import gpu_memory_mb, placement
from models.samples import KINDS, samples
from models.session import CPU, CUDA
from monitor.cli import main
from tests import five_heads

DEFAULT = cards.folder_of("default")


class Said:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["tapewatch", "models", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(monkeypatch, capsys)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(DEFAULT, folder)
    return folder


@pytest.mark.parametrize(("options", "graph"), [([], "int8"), (["--half"], "half-precision")])
def test_the_shipped_model_says_here_what_it_should(said: Said, options: list[str], graph: str) -> None:
    """Weights that are replaced need golden predictions of their own: python -m models.golden models/weights/default"""
    code, out, err = said("verify", "--device", "cpu", *options)
    assert (code, err) == (0, ""), out + err
    files, answers, nodes = out.splitlines()
    assert "files as the card says" in files
    assert f"answers on cpu, {graph} graph" in answers
    assert nodes.startswith("nodes of one pass: CPUExecutionProvider ")


def test_one_graph_is_not_taken_for_the_other() -> None:
    texts = golden.read(DEFAULT, cards.read(DEFAULT))
    classifier = load("default", device="cpu")
    assert golden.difference(classifier, texts, half=False).allowed
    found = golden.difference(classifier, texts, half=True)
    classifier.close()
    assert not found.allowed and found.probability > 2 * golden.TOLERANCE
    assert 0 < found.sentiments < len(texts) / 5 and found.topics < len(texts) / 5


def test_every_head_is_compared(tmp_path: Path) -> None:
    classifier = load(str(five_heads.write(tmp_path / "five")), device="cpu", threads=1)
    texts, entities = ["acme fraud and beta wins", "corp recall"], [[[(0, 4)], [(15, 19)]], []]
    said = golden.answers(classifier, texts, entities)
    assert all(one.risk is not None and one.story is not None for one in said) and len(said[0].toward) == 2

    def apart(**changes: object) -> golden.Difference:
        one = replace(said[0], **changes)
        held = [golden.Text(texts[0], one, one, ((((0, 4),)), (((15, 19),)))), golden.Text(texts[1], said[1], said[1])]
        return golden.difference(classifier, held, half=False)

    toward, story = said[0].toward, said[0].story
    assert apart().probability < 1e-9 and toward[1] is not None and story is not None
    assert apart(risk=(said[0].risk or 0) - 0.5).probability == pytest.approx(0.5)
    assert apart(toward=(toward[0], (*toward[1][:-1], toward[1][-1] - 0.25))).probability == pytest.approx(0.25)
    turned = bytes(256 - byte & 255 for byte in story)
    assert apart(story=turned).probability == pytest.approx(2.0)
    classifier.close()


def test_other_answers_fail_and_name_the_text(said: Said, copy: Path) -> None:
    file = copy / golden.FILE
    head, *lines = file.read_text().splitlines()
    changed = json.loads(lines[5])
    first, *others = changed["int8"]["sentiment"]
    changed["int8"]["sentiment"] = [*others, first]
    lines[5] = json.dumps(changed)
    file.write_text("\n".join([head, *lines]))
    code, out, err = said("verify", copy, "--device", "cpu")
    assert code == 1 and "other labels: sentiment 1, topic 0" in out
    assert "says something else on this cpu" in err and changed["text"] in err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "not found"),
        ("", "can't be read"),
        ("{}", "can't be read"),
        ('{"graph": "00"}\n{"text": 5}', "can't be read"),
        ('{"graph": "00"}', "was made by another graph (00…"),
        ('{"graph": "%s"}', "holds no text"),
    ],
)
def test_golden_predictions_that_are_none(said: Said, copy: Path, content: str | None, reason: str) -> None:
    file = copy / golden.FILE
    file.unlink()
    if content is not None:
        file.write_text(content.replace("%s", cards.read(copy).digest()))
    code, _, err = said("verify", copy, "--device", "cpu")
    assert code == 1
    for part in (str(file), reason, f"python -m models.golden {copy}"):
        assert part in err, err


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this machine has CUDA")
@pytest.mark.parametrize("command", ["verify", "bench"])
def test_without_cuda_nothing_else_is_measured_in_its_place(said: Said, command: str) -> None:
    code, out, err = said(command, "--device", "cuda")
    assert code == 1 and "tapewatch[gpu]" in err and "answers" not in out and "texts/s" not in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["verify", "--half"], "--half needs --device cpu"),
        (["verify", "--device", "auto"], "--device is cpu or cuda, not 'auto'"),
        (["verify", "--device", "cpu", "--memory-mb", "512"], "it needs --device cuda"),
        (["bench", "--device", "tpu"], "--device is cpu or cuda, not 'tpu'"),
        (["bench", "--seconds", "0"], "0.01"),
    ],
)
def test_wrong_usage(said: Said, arguments: list[str], reason: str) -> None:
    code, out, err = said(*arguments)
    assert (code, out) == (2, "") and reason in err


@pytest.mark.parametrize("half", [False, True])
def test_nodes_are_told_by_who_computes_them(half: bool) -> None:
    found = placement(DEFAULT, device="cpu", half=half)
    assert not found.astray(CPU)
    assert found.shapes == {"Shape": 1}
    # Had CUDA been asked for, all would be astray but what reckons with shapes.
    astray = found.astray(CUDA)
    assert astray.total() == found.nodes[CPU].total() - 1 and "Shape" not in astray
    assert astray["MatMul" if half else "MatMulIntegerToFloat"] >= 24
    assert half != ("QuantizeLinear" in astray)


@pytest.mark.parametrize(
    ("script", "answer"), [("echo 512; echo 1030", 1542), ("echo '[N/A]'", None), ("echo no driver >&2; exit 9", None)]
)
def test_memory_is_what_nvidia_smi_tells(
    script: str, answer: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert gpu_memory_mb() is None
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory_mb() == answer


def test_bench_as_table_and_as_json(said: Said, tmp_path: Path) -> None:
    folder = five_heads.write(tmp_path / "five")
    code, out, _ = said("bench", "--model", folder, "--seconds", "0.05", "--threads", "1", "--json")
    found = json.loads(out)
    assert code == 0 and set(found["texts_per_second"]) == set(KINDS)
    assert (found["device"], found["threads"], found["gpu_memory_mb"]) == ("cpu", 1, None)
    assert all(rate > 0 for rate in found["texts_per_second"].values())
    assert 0 < found["alone_p50_ms"] <= found["alone_p99_ms"] and found["peak_rss_mb"] > 20
    code, out, _ = said("bench", "--model", folder, "--seconds", "0.05")
    assert code == 0 and out.count("texts/s") == len(KINDS)


def test_samples_are_as_long_as_what_they_stand_for() -> None:
    lengths = {kind: [len(text.split()) for text in samples(kind)] for kind in KINDS}
    mean = {kind: sum(found) / len(found) for kind, found in lengths.items()}
    assert mean["headlines"] < 14 < mean["posts"] < 50 < mean["articles"]
    assert mean["headlines"] < mean["mix"] < mean["posts"]
    assert all(len(set(samples(kind))) > 400 for kind in KINDS)
