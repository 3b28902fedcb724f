"""Ctrl-C before the daemon is there."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from pathlib import Path


def test_an_interrupt_while_the_command_is_loaded_is_one_line(tmp_path: Path) -> None:
    # What a shell starts in the background ignores interrupts, and so does all that it starts.
    loading = ["env", "--default-signal=INT", sys.executable, "-X", "importtime", "-m", "monitor", "run"]
    told = []
    with subprocess.Popen(loading, stderr=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4_096)  # what nobody reads holds it up: it can't be through
        for line in process.stderr:
            if not line.startswith("import time:"):
                told.append(line)
            elif line.rstrip().endswith((" typer", " monitor.cli")):
                raise AssertionError("all was loaded, and no interrupt was sent")
            elif " typer." in line:
                break
        process.send_signal(signal.SIGINT)
        told += [line for line in process.stderr if not line.startswith("import time:")]
    assert (told, process.returncode) == (["interrupted\n"], 130)
