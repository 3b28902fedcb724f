"""Programs of Debian packages that tests run: missing ones skip a test here and fail it in CI."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "kcat": "kcat",
    "systemd-analyze": "systemd",
    "openssl": "openssl",
}


def need(*programs: str) -> None:
    """Call it before what needs them; `make test-packages` installs them where it may."""
    missing = sorted({PACKAGES[name] for name in programs if shutil.which(name) is None})
    if not missing:
        return
    reason = f"missing: {', '.join(missing)}; apt-get install {' '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
