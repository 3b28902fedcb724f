"""Another model in a daemon that works: taken over between two batches, or refused, and what a restart makes of it."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import urllib.request
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from models import card as cards
from models.registry import Registry, Version
from pipelines.documents import ScoredDocument, decode
from tests.daemon_bench import ACME, Daemon, wait_for

SHIPPED = cards.folder_of("default")
DEFAULT, VERSION = cards.read(SHIPPED).identity(), cards.read(SHIPPED).version


class Poster:
    """Posts documents, a hundred a second at most, and keeps what was answered."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.statuses: list[int] = []
        self.names: list[str] = []

    def __enter__(self) -> Poster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(0.05):
            names = [f"n{len(self.names) + i}" for i in range(5)]
            body = "\n".join(json.dumps({"id": name, "title": f"Depot {name} opens in the harbour"}) for name in names)
            self.statuses.append(self._daemon.post("documents", body.encode())[0])
            self.names += names

    def more(self, count: int = 50) -> None:
        """Waits for documents that are posted from now on."""
        wait_for(lambda enough=len(self.names) + count: len(self.names) > enough, "documents")


def scored(daemon: Daemon) -> list[ScoredDocument]:
    with sqlite3.connect(daemon.store) as db:
        rows = db.execute("SELECT value FROM log_scores WHERE key != '~watermark' ORDER BY offset").fetchall()
    db.close()
    return [decode(ScoredDocument, bytes(value)) for (value,) in rows]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path / "daemon", ACME)
    try:
        yield running
    finally:
        running.__exit__()


@pytest.fixture
def twin(daemon: Daemon) -> Version:
    """The shipped weights under another name."""
    return Registry(daemon.folder / "tapewatch.db.models").add(SHIPPED, "twin")


def page(daemon: Daemon) -> str:
    """The view of models, in English."""
    with urllib.request.urlopen(f"{daemon.url}/models?lang=en", timeout=30) as answer:
        return answer.read().decode()


def in_use(daemon: Daemon) -> tuple[str, str, str | None]:
    status = daemon.get("status")
    return status["model"], status["model_in_use"]["by"], status["model_in_use"]["before"]


def test_models_change_under_load_and_every_document_is_one_models(daemon: Daemon, twin: Version) -> None:
    daemon.start()
    assert in_use(daemon) == (DEFAULT, "settings", None)
    with Poster(daemon) as poster:
        poster.more()
        done = daemon.cli("models", "use", "twin")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{twin.model}, version {VERSION}: in use since 20") and DEFAULT in done.stderr
        poster.more()
        assert in_use(daemon) == (twin.model, "use", "default")
        assert "chosen by an operator" in page(daemon)
        assert daemon.metric("tapewatch_model_info", model=twin.model) == 1
        assert daemon.metric("tapewatch_model_info") == 1, "the old one is said to be in use, too"
        assert daemon.cli("models", "rollback").returncode == 0
        poster.more()
    assert set(poster.statuses) == {202}
    assert in_use(daemon) == (DEFAULT, "rollback", None)
    assert "taken back by an operator" in page(daemon)
    assert [(one["model"], one["before"]) for one in daemon.logged("model_switched")] == [
        (twin.model, DEFAULT), (DEFAULT, twin.model),
    ]  # fmt: skip
    wait_for(daemon.idle, "rest")
    assert daemon.stop() == 0
    found = scored(daemon)
    turns = [(model, len(list(run))) for model, run in groupby(one.model for one in found)]
    assert [model for model, _ in turns] == [DEFAULT, twin.model, DEFAULT]
    assert len(found) == len({one.id for one in found}) == len(poster.names)
    print(f"{len(found)} documents, by model in turn: {', '.join(f'{count}' for _, count in turns)}")


def test_what_is_damaged_or_not_there_is_refused_and_the_old_one_goes_on(daemon: Daemon, twin: Version) -> None:
    with (twin.folder / "model.onnx").open("r+b") as graph:
        graph.seek(1_000_000)
        graph.write(b"damaged")
    daemon.start()
    for asked, says in (("twin", "model.onnx: was changed"), ("twine", "did you mean 'twin'"), ("./twin", "add it")):
        done = daemon.cli("models", "use", asked)
        assert done.returncode == 1 and done.stderr.startswith("Model refused: ") and says in done.stderr, done
    assert daemon.cli("models", "rollback").returncode == 1
    status, problem = daemon.post("models/use", {"model": 7})
    assert status == 422 and "GET /api/v1/models" in problem["detail"]
    refused = daemon.logged("model_refused")
    assert [one["wanted"] for one in refused] == ["twin", "twine", "./twin", None]
    assert {(one["level"], one["model"]) for one in refused} == {("error", DEFAULT)}
    daemon.config.write_text(daemon.config.read_text() + '[model]\nname = "twin"\n')
    status, problem = daemon.post("reload")
    assert status == 422 and "model.onnx: was changed" in problem["detail"] and "tapewatch.toml" in problem["detail"]
    daemon.push({"title": "Depot opens in the harbour"})
    wait_for(lambda: scored(daemon), "document")
    assert scored(daemon)[0].model == DEFAULT
    assert in_use(daemon) == (DEFAULT, "settings", None)
    assert not (daemon.folder / "tapewatch.db.models" / "history.json").exists(), "what was refused is kept"


def test_the_later_word_counts_over_restarts(daemon: Daemon, twin: Version) -> None:
    """Of ``models use`` and of the settings; without a daemon too, and after a kill."""
    assert daemon.cli("models", "use", twin.model[:9]).stdout.endswith("in use from the next start on\n")
    daemon.start()
    since = daemon.get("status")["model_in_use"]["since"]
    assert in_use(daemon) == (twin.model, "use", "default")
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    daemon.start()
    assert in_use(daemon) == (twin.model, "use", "default")
    assert daemon.get("status")["model_in_use"]["since"] == since
    assert daemon.logged("started")[-1]["model"] == twin.model

    rows = {row["name"]: row for row in daemon.lines("models", "list", "--json")}
    assert [(row["in_use"], row["before"]) for row in (rows["twin"], rows["default"])] == [(True, False), (False, True)]
    done = daemon.cli("models", "remove", "twin")
    assert done.returncode == 1 and "is in use" in done.stderr

    plain = daemon.config.read_text()
    daemon.config.write_text(f'{plain}[model]\nname = "{DEFAULT[:12]}"\n')
    daemon.send(signal.SIGHUP)
    wait_for(lambda: daemon.logged("reloaded"), "reload")
    assert in_use(daemon) == (DEFAULT, "settings", twin.model), "the settings' word is the later one"
    daemon.config.write_text(plain)
    assert daemon.post("reload") == (200, {"changed": ["model"]})
    assert in_use(daemon)[0] == DEFAULT, "what the settings did away with is back"
    assert daemon.cli("models", "rollback").returncode == 0
    assert in_use(daemon)[0] == twin.model
    assert daemon.stop() == 0

    assert "in use  twin" in daemon.cli("models", "list").stdout
    assert daemon.cli("models", "rollback").returncode == 0
    done = daemon.cli("models", "remove", "twin")
    assert done.returncode == 0, done.stderr
    assert not twin.folder.exists()
    assert daemon.cli("models", "rollback").returncode == 1, "it leads to what is gone"
