"""deploy/: as far as schemas, linters and the daemon itself can tell without a container engine or a cluster."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from monitor.app import PARTS
from monitor.commands.serve import chosen
from monitor.settings import load
from tests.debian import need
from tests.integration.conftest import ROOT, instructions
from tests.monitoring.programs import DEPLOY

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SETTINGS = ("compose/tapewatch.toml", "kubernetes/base/tapewatch.toml")
KUBERNETES = "1.34"
OVERLAYS = ("base", "overlays/gpu", "overlays/autoscale")
BIN = Path(sys.executable).parent


def settings(name: str, folder: Path) -> Any:
    """The shipped settings, with secrets that are there."""
    for secret in ("token", "password"):
        (folder / secret).write_text("secret")
    environ = {"TAPEWATCH_WEB__TOKEN_FILE": str(folder / "token")}
    if "kubernetes" in name:
        environ["TAPEWATCH_ENGINE__KAFKA__PASSWORD_FILE"] = str(folder / "password")
    return load(DEPLOY / name, environ)


# -- image ------------------------------------------------------------------------------------------------


def test_hadolint_finds_no_fault() -> None:
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Containerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_image_is_of_what_is_here_and_runs_as_nobody() -> None:
    steps = instructions()
    for name, rest in steps:
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                for variant in ("cpu", "gpu"):
                    assert (ROOT / source.replace("${VARIANT}", variant)).exists(), source
    assert [rest for name, rest in steps if name == "USER"] == ["65532:65532"]
    assert [name for name, _ in steps].count("HEALTHCHECK") == 1
    for variant in ("cpu", "gpu"):
        lock = (ROOT / "requirements" / f"container-{variant}.txt").read_text()
        assert "--hash=sha256:" in lock and "://" not in lock, "a lock names an index"
        assert ("onnxruntime-gpu==" in lock) == (variant == "gpu")


# -- compose ----------------------------------------------------------------------------------------------


def compose_schema() -> Any:
    found = importlib.util.find_spec("check_jsonschema")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    return json.loads((folder / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_are_what_the_specification_says(name: str) -> None:
    validator = jsonschema.Draft7Validator(compose_schema())
    content = yaml.safe_load((DEPLOY / name).read_text())
    assert [error.message for error in validator.iter_errors(content)] == []
    wrong = deepcopy(content)
    wrong["services"]["score"]["read_onyl"] = True
    assert list(validator.iter_errors(wrong)), "the schema would let anything pass"


def ours() -> dict[str, Any]:
    return {name: one for name, one in COMPOSE["services"].items() if one["image"].startswith("tapewatch")}


def test_compose_runs_every_part_once(tmp_path: Path) -> None:
    configured = settings(SETTINGS[0], tmp_path)
    parts = [chosen(one["command"][4], configured) for one in ours().values() if one["command"][0] == "run"]
    assert sorted(part for some in parts for part in some) == sorted(PARTS)
    assert ours()["topics"]["command"][:2] == ["kafka", "init"]


def test_compose_gives_no_rights_and_starts_in_order() -> None:
    for name, one in COMPOSE["services"].items():
        assert "no-new-privileges:true" in one["security_opt"], name
        if name != "kafka":
            assert one["read_only"] is True and one["cap_drop"] == ["ALL"], name
        for port in one.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} listens for everybody"
        assert name in ours() or (":" in one["image"] and not one["image"].endswith(":latest")), f"{name}: no version"
    assert COMPOSE["services"]["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    for name, one in ours().items():
        if name != "topics":
            assert one["depends_on"]["topics"]["condition"] == "service_completed_successfully"
            assert "healthcheck" not in one, "the image's own"


def test_what_compose_mounts_is_there() -> None:
    for name, one in COMPOSE["services"].items():
        for volume in one.get("volumes", []):
            source, target = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")[:2]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
            assert target.startswith("/")
        assert set(one.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_prometheus_asks_for_every_process_and_finds_the_rules() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "tapewatch"]
    (found,) = job["dns_sd_configs"]
    assert sorted(found["names"]) == sorted(name for name, one in ours().items() if one["command"][0] == "run")
    (listen,) = [pair for _, rest in instructions() for pair in shlex.split(rest) if "METRICS_LISTEN" in pair]
    assert listen.endswith(f":{found['port']}")


@pytest.mark.parametrize("name", SETTINGS)
def test_shipped_settings_are_valid(name: str, tmp_path: Path) -> None:
    configured = settings(name, tmp_path)
    assert configured.engine.kind == "kafka" and configured.channels[0].kind == "alertmanager"


# -- Kubernetes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("missing: kubectl; no Debian package is new enough for these files")
    folder = DEPLOY / "kubernetes" / request.param
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_manifests_are_what_the_published_schemas_say(manifests: list[dict[str, Any]]) -> None:
    for one in manifests:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    wrong = deepcopy(next(one for one in manifests if one["kind"] == "Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"]: one for one in manifests if one["kind"] in ("Deployment", "StatefulSet", "Job")
    }  # fmt: skip


def test_every_part_runs_once_and_only_score_scales(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    configured = settings(SETTINGS[1], tmp_path)
    parts = []
    for name, one in pods(manifests).items():
        (container,) = one["spec"]["template"]["spec"]["containers"]
        if container["args"][0] == "run":
            parts += chosen(container["args"][4], configured)
        if name in ("ingest", "notify", "view"):
            assert one["spec"]["replicas"] == 1 and one["spec"]["strategy"] == {"type": "Recreate"}, name
    assert sorted(parts) == sorted(PARTS)
    scaled = [one["spec"]["scaleTargetRef"]["name"] for one in manifests if one["kind"] == "HorizontalPodAutoscaler"]
    assert scaled in ([], ["score"])
    assert not scaled or "replicas" not in pods(manifests)["score"]["spec"], "it would fight the autoscaler"
    for one in manifests:
        if one["kind"] == "HorizontalPodAutoscaler":
            assert one["spec"]["maxReplicas"] <= configured.engine.kafka.partitions


def test_pods_have_no_rights_and_are_watched(manifests: list[dict[str, Any]]) -> None:
    for name, one in pods(manifests).items():
        spec = one["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["automountServiceAccountToken"] is False, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert "limits" in container["resources"] and "memory" in container["resources"]["limits"], name
        assert ("livenessProbe" in container) == (one["kind"] != "Job"), name
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claimed = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        assert mounted <= {volume["name"] for volume in spec["volumes"]} | claimed, name
    ports = {
        one["name"]: one["containerPort"]
        for one in pods(manifests)["view"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert ports == {"web": 8686, "metrics": 9686}


# -- Alertmanager -----------------------------------------------------------------------------------------


def alert_names() -> list[str]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "alerts.yml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_alertmanager_leads_each_alert_where_it_belongs() -> None:
    need("amtool")
    config = str(DEPLOY / "alertmanager" / "alertmanager.yml")
    checked = subprocess.run(["amtool", "check-config", config], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    wanted = dict.fromkeys(alert_names(), "operators") | {"TapewatchWatchdog": "dead-man", "TapewatchBurst": "desk"}
    wanted |= dict.fromkeys(("TapewatchSourceStale", "TapewatchPipelineLag", "TapewatchChannelDisabled"), "operators")
    for name, receiver in wanted.items():
        command = ["amtool", "config", "routes", "test", f"--config.file={config}", f"alertname={name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.stdout.strip() == receiver, (name, done.stdout, done.stderr)
