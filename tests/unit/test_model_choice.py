"""Which model settings and history mean: at the first start, later, and when it is gone."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from models.registry import Registry, RegistryError, Version
from models.uses import History
from monitor.checks import check
from monitor.commands.registry import remove_model
from monitor.model_choice import choice, earlier, listed, named, others
from monitor.settings import Settings, SettingsError, load
from tests import five_heads


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "tapewatch.db.models")


@pytest.fixture
def first(tmp_path: Path, registry: Registry) -> Version:
    return registry.add(five_heads.say(five_heads.write(tmp_path / "first")))


def settings(folder: Path, name: str) -> Settings:
    (folder / "tapewatch.toml").write_text(f'[model]\nname = "{name}"\n')
    return load(folder / "tapewatch.toml", {})


def start(given: Settings, registry: Registry, now: float = 0.0) -> str:
    """What a daemon uses that starts now; it writes down what it must."""
    found = choice(given, now)
    if found.unwritten:
        History(registry).add(found.use)
    return found.version.model


def test_a_name_in_the_registry_means_what_it_meant_at_the_first_start(
    tmp_path: Path, registry: Registry, first: Version
) -> None:
    given = settings(tmp_path, "five")
    assert start(given, registry) == first.model
    card = replace(five_heads.CARD, version="2")
    second = registry.add(five_heads.say(five_heads.write(tmp_path / "second", card=card, seed=8)))
    assert start(given, registry) == first.model, "adding a version has changed what is used"
    History(registry).add(named(given, "five", 1.0).use)
    assert start(given, registry) == second.model
    assert earlier(given, second.model, 2.0).version == first
    rows = {row["model"]: (row["in_use"], row["before"]) for row in listed(given, choice(given, 3.0).use)}
    assert {first.model: (False, True), second.model: (True, False)}.items() <= rows.items()


def test_nothing_is_written_down_while_nobody_chose(tmp_path: Path, registry: Registry) -> None:
    assert start(settings(tmp_path, "default"), registry).startswith("default@")
    assert not registry.folder.exists()


def test_a_folder_of_the_settings_is_gone_back_to_and_not_used_from_elsewhere(
    tmp_path: Path, registry: Registry, first: Version
) -> None:
    own = settings(tmp_path, "./first")  # relative paths start at the file's folder
    assert start(own, registry) == first.model
    History(registry).add(named(own, "default", 1.0).use, choice(own, 0.0).use)
    back = earlier(own, "default", 2.0)
    assert back.use.model == str(tmp_path / "first")
    with pytest.raises(RegistryError, match=r"add it first, with: tapewatch models add \./other"):
        named(own, "./other", 1.0)


def test_what_is_in_use_and_gone_stops_the_start_and_names_the_way_out(
    tmp_path: Path, registry: Registry, first: Version
) -> None:
    given = settings(tmp_path, "default")
    History(registry).add(named(given, "five", 0.0).use)
    with (first.folder / "model.onnx").open("ab") as graph:
        graph.write(b"more")
    with pytest.raises(SettingsError, match=r"tapewatch\.toml: .*model\.onnx: was changed"):
        check(given)
    shutil.rmtree(first.folder)
    with pytest.raises(SettingsError, match=rf"history\.json: in use since 1970.*'{first.model}'.*models use NAME"):
        check(given)
    History(registry).add(named(given, "default", 1.0).use)
    check(given)


def test_a_language_has_a_model_of_its_own(tmp_path: Path, registry: Registry) -> None:
    card = replace(five_heads.CARD, languages=("de",))
    first = registry.add(five_heads.say(five_heads.write(tmp_path / "first", card=card)))
    given = load(write(tmp_path, '{ de = "five" }'), {})
    assert others(given) == {"de": first}
    rows = {row["name"]: row["judges"] for row in listed(given, choice(given, 0.0).use)}
    assert (rows["five"], rows["default"]) == ("de", None)
    with pytest.raises(RegistryError, match=r"five@\S+: is what model\.languages\.de names, and stays"):
        remove_model("five", tmp_path / "tapewatch.toml")


@pytest.mark.parametrize(
    ("languages", "said"),
    [
        ('{ zh = "nobody" }', r'tapewatch\.toml: model\.languages\.zh = "nobody": no model'),
        ('{ zh = "default" }', r'model\.languages\.zh = "default": reads en only; leave it out, or name a model that'),
    ],
)
def test_a_language_that_its_model_can_not_read_is_refused(tmp_path: Path, languages: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check(load(write(tmp_path, languages), {}))


def write(folder: Path, languages: str) -> Path:
    path = folder / "tapewatch.toml"
    path.write_text(f"[model]\nlanguages = {languages}\n")
    return path
