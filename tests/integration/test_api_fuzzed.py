"""The description of the API, tried out by schemathesis against a daemon at work: whatever fits it is no defect, what
doesn't is refused, and answers are what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.daemon_bench import ACME, Daemon, Receiver, wait_for

TOKEN = "a-token-of-these-tests"

CHECKS = ("positive_data_acceptance",)
"""What no schema can say is left out: a cursor is one of ours, an end comes after its beginning, a key is watched."""


SETTINGS = """
# One bad document among others costs itself alone.
[[operations]]
include-name = "POST /api/v1/documents"
checks.negative_data_rejection.enabled = false
"""


def test_what_is_described_is_what_is_served(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    (folder / "token").write_text(TOKEN)
    with Receiver() as hooks:
        daemon = Daemon(folder, ACME + hooks.channel("desk", "/desk") + '[web]\ntoken_file = "token"\n')
        daemon.headers["authorization"] = f"Bearer {TOKEN}"
        with daemon:
            daemon.ring()
            alert = wait_for(lambda: daemon.get("alerts")["alerts"], "an alert")[0]["alert"]
            daemon.post(f"alerts/{alert}/feedback", {"verdict": "true"})
            # One worker: Python 3.11 counts the depth of syntax trees for all threads together, and two that parse at once
            # (Hypothesis reads the source of filters) may end with "AST constructor recursion depth mismatch".
            command = [
                str(Path(sys.executable).parent / "schemathesis"), "run", f"{daemon.url}/openapi.json",
                "--exclude-path", "/api/v1/stream", "--header", f"Authorization: Bearer {TOKEN}",
                "--exclude-checks", ",".join(CHECKS), "--max-examples", "8", "--max-time", "35", "--seed", "7",
                "--workers", "1", "--no-color", "--suppress-health-check", "all",
            ]  # fmt: skip
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
            assert daemon.logged("request_failed") == []
            assert "selected" in done.stdout and " 0 tested" not in done.stdout
