"""The daemon as image and systemd run it: another account, no rights, a root that can't be written; and its watchdog.

No container engine and no systemd is at hand in tests: mount namespace, account, capabilities and the ban of writable
code are set up here as they would set them up, around what the image's own commands installed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.daemon_bench import ACME, Daemon, free_port, request, wait_for
from tests.debian import need
from tests.integration.conftest import ROOT, Installed, instructions

TOKEN = "a-token-of-these-tests"
JAIL = """
set -e
mount --make-rprivate /
mount --bind {state} {state}
# The interpreter of these tests may lie where only root may look.
mkdir -p {state}/python && mount --bind {python} {state}/python
hidden={python}
while [ "$hidden" != / ]; do
    [ "$(stat -c %A "$hidden" | cut -c10)" = x ] || unreadable="$hidden"
    hidden=$(dirname "$hidden")
done
if [ -n "$unreadable" ]; then
    mount -t tmpfs -o mode=755 tmpfs "$unreadable"
    mkdir -p {python} && mount --bind {state}/python {python}
fi
umount {state}/python
cut -d' ' -f2 /proc/self/mounts | while read -r place; do
    case "$place" in {state}|/proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac
done
! touch /written-by-root 2>/dev/null
! touch {home}/written-by-root 2>/dev/null
cd {state}
exec setpriv --reuid=65532 --regid=65532 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \\
    env -i {environment} {python_command} -c {prelude} {command}
"""
PRELUDE = """
import ctypes, os, sys
# PR_SET_MDWE, as MemoryDenyWriteExecute= does it: no memory is both written and executed. From Linux 6.3 on.
print("mdwe", ctypes.CDLL(None).prctl(65, 1, 0, 0, 0), file=sys.stderr, flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def image(name: str) -> list[str]:
    """Arguments of an instruction of the image's last stage."""
    steps = instructions()
    last = max(place for place, (step, _) in enumerate(steps) if step == "FROM")
    return [rest for step, rest in steps[last:] if step == name]


@dataclass
class Hardened:
    """``tapewatch`` by the image's ENTRYPOINT, CMD and ENV, in its cell."""

    installed: Installed
    state: Path
    port: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.log = self.state / "log"
        (self.state / "token").write_text(TOKEN)
        self.config = self.state / "tapewatch.toml"
        self.config.write_text(ACME + f'[web]\nlisten = "0.0.0.0:{self.port}"\ntoken_file = "token"\n')
        for path in (self.state, *self.state.iterdir()):
            os.chown(path, 65532, 65532)

    def environment(self) -> dict[str, str]:
        pairs = dict(pair.split("=", 1) for pair in shlex.split(" ".join(image("ENV"))))
        return {name: self._here(value) for name, value in pairs.items()}

    def _here(self, text: str) -> str:
        for place, here in {
            "/opt/tapewatch": self.installed.home,
            "/var/lib/tapewatch": self.state,
            "/etc/tapewatch": self.state,
            ":9686": f":{self.metrics}",
        }.items():
            text = text.replace(place, str(here))
        return text

    def start(self) -> subprocess.Popen[bytes]:
        (program,) = json.loads(image("ENTRYPOINT")[0])
        arguments = [self._here(part) for part in json.loads(image("CMD")[-1])]
        script = JAIL.format(
            state=self.state,
            python=sys.base_prefix,
            home=self.installed.home,
            environment=" ".join(shlex.quote(f"{name}={value}") for name, value in self.environment().items()),
            python_command=self.installed.home / "bin" / "python",
            prelude=shlex.quote(PRELUDE),
            command=shlex.join([str(self.installed.home / "bin" / program), *arguments]),
        )
        command = ["unshare", "--mount", "--ipc", "sh", "-c", script]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd="/")

    def health(self) -> int:
        """The exit status of the image's HEALTHCHECK."""
        command = json.loads(re.sub(r"^.*?CMD ", "", image("HEALTHCHECK")[0]))
        command[0] = str(self.installed.home / "bin" / command[0])
        return subprocess.run([self._here(part) for part in command], capture_output=True, timeout=30).returncode


@pytest.fixture
def cell(installed: Installed) -> Iterator[Hardened]:
    may = (
        os.geteuid() == 0
        and subprocess.run(["unshare", "--mount", "--ipc", "true"], capture_output=True).returncode == 0
    )
    if not may:
        assert not os.environ.get("CI"), "root and mount namespaces are needed in CI"
        pytest.skip("only root may take its rights away: this needs root and mount namespaces")
    folder = Path(tempfile.mkdtemp(prefix="tapewatch-state-"))
    try:
        yield Hardened(installed, folder)
    finally:
        shutil.rmtree(folder)


