"""A real Alertmanager and a real Prometheus on loopback, as tests of the production daemon need them."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.daemon_bench import Receiver, free_port, request, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass
class Served:
    """A program of somebody else's that serves HTTP on loopback; use it in a ``with`` block."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self):
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        wait_for(self._is_ready, f"answer of {self.command()[0]}")
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        try:
            return request(f"{self.url}/-/ready")[0] == 200
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class Alertmanager(Served):
    """Groups by rule and key, tells ``receiver`` at /notified at once, and again every two seconds."""

    receiver: Receiver | None = None

    def command(self) -> list[str]:
        assert self.receiver is not None
        config = self.folder / "alertmanager.yml"
        config.write_text(
            json.dumps(
                {
                    "route": {
                        "receiver": "desk", "group_by": ["alertname", "key"],
                        "group_wait": "0s", "group_interval": "1s", "repeat_interval": "2s",
                    },
                    "receivers": [
                        {"name": "desk", "webhook_configs": [{"url": f"http://127.0.0.1:{self.receiver.port}/notified"}]}
                    ],
                }
            )
        )  # fmt: skip
        return [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Active alerts with these labels."""
        status, _, body = request(f"{self.url}/api/v2/alerts?active=true")
        assert status == 200, body
        return [one for one in json.loads(body) if labels.items() <= one["labels"].items()]

    def amtool(self, *arguments: str) -> str:
        command = ["amtool", *arguments, f"--alertmanager.url={self.url}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    def notified(self, **labels: str) -> list[tuple[str, str]]:
        """(status, severity) of each alert with these labels in each notification, in order."""
        assert self.receiver is not None
        bodies = [json.loads(hook.raw) for hook in list(self.receiver.hooks) if hook.path == "/notified"]
        return [
            (alert["status"], alert["labels"]["severity"])
            for body in bodies
            for alert in body["alerts"]
            if labels.items() <= alert["labels"].items()
        ]


@dataclass
class Prometheus(Served):
    """The shipped settings and rules, every second, on addresses of this machine."""

    targets: dict[str, str] = field(default_factory=dict)
    """Job to the address that it scrapes."""

    def command(self) -> list[str]:
        self.targets["prometheus"] = f"127.0.0.1:{self.port}"
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
        config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [self.targets["alertmanager"]]}]
        for job in config["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [self.targets[job["job_name"]]]}]
        self.file = self.folder / "prometheus.yml"
        self.file.write_text(json.dumps(config))
        return [
            "prometheus",
            f"--config.file={self.file}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def api(self, path: str, **query: object) -> Any:
        """What ``data`` says."""
        status, _, body = request(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        answer = json.loads(body)
        assert status == 200 and answer["status"] == "success", (path, query, answer)
        return answer["data"]

    def rest(self) -> None:
        """Scrapes and evaluates no more; what was seen can still be asked for."""
        self.file.write_text("{}")
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
