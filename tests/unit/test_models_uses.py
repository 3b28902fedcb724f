"""Which model is in use, which was before: what choices in turn come to, and the file that keeps them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.registry import Registry, RegistryError
from models.uses import History, Use, before, in_turn, standing


def use(model: str, by: str = "use", configured: str = "default") -> Use:
    return Use(at="2026-01-01T00:00:00.000Z", model=model, version="1", digest="0", configured=configured, by=by)


def always(model: str) -> bool:
    del model
    return True


def turns(uses: list[Use]) -> str:
    return "".join(one.model for one in in_turn(uses))


def test_a_rollback_undoes_and_the_next_one_goes_further_back() -> None:
    uses = [use("a"), use("b"), use("c")]
    assert turns(uses) == "abc"
    uses.append(use("b", "rollback"))
    assert turns(uses) == "ab", "the next rollback would lead to what was rolled back from"
    uses += [use("d"), use("d", "settings")]
    assert turns(uses) == "abd"
    found = before(uses, "d", always)
    assert found is not None and found.model == "b"
    found = before(uses, "d", lambda one: one != "b")
    assert found is not None and found.model == "a", "what was removed is passed over"
    assert before(uses, "d", lambda one: one == "d") is None


def test_what_is_in_use_and_not_written_down_is_gone_back_from_too() -> None:
    found = before([use("a"), use("b")], "x", always)
    assert found is not None and found.model == "b"


def test_a_choice_stands_while_the_settings_name_what_they_named() -> None:
    uses = [use("a"), use("b", configured="default")]
    assert standing(uses, "default") == uses[-1]
    assert standing(uses, "other") is None
    assert standing([], "default") is None


@given(st.lists(st.sampled_from("abcR"), max_size=30))
def test_rollbacks_end_where_it_began(steps: list[str]) -> None:
    """However often models change, rolling back again and again ends at the first, and never repeats itself."""
    uses = [use("s")]

    def back() -> bool:
        found = before(uses, uses[-1].model, always)
        if found is not None:
            uses.append(use(found.model, "rollback"))
        return found is not None

    for step in steps:
        if step == "R":
            back()
        else:
            uses.append(use(step))
    left = len(in_turn(uses))
    for _ in range(left - 1):
        assert back()
    assert not back() and uses[-1].model == "s"


def test_choices_are_kept_with_what_was_in_use_until_the_first(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    history = History(registry)
    assert history.read() == ()
    history.add(use("b"), use("a", "settings"))
    history.add(use("c"), use("b"))
    assert [one.model for one in history.read()] == ["a", "b", "c"]
    assert [path.name for path in registry.folder.iterdir()] == ["history.json"]
    assert {one.origin for one in registry.versions()} == {"shipped"}


def test_a_file_that_can_not_be_read_is_named_with_the_way_out(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(RegistryError, match=r"history\.json: can't be read.*move it away"):
        History(registry).read()


CUT = """
import os, signal, sys
from pathlib import Path
from models import registry, uses
def cut(*_): os.kill(os.getpid(), signal.SIGKILL)
uses.synced = cut
uses.History(registry.Registry(Path(sys.argv[1]))).add(uses.Use(
    at="", model="b", version="1", digest="0", configured="default", by="use"))
"""


def test_killed_while_it_writes_it_leaves_what_was_there(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    history = History(registry)
    history.add(use("a"))
    done = subprocess.run([sys.executable, "-c", CUT, str(registry.folder)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(list(registry.folder.glob(".history-*"))) == 1, "it was not in the middle"
    assert [one.model for one in history.read()] == ["a"]
    history.add(use("c"))
    assert [one.model for one in history.read()] == ["a", "c"]