def test_the_image_runs_without_rights_on_a_root_that_can_not_be_written(cell: Hardened) -> None:
    process = cell.start()
    try:

        def ready() -> bool:
            assert process.poll() is None, cell.log.read_text()[-3000:]
            try:
                return request(f"http://127.0.0.1:{cell.metrics}/readyz")[0] == 200
            except OSError:
                return False

        wait_for(ready, "readiness")
        assert cell.health() == 0
        status = Path(f"/proc/{process.pid}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == ["65532"] * 4 and facts["Groups"].split() == []
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0 and facts["NoNewPrivs"] == "1"
        print(f"uid {facts['Uid'].split()[0]}, capabilities {facts['CapEff']}, {cell.log.read_text().splitlines()[0]}")
        refused = request(f"http://127.0.0.1:{cell.port}/api/v1/documents", {"title": "Acme falls"})
        assert refused[0] == 401
        sign_in = {"authorization": f"Bearer {TOKEN}"}
        title = "Acme shares plunge after a profit warning"
        url = f"http://127.0.0.1:{cell.port}/api/v1"
        assert request(f"{url}/documents", {"title": title}, headers=sign_in)[0] == 202
        wait_for(
            lambda: title.encode() in request(f"{url}/documents?limit=10", headers=sign_in)[2], "the judged document"
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert cell.health() == 1
    finally:
        process.kill()
        process.wait()
    assert {path.name.split(".")[0] for path in cell.state.iterdir()} == {"tapewatch", "token", "log", "python"}


class Manager:
    """systemd's side of sd_notify: a datagram socket."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = folder / "notify"
        self._socket.bind(str(self.path))
        self._socket.settimeout(0.05)
        self.told: list[tuple[float, str]] = []

    def listen(self) -> list[str]:
        """Everything that was told so far."""
        while True:
            try:
                self.told.append((time.monotonic(), self._socket.recv(4_096).decode()))
            except TimeoutError:
                return [text for _, text in self.told]

    def close(self) -> None:
        self._socket.close()

    def signs_of_life(self) -> list[float]:
        self.listen()
        return [at for at, text in self.told if text == "WATCHDOG=1"]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path)
    yield one
    one.close()


def test_systemd_is_told_of_start_life_reload_and_stop(tmp_path: Path, manager: Manager) -> None:
    patience = 1.0
    daemon = Daemon(
        tmp_path / "daemon",
        ACME,
        environment={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(patience * 1e6))},
    )
    with daemon:
        wait_for(lambda: len(manager.signs_of_life()) >= 4, "signs of life")
        told = [text.split("\n")[0] for text in manager.listen()]
        assert told.index("STATUS=starting; /readyz says what it waits for") < told.index("READY=1")
        assert told.index("READY=1") < told.index("WATCHDOG=1")
        daemon.send(signal.SIGHUP)
        wait_for(lambda: [t.split("\n")[0] for t in manager.listen()].count("READY=1") == 2, "end of the reload")
        assert any(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", text) for text in manager.listen())
        daemon.send(signal.SIGSTOP)  # as a loop that something holds up
        manager.listen()
        before = len(manager.signs_of_life())
        time.sleep(1.5 * patience)
        held = len(manager.signs_of_life()) - before
        assert held == 0, "a daemon that does nothing gives no sign of life"
        daemon.send(signal.SIGCONT)
        wait_for(lambda: len(manager.signs_of_life()) > before, "life again")
        assert daemon.stop() == 0
    assert manager.listen()[-1] == "STOPPING=1"
    print(f"{len(manager.signs_of_life())} signs of life; none in {1.5 * patience} s while it was stopped")


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "100000"}
    with Daemon(tmp_path / "daemon", ACME, environment=environment) as daemon:
        wait_for(lambda: daemon.logged("supervisor_unreachable"), "complaint")
        daemon.push({"title": "Acme shares fall"})
        assert daemon.stop() == 0


def unit(tmp_path: Path) -> Path:
    """The shipped unit, with the command of this environment."""
    text = (ROOT / "deploy" / "systemd" / "tapewatch.service").read_text()
    command = Path(sys.executable).parent / "tapewatch"
    path = tmp_path / "tapewatch.service"
    path.write_text(text.replace("/opt/tapewatch/bin/tapewatch", str(command)))
    return path


def test_systemd_finds_no_fault_in_the_unit_and_little_exposure(tmp_path: Path) -> None:
    need("systemd-analyze")
    path = unit(tmp_path)
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", path]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60)
    print(judged.stdout.splitlines()[-1])
    assert judged.returncode == 0, judged.stdout
