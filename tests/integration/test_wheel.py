"""The wheel: built, installed into an empty environment, run from another folder."""

import json
import subprocess
import zipfile
from pathlib import Path

from tests.integration.conftest import Installed


def test_wheel_runs_from_anywhere(tmp_path: Path, installed: Installed) -> None:
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    for needed in (
        "models/weights/default/model.onnx",
        "models/weights/default/tokenizer.json",
        "models/weights/default/card.json",
        "models/weights/default/golden.jsonl",
        "models/challenge/headlines.tsv",
        "models/challenge/headlines2.tsv",
        "models/challenge/chinese.tsv",
        "models/challenge/chinese2.tsv",
        "models/risk/test.tsv",
        "models/stories/pairs.tsv",
        "models/risk/kinds/fraud.toml",
        "monitor/page/templates/now.html",
        "monitor/page/words/zh.toml",
        "monitor/page/assets/page.js",
        "monitor/page/assets/page.css",
        "monitor/starter.toml",
        "pipelines/data/universe.tsv",
        "monitor/py.typed",
    ):
        assert needed in names, f"{needed} is not in the wheel"
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/", "deploy/")) for name in names)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = installed.home / "bin" / "tapewatch"
    assert subprocess.run([command, "version"], cwd=elsewhere, capture_output=True, check=True).stdout.startswith(
        b"tapewatch "
    )
    found = subprocess.run(
        [command, "predict"],
        cwd=elsewhere,
        input=b'{"id": 1, "text": "Shares plunge after a profit warning"}\n',
        capture_output=True,
        check=True,
    )
    assert json.loads(found.stdout)["sentiment"]["label"] == "negative"
    subprocess.run([command, "init", "."], cwd=elsewhere, check=True, capture_output=True)
    subprocess.run([command, "check-config"], cwd=elsewhere, check=True, capture_output=True)
