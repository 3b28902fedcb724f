"""The image of deploy/, built once a run; and the same installation under a systemd of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.podman import IMAGE, MANAGED, ROOT, base, build, need_podman

SYSTEMD = f"""
FROM {{base}}
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends systemd dbus procps
COPY --from={IMAGE} /opt/tapewatch /opt/tapewatch
COPY deploy/systemd/tapewatch.service /etc/systemd/system/
CMD ["/lib/systemd/systemd"]
"""


@pytest.fixture(scope="session")
def image() -> str:
    need_podman()
    took = build(ROOT / "deploy" / "Containerfile", IMAGE, ROOT, "--build-arg", f"BASE={base()}")
    print(f"\nbuilt in {took:.0f} s, less where layers were there")
    return IMAGE


@pytest.fixture(scope="session")
def managed(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("systemd") / "Containerfile"
    path.write_text(SYSTEMD.format(base=base()))
    ignored = path.parent / "ignored"
    ignored.write_text("*\n!deploy/systemd\n")
    build(path, MANAGED, ROOT, "--ignorefile", str(ignored))
    return MANAGED
