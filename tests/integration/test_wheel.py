"""The wheel: built, installed into an empty environment, run from another folder."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_wheel_runs_from_anywhere(tmp_path: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv is missing; make setup installs it"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT], check=True)
    wheel = next((tmp_path / "dist").glob("tapewatch-*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "models/weights/default/model.onnx",
        "models/weights/default/tokenizer.json",
        "models/weights/default/card.json",
        "models/risk/test.tsv",
        "models/risk/kinds/fraud.toml",
        "monitor/page/page.html",
        "monitor/page/page.js",
        "monitor/page/page.css",
        "monitor/starter.toml",
        "pipelines/data/universe.tsv",
        "monitor/py.typed",
    ):
        assert needed in names, f"{needed} is not in the wheel"
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)
    home = tmp_path / "env"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, home], check=True)
    python = home / "bin" / "python"
    requirements = ROOT / "requirements" / "run.txt"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "-r", requirements], check=True
    )
    subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = home / "bin" / "tapewatch"
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
