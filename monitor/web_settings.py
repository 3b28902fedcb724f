"""The section of page and API."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from monitor.addresses import is_loopback
from monitor.sections import Link, Listen, Section


class Web(Section):
    """Page, API and metrics."""

    listen: Listen = Field("127.0.0.1:8686", description="Address of page and API.")
    metrics_listen: Listen | None = Field(None, description="Own address for /metrics and probes.")
    external_url: Link = Field(
        "",
        description="How people reach the page; links in alerts start with it. Without it they start with listen, if "
        "that is one address and one port and the page is this process's.",
    )
    grafana_url: Link = Field("", description="A Grafana dashboard; alerts link to it.")
    token: SecretStr | None = Field(
        None, description="Token of who may read and write. With one, all but metrics and probes needs signing in."
    )
    token_file: Path | None = Field(None, description="File that holds the token.")
    reader_token: SecretStr | None = Field(None, description="Another token, of who may read only.")
    reader_token_file: Path | None = Field(None, description="File that holds the reader's token.")

    def key(self) -> str | None:
        """The token of who may write, if there is one."""
        return _token(self.token, self.token_file)

    def reader_key(self) -> str | None:
        """The token of who may only read, if there is one."""
        return _token(self.reader_token, self.reader_token_file)

    @model_validator(mode="after")
    def _guarded(self) -> Web:
        for name, token, file in (
            ("token", self.token, self.token_file),
            ("reader_token", self.reader_token, self.reader_token_file),
        ):
            if token is not None and file is not None:
                raise ValueError(f"give one of {name} and {name}_file")
            if file is not None and not file.is_file():
                raise ValueError(f"{name}_file {file}: not found")
            if _token(token, file) == "":
                which = name if file is None else f"{name}_file {file}"
                raise ValueError(f"{which}: is empty; make one with: openssl rand -hex 32")
        if self.reader_key() is not None and self.reader_key() == self.key():
            raise ValueError("reader_token is the same as token, which lets its readers write: give another")
        if self.reader_key() is not None and self.key() is None:
            raise ValueError("reader_token without token: nobody could write; set token_file, too")
        if self.metrics_listen == self.listen and not self.listen.endswith(":0"):
            raise ValueError(f"metrics_listen {self.listen} is listen's own address; give another, or leave it out")
        if not is_loopback(self.listen) and self.token is None and self.token_file is None:
            raise ValueError(
                f"listen {self.listen} is open to others: set token_file (page and API then need signing in)"
            )
        return self


def _token(token: SecretStr | None, file: Path | None) -> str | None:
    if file is not None:
        return file.read_text().strip()
    return token.get_secret_value() if token is not None else None
