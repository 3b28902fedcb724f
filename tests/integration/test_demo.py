"""The demo as `make run` starts it: the crises ring, the surge and the reprints do not, and they resolve."""

import os
import re
import subprocess
import sys

SECONDS = 130


def test_the_demo_tells_its_story() -> None:
    command = [sys.executable, "-m", "monitor", "demo", "--seconds", str(SECONDS), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "COLUMNS": "400"}
    done = subprocess.run(command, capture_output=True, timeout=SECONDS + 90, env=environment)
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    first = re.search(r"first alert: ([\d.]+) s", told)
    assert first and float(first[1]) < 90, told
    rang = re.search(r"rang: (.*)", told)
    resolved = re.search(r"resolved: (.*)", told.split("what happened")[1])
    assert rang and resolved, told
    for key in ("entity:halvorne-motors", "topic:energy-oil"):
        assert key in rang[1], told
        assert key in resolved[1], told
    for key in ("entity:castellan-bank", "entity:quillon-software", "entity:verisande-pharma"):
        assert key not in rang[1], told
    assert "signature verified" in told and "webhooks with a bad signature: 0" in told
    assert "not healthy: dead" in told
    still = re.search(r"still ringing: (.*)", told.split("what happened")[1])
    assert still and {*rang[1].split(", ")} == {*resolved[1].split(", "), *still[1].split(", ")} - {"nothing"}, told
    assert "→ critical" in told, "severities rose, and nobody was told"
    assert "The story is over" in told and "press Ctrl-C" in told
