"""Podman for ``make image-check``: a base without a registry, the image built from deploy/, containers that go away.

Only root gets a base from Debian's packages; with ``TAPEWATCH_CHECK_BASE`` (``make image-check BASE=…``) it is the image
of that name. Layers are kept between runs: ``podman image prune`` and ``podman rmi`` of what is named here free them.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BASE = "localhost/tapewatch-check-bookworm"
IMAGE = "localhost/tapewatch-check"
MANAGED = "localhost/tapewatch-check-systemd"

SUITE = "bookworm"
"""The Debian that the Containerfile's default base is made of, too."""

TRUST = "/etc/ssl/certs"
"""What this machine trusts, its own authorities too: a build reaches package registries as this machine does."""

ENOUGH = 8_192
"""Files and processes of a build or a container: what the unit allows as open files."""

BUILD = 1_800
"""Seconds for one build, packages fetched anew, on a busy machine."""


def lacking() -> str | None:
    """What this machine has not to check the image, None where nothing."""
    if shutil.which("podman") is None:
        return "podman not found; apt-get install podman runc netavark aardvark-dns"
    if os.environ.get("TAPEWATCH_CHECK_BASE") or podman("image", "exists", BASE, check=False).returncode == 0:
        return None
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        return (
            "no base: set TAPEWATCH_CHECK_BASE to an image, or be root with debootstrap (apt-get install debootstrap)"
        )
    return None


def podman(
    *arguments: object, check: bool = True, patience: float = 120, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    # crun refuses machines with both kinds of control groups; runc works with either.
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    command = ["podman", *runtime, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, input=stdin)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def limits() -> list[str]:
    """Of open files and processes. By default podman asks for a million of each, which a bounded root can't set."""
    files, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    return [f"--ulimit={name}={least}:{least}" for name, least in _least(nofile=files, nproc=processes).items()]


def _least(**hard: int) -> dict[str, int]:
    return {name: ENOUGH if value == resource.RLIM_INFINITY else min(value, ENOUGH) for name, value in hard.items()}


def build(containerfile: Path, name: str, context: Path, *arguments: str) -> float:
    """Builds an image and returns the seconds that it took."""
    begun = time.monotonic()
    trust = ["--volume", f"{TRUST}:{TRUST}:ro"]
    # Only Docker's format holds a health check.
    options = ["--format", "docker", "--network", "host", *trust, *limits(), *arguments]
    podman("build", "-f", containerfile, *options, "-t", name, context, patience=BUILD)
    return time.monotonic() - begun


def base() -> str:
    """The name of a base image; made of Debian's packages where none is given and none was made before."""
    if given := os.environ.get("TAPEWATCH_CHECK_BASE"):
        return given
    if podman("image", "exists", BASE, check=False).returncode != 0:
        folder = Path(tempfile.mkdtemp(prefix="tapewatch-base-"))
        try:
            packages = "--include=python3,python3-venv,ca-certificates"
            command = ["debootstrap", "--variant=minbase", packages, SUITE, str(folder / "root")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            subprocess.run(["tar", "-C", folder / "root", "-cf", folder / "root.tar", "."], check=True)
            # One change a variable: of several in one, all is the first one's value.
            authorities = [f"--change=ENV {name}={TRUST}/ca-certificates.crt" for name in ("SSL_CERT_FILE", "PIP_CERT")]
            podman("import", *authorities, folder / "root.tar", BASE, patience=300)
        finally:
            shutil.rmtree(folder)
    return BASE


class Container:
    """One container of ``image``; ``with`` starts it, and takes it away."""

    def __init__(self, image: str, options: Sequence[object], command: Sequence[str] = ()) -> None:
        self.name = f"tapewatch-check-{uuid.uuid4().hex[:8]}"
        self._start = ["run", "--detach", "--name", self.name, *limits(), *options, image, *command]

    def __enter__(self) -> Container:
        podman(*self._start)
        return self

    def __exit__(self, *_: object) -> None:
        podman("rm", "--force", "--time", 1, self.name)

    def run(self, *command: object, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command inside."""
        return podman("exec", "--interactive", self.name, *command, check=check, stdin=stdin)

    def state(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(podman("inspect", "--format", "{{json .State}}", self.name).stdout)
        return found

    def log(self) -> str:
        done = podman("logs", self.name)
        return done.stdout + done.stderr


@contextlib.contextmanager
def volume() -> Iterator[str]:
    name = f"tapewatch-check-{uuid.uuid4().hex[:8]}"
    podman("volume", "create", name)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name)


def need_podman() -> None:
    """Skips, with what to do, where the image can't be built; it is no part of CI."""
    if reason := lacking():
        pytest.skip(reason)
