"""The image as docs/deployment.md runs it, in a real engine: no rights, a root that can't be written, one volume."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_bench import ACME, free_port, request, wait_for
from tests.podman import Container, limits, podman, volume

pytestmark = pytest.mark.image

TOKEN = "a-token-of-these-tests"
SIGNED_IN = {"authorization": f"Bearer {TOKEN}"}
BUDGET = 30
"""Seconds that compose.yaml, the unit and the manifests give a stop."""
PATIENCE = 120.0
TITLE = "Acme shares plunge after a profit warning"
FOREIGN = "Spółka Acme ogłosiła wczoraj, że zamknie fabrykę"
"""Its language is not told by its words: what tells it has to be unpacked, and there is no /tmp."""


class Running(Container):
    """The image with settings, token and ``state`` as docs/deployment.md tells, and less: not even a /tmp."""

    def __init__(self, image: str, folder: Path, state: str) -> None:
        self.web, self.metrics = free_port(), free_port()
        (folder / "token").write_text(TOKEN)
        settings = ACME + '[web]\nlisten = "0.0.0.0:8686"\ntoken_file = "/etc/tapewatch/token"\n'
        (folder / "tapewatch.toml").write_text(settings)
        for path in (folder / "token", folder / "tapewatch.toml"):
            path.chmod(0o644)
        super().__init__(
            image,
            [
                "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges",
                *(f"--volume={folder / name}:/etc/tapewatch/{name}:ro" for name in ("tapewatch.toml", "token")),
                f"--volume={state}:/var/lib/tapewatch",
                f"--publish=127.0.0.1:{self.web}:8686", f"--publish=127.0.0.1:{self.metrics}:9686",
            ],
        )  # fmt: skip

    def ready(self) -> None:
        def asked() -> bool:
            assert self.state()["Running"], self.log()[-3000:]
            try:
                return request(f"http://127.0.0.1:{self.metrics}/readyz")[0] == 200
            except OSError:
                return False

        wait_for(asked, "readiness", PATIENCE)

    def titles(self) -> list[str]:
        listed = json.loads(request(f"http://127.0.0.1:{self.web}/api/v1/documents?limit=100", headers=SIGNED_IN)[2])
        return [one["title"] for one in listed["documents"]]


@pytest.fixture
def state(image: str) -> Iterator[str]:
    with volume() as name:
        yield name


def test_the_image_says_how_it_wants_to_be_run(image: str) -> None:
    (told,) = json.loads(podman("image", "inspect", image).stdout)
    config = told["Config"]
    print(f"{told['Size'] / 1e6:.0f} MB")
    assert config["User"] == "65532:65532" and set(config["ExposedPorts"]) == {"8686/tcp", "9686/tcp"}
    assert set(config["Volumes"]) == {"/var/lib/tapewatch"} and config["StopSignal"] in ("SIGTERM", "15")
    assert told["Healthcheck"]["Interval"] == 15e9, "built in OCI's format, which holds no health check"


def test_it_runs_without_rights_and_keeps_its_state(image: str, state: str, tmp_path: Path) -> None:
    with Running(image, tmp_path, state) as container:
        container.ready()
        podman("healthcheck", "run", container.name)
        assert container.state()["Health"]["Status"] == "healthy"
        facts = dict(line.split(":\t") for line in container.run("cat", "/proc/1/status").stdout.splitlines())
        assert facts["Uid"].split() == facts["Gid"].split() == ["65532"] * 4
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0 and facts["NoNewPrivs"] == "1"
        for place in ("/written", "/tmp/written", "/opt/tapewatch/written", "/etc/tapewatch/written"):
            refused = container.run("touch", place, check=False)
            assert refused.returncode == 1 and "Read-only" in refused.stderr, place

        url = f"http://127.0.0.1:{container.web}/api/v1/documents"
        assert request(url, {"title": TITLE})[0] == 401
        for title in (TITLE, FOREIGN):
            assert request(url, {"title": title}, headers=SIGNED_IN)[0] == 202
        wait_for(lambda: {TITLE, FOREIGN} <= set(container.titles()), "the judged documents", PATIENCE)

        begun = time.monotonic()
        podman("stop", "--time", BUDGET, container.name)
        took = time.monotonic() - begun
        assert took < BUDGET and container.state()["ExitCode"] == 0, container.log()[-3000:]
        for last in ("a stop", "a kill"):
            podman("start", container.name)
            container.ready()
            assert TITLE in container.titles(), f"gone after {last}"
            podman("kill", "--signal", signal.SIGKILL.name, container.name)
            wait_for(lambda: not container.state()["Running"], "end", PATIENCE)
        podman("start", container.name)
        container.ready()
        files = container.run("find", "/var/lib/tapewatch", "-type", "f").stdout.split()
        assert {Path(name).name.split(".")[0] for name in files} == {"tapewatch"}, files
        print(f"stopped in {took:.1f} s, started again after that and after two kills; its files: {files}")


def test_commands_run_in_it(image: str, state: str, tmp_path: Path) -> None:
    with Running(image, tmp_path, state) as container:
        checked = container.run("tapewatch", "check-config", "-c", "/etc/tapewatch/tapewatch.toml")
        assert "fine" in checked.stderr
        judged = container.run("tapewatch", "predict", stdin=json.dumps({"text": TITLE}) + "\n")
        assert json.loads(judged.stdout)["sentiment"]["label"] == "negative"


def test_what_it_may_not_read_is_named(image: str, state: str, tmp_path: Path) -> None:
    container = Running(image, tmp_path, state)
    assert "fine" in tried(image, tmp_path, f"{state}:/var/lib/tapewatch")[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    refused, told = tried(image, tmp_path, f"{closed}:/var/lib/tapewatch")
    assert refused == 2 and 'engine.kafka.data_dir = "/var/lib/tapewatch/data": this account may not look there' in told
    (tmp_path / "tapewatch.toml").chmod(0o600)
    with container:
        wait_for(lambda: not container.state()["Running"], "end", PATIENCE)
        assert container.state()["ExitCode"] == 2
        assert "/etc/tapewatch/tapewatch.toml' is not readable" in container.log()


def tried(image: str, settings: Path, mounted: str) -> tuple[int, str]:
    """Exit status and words of check-config for Kafka, with a folder for the state."""
    kafka = ["--env=TAPEWATCH_ENGINE__KIND=kafka", '--env=TAPEWATCH_ENGINE__KAFKA__BROKERS=["kafka:9092"]']
    volumes = [
        f"--volume={settings / 'tapewatch.toml'}:/etc/tapewatch/tapewatch.toml:ro",
        f"--volume={settings / 'token'}:/etc/tapewatch/token:ro",
        f"--volume={mounted}",
    ]
    done = podman(
        "run", "--rm", *limits(), *kafka, *volumes, image, "check-config", "-c", "/etc/tapewatch/tapewatch.toml",
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr
