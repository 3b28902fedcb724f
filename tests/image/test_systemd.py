"""The unit under a real systemd, in a container of its own: start, restarts, watchdog, reload, stop, and its fences."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.daemon_bench import ACME, wait_for
from tests.podman import Container

pytestmark = pytest.mark.image

PATIENCE = 150.0
WATCHDOG = 30.0
TITLE = "Acme shares plunge after a profit warning"
PORT = 8686
ASK = """
import json, sys, urllib.request
body = sys.argv[2].encode() if len(sys.argv) > 2 else None
request = urllib.request.Request(sys.argv[1], body, {"content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


class Machine(Container):
    """A machine with systemd and the unit of deploy/, as docs/deployment.md installs it."""

    def __init__(self, image: str) -> None:
        super().__init__(image, ["--privileged", "--systemd=always"])

    def show(self, *names: str) -> list[str]:
        shown = self.run("systemctl", "show", "tapewatch", *(f"--property={name}" for name in names)).stdout
        found = dict(line.split("=", 1) for line in shown.splitlines())
        return [found[name] for name in names]

    def main(self) -> int:
        """The process of a unit that runs, 0 while none does."""
        process, state = self.show("MainPID", "SubState")
        return int(process) if state == "running" else 0

    def another(self, than: int) -> float:
        """Seconds until another process runs."""
        begun = time.monotonic()
        wait_for(lambda: self.main() not in (0, than), "restart", PATIENCE)
        return time.monotonic() - begun

    def ask(self, path: str, *body: str) -> str:
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}"
        return self.run("/opt/tapewatch/bin/python", "-c", ASK, url, *body).stdout

    def settings(self, text: str) -> None:
        self.run("sh", "-c", "install -d /etc/tapewatch && cat > /etc/tapewatch/tapewatch.toml", stdin=text)


@pytest.fixture
def machine(managed: str) -> Iterator[Machine]:
    with Machine(managed) as one:
        wait_for(
            lambda: one.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
            "systemd",
            PATIENCE,
        )
        one.settings(ACME + f'[web]\nlisten = "127.0.0.1:{PORT}"\n')
        yield one


def test_the_unit_runs_is_watched_and_keeps_its_state(machine: Machine) -> None:
    machine.run("systemctl", "start", "tapewatch")
    assert machine.show("ActiveState", "StatusText", "WatchdogUSec") == ["active", "running", "30s"]
    machine.ask("documents", json.dumps({"title": TITLE}))
    wait_for(lambda: TITLE in machine.ask("documents?limit=5"), "the judged document", PATIENCE)
    fences(machine)

    first = machine.main()
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "tapewatch")
    after_kill = machine.another(first)
    assert machine.show("NRestarts") == ["1"] and TITLE in machine.ask("documents?limit=5")

    second = machine.main()
    machine.run("systemctl", "reload", "tapewatch")
    assert machine.main() == second, "a reload is no restart"

    machine.run("kill", "-STOP", second)  # as a loop that hangs
    after_hang = machine.another(second)
    journal = machine.run("journalctl", "--unit=tapewatch", "--no-pager").stdout
    assert "Watchdog timeout" in journal and machine.show("NRestarts") == ["2"]
    assert after_hang > WATCHDOG / 2, "something else than the watchdog ended it"
    assert TITLE in machine.ask("documents?limit=5")

    begun = time.monotonic()
    machine.run("systemctl", "stop", "tapewatch")
    took = time.monotonic() - begun
    assert machine.show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]
    print(f"running {after_kill:.0f} s after a kill, {after_hang:.0f} s after a hang; stopped in {took:.1f} s")


def fences(machine: Machine) -> None:
    """What the process may do, tried in its own view of the files, under its own account."""
    process = machine.main()
    facts = dict(line.split(":\t") for line in machine.run("cat", f"/proc/{process}/status").stdout.splitlines())
    account = facts["Uid"].split()[0]
    assert int(account) >= 61184, "no account of systemd's own making"
    assert int(facts["CapBnd"], 16) == 0 and facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2"
    inside = ["nsenter", f"--target={process}", "--mount", "setpriv", f"--reuid={account}", "--clear-groups", "touch"]
    for folder in ("opt/tapewatch", "usr", "var", "etc", "etc/tapewatch", "root", "home"):
        place = f"/{folder}/x"
        refused = machine.run(*inside, place, check=False)
        assert refused.returncode == 1 and re.search("Read-only|Permission denied", refused.stderr), place
    machine.run(*inside, "/var/lib/tapewatch/x", "/tmp/x")
    assert machine.run("test", "-e", "/tmp/x", check=False).returncode == 1, "its /tmp is everybody's"
    exposure = machine.run("systemd-analyze", "security", "tapewatch", "--no-pager").stdout.splitlines()[-1]
    print(f"account {account}; {exposure[2:]}")


def test_a_wrong_setting_ends_it_for_good(machine: Machine) -> None:
    machine.settings("[engin]\n")
    assert machine.run("systemctl", "start", "tapewatch", check=False).returncode == 1
    wait_for(lambda: machine.show("ActiveState") == ["failed"], "end of the tries", PATIENCE)
    journal = machine.run("journalctl", "--unit=tapewatch", "--no-pager").stdout
    assert "did you mean 'engine'" in journal and "Start request repeated too quickly" in journal
