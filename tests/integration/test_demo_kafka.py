"""The demo on a real Kafka, as `make run-kafka` starts it."""

import os
import re
import subprocess
import sys


def test_the_demo_plays_on_kafka_with_a_process_for_each_part(kafka: str) -> None:
    command = [sys.executable, "-m", "monitor", "demo", "--seconds", "60", "--listen", "127.0.0.1:0", "--kafka", kafka]
    done = subprocess.run(command, capture_output=True, timeout=300, env={**os.environ, "COLUMNS": "400"})
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    first = re.search(r"first alert: ([\d.]+) s", told)
    rang = re.search(r"rang: (.*)", told)
    assert first and float(first[1]) < 50 and rang and "entity:halvorne-motors" in rang[1], told
    for key in ("entity:castellan-bank", "entity:quillon-software", "entity:verisande-pharma"):
        assert key not in rang[1], told
    assert "each part is a process of its own" in told
    assert "signature verified" in told and "webhooks with a bad signature: 0" in told
    assert "not healthy: dead" in told
