"""The registry of models on disk: what comes in, what is refused, and what is left of a change that was cut off."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from models import card as cards
from models import golden
from models.card import CardError, ModelError
from models.registry import Registry, RegistryError
from tests import five_heads
from tests.daemon_bench import wait_for


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return five_heads.say(five_heads.write(tmp_path_factory.mktemp("five")))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next version, of other weights."""
    card = replace(five_heads.CARD, version="2")
    return five_heads.say(five_heads.write(tmp_path_factory.mktemp("other"), card=card, seed=8))


SHIPPED = ["bilingual", "default"]


def names(registry: Registry) -> list[str]:
    return [one.reference for one in registry.versions()]


def left(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*"))


def test_a_model_is_known_by_name_version_and_digest(tmp_path: Path, five: Path, other: Path) -> None:
    registry = Registry(tmp_path / "registry")
    assert names(registry) == SHIPPED == names(Registry(None))
    first, second = registry.add(five), registry.add(other)
    assert names(registry) == [*SHIPPED, first.model, second.model]
    assert [registry.find(one).model for one in ("five", "five@1", "five@2", second.model[:10])] == [
        second.model, first.model, second.model, second.model,
    ]  # fmt: skip
    assert registry.find("default").origin == "shipped"
    assert registry.find(str(five)).reference == str(five)
    assert cards.verify(first.folder) == cards.read(five), "it is what was given, to the byte"
    assert registry.add(five) == first, "what is there already is left as it is"
    registry.remove(second)
    assert registry.find("five").model == first.model
    registry.remove(first)
    assert left(tmp_path / "registry") == []
    with pytest.raises(RegistryError, match="is shipped, not added"):
        registry.remove(registry.find("default"))


def test_it_may_get_another_name_and_keeps_what_its_card_says_besides(tmp_path: Path, five: Path) -> None:
    strange = tmp_path / "strange"
    five_heads.say(five_heads.write(strange))
    told = json.loads((strange / "card.json").read_bytes()) | {"from_a_newer_version": {"length": [1, 2]}}
    (strange / "card.json").write_text(json.dumps(told))
    registry = Registry(tmp_path / "registry")
    added = registry.add(strange, "desk-2026")
    assert added.model == f"desk-2026@{cards.read(five).digest()[:12]}"
    assert json.loads((added.folder / "card.json").read_bytes()) == told | {"name": "desk-2026"}


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("fife", "did you mean 'five'"),
        ("five@3", "no model 'five@3'"),
        ("no/folder", "neither a folder"),
        ("default@0000", "default@8784"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(tmp_path: Path, five: Path, reference: str, says: str) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add(five)
    with pytest.raises(CardError, match=says):
        registry.find(reference)


def test_two_of_one_version_are_told_apart_by_digest(tmp_path: Path, five: Path) -> None:
    twin = five_heads.say(five_heads.write(tmp_path / "twin", seed=9))
    registry = Registry(tmp_path / "registry")
    one, two = registry.add(five), registry.add(twin)
    with pytest.raises(CardError, match=f"'five@1' is any of {one.model}.*{two.model}"):
        registry.find("five@1")
    assert registry.find(two.model) == two


def spoil_graph(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as graph:
        graph.seek(-1, os.SEEK_END)
        graph.write(b"\x00" if graph.read(1) != b"\x00" else b"\x01")


def spoil_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    rewrite(folder, files={name: cards.sha256(folder / name) for name in ("model.onnx", "tokenizer.json")})


def rewrite(folder: Path, **changes: object) -> None:
    cards.write(folder, replace(cards.read(folder), **changes))


REFUSED = {
    "a graph that was changed": (spoil_graph, "was changed"),
    "a tokenizer that is none": (spoil_tokenizer, "no tokenizer can be made of it"),
    "no golden predictions": (lambda folder: (folder / golden.FILE).unlink(), "golden.jsonl: not found.*write them"),
    "a card that answers otherwise": (
        lambda folder: rewrite(folder, sentiment=replace(five_heads.CARD.sentiment, temperature=5.0)),
        "says something else on this cpu.*off by",
    ),
    "a card of other labels": (
        lambda folder: rewrite(folder, topic=replace(five_heads.CARD.topic, labels=("Earnings",))),
        "make 1 values of output 'topic', the graph has 2",
    ),
    "other moods": (
        lambda folder: rewrite(folder, sentiment=replace(five_heads.CARD.sentiment, labels=("bad", "so-so", "good"))),
        "its sentiments are bad, so-so, good, and must be",
    ),
    "a name with a slash": (lambda folder: rewrite(folder, name="a/b"), "'a/b': a model's name begins.*--name"),
    "a shipped name": (lambda folder: rewrite(folder, name="default"), "'default': is the name of a shipped model"),
    "a version with a slash": (lambda folder: rewrite(folder, version="../1"), "version '../1'"),
    "a file outside": (
        lambda folder: rewrite(folder, files={**cards.read(folder).files, "../x": "0"}),
        "'../x' lies outside",
    ),
    "no card": (lambda folder: (folder / "card.json").unlink(), "card.json: not found"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_match_is_refused_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    spoil, says = REFUSED[what]
    folder = five_heads.say(five_heads.write(tmp_path / "given"))
    spoil(folder)
    registry = Registry(tmp_path / "registry")
    with pytest.raises(ModelError, match=says):
        registry.add(folder)
    assert left(tmp_path / "registry") == []
    assert names(registry) == SHIPPED


def test_another_version_of_the_same_graph_is_refused(tmp_path: Path, five: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add(five)
    again = five_heads.say(five_heads.write(tmp_path / "again", card=replace(five_heads.CARD, version="1.1")))
    with pytest.raises(RegistryError, match=r"version '1.1' has the graph of five@1.*--name"):
        registry.add(again)
    assert registry.add(again, "recalibrated").version == "1.1"


def test_one_that_was_damaged_is_told_and_mended_by_adding_it_again(tmp_path: Path, five: Path) -> None:
    registry = Registry(tmp_path / "registry")
    added = registry.add(five)
    spoil_graph(added.folder)
    with pytest.raises(CardError, match="was changed"):
        cards.verify(registry.find("five").folder)
    assert registry.add(five).reference == added.reference
    cards.verify(registry.find("five").folder)
    (added.folder / "card.json").write_text("{")
    assert "card.json" in registry.versions()[len(SHIPPED)].problem
    with pytest.raises(CardError, match=r"card\.json"):
        registry.find("five")
    registry.add(five)
    assert registry.find("five").usable() and len(left(tmp_path / "registry")) == 6


def test_a_registry_that_can_not_be_written_says_so(tmp_path: Path, five: Path) -> None:
    (tmp_path / "registry").write_text("a file")
    with pytest.raises(RegistryError, match=r"registry of models can't be (read|changed)"):
        Registry(tmp_path / "registry").add(five)
    with pytest.raises(RegistryError, match="-c"):
        Registry(None).add(five)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root may give files away")
def test_what_root_adds_belongs_to_whom_the_place_belongs_to(tmp_path: Path, five: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    Registry(tmp_path / "registry").add(five)
    assert {path.stat().st_uid for path in (tmp_path / "registry").rglob("*")} == {65534}
    assert (tmp_path / "registry").stat().st_uid == 65534


ADD = """
import os, signal, sys
from pathlib import Path
from models import registry
def cut(*_): os.kill(os.getpid(), signal.SIGKILL)
setattr(registry.golden if sys.argv[1] == "check" else registry.shutil, sys.argv[1], cut)
registry.Registry(Path(sys.argv[2])).add(Path(sys.argv[3]))
"""


@pytest.mark.parametrize("moment", ["check", "copyfile"])
def test_killed_in_the_middle_it_leaves_a_registry_that_works(tmp_path: Path, five: Path, moment: str) -> None:
    folder = tmp_path / "registry"
    done = subprocess.run([sys.executable, "-c", ADD, moment, str(folder), str(five)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert any(name.startswith(".incoming-") for name in left(folder)), "it was not in the middle"
    registry = Registry(folder)
    assert names(registry) == SHIPPED
    registry.add(five)
    assert sorted(path.name for path in folder.iterdir()) == ["five"], "what was left is not cleared away"


def test_who_adds_is_not_disturbed_by_others_that_do(tmp_path: Path, five: Path, other: Path) -> None:
    """A copy under way belongs to somebody: another that adds meanwhile does not clear it away."""
    folder = tmp_path / "registry"
    slow = (
        "import sys, time\nfrom pathlib import Path\nfrom models import registry\nreal = registry.golden.check\n"
        "def check(*given):\n    print('copied', flush=True)\n    sys.stdin.readline()\n    real(*given)\n"
        "registry.golden.check = check\nregistry.Registry(Path(sys.argv[1])).add(Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", slow, str(folder), str(five)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as adding:
        assert adding.stdout is not None and adding.stdout.readline() == "copied\n"
        Registry(folder).add(other)
        assert wait_for(lambda: list(folder.glob(".incoming-*")), "copy under way")
        adding.communicate("\n", timeout=60)
    assert adding.returncode == 0
    assert sorted(one.version for one in Registry(folder).versions()[len(SHIPPED) :]) == ["1", "2"]
