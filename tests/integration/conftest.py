"""The wheel in an environment of its own, made by the very commands that make the image; a folder to replay in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.classifier import FakeClassifier
from monitor.commands import replay as replaying
from tests.replay_bench import CONFIG

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"


@dataclass
class Installed:
    home: Path
    """The environment, readable by every account."""
    wheel: Path


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Containerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    folder = Path(tempfile.mkdtemp(prefix="tapewatch-image-"))
    folder.chmod(0o755)
    home, dist = folder / "opt", folder / "dist"
    places = {
        "/opt/tapewatch": home,
        "/dist": dist,
        "/src": ROOT,
        "${VARIANT}": "cpu",
        "python3 ": f"{sys.executable} ",
    }
    steps = instructions()
    stages = [place for place, (name, _) in enumerate(steps) if name == "FROM"]
    try:
        for name, command in steps[stages[0] : stages[1]]:
            if name == "RUN":
                command = command.split(" && /opt/tapewatch/bin/python -m compileall")[
                    0
                ]  # it saves time at the start alone
                for place, here in places.items():
                    command = command.replace(place, str(here))
                done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=300, cwd=folder)
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        yield Installed(home, next(dist.glob("tapewatch-*.whl")))
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With settings, and a model that judges by keywords in the place of whichever they name."""
    (tmp_path / "tapewatch.toml").write_text(CONFIG)
    monkeypatch.setattr(replaying, "load", lambda *_, **__: FakeClassifier())
    return tmp_path
