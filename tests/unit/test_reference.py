"""The generated pages are those of this code, and nothing that users hold on to is missing in them."""

import re
from pathlib import Path

import pytest

from monitor import reference
from monitor.settings import Settings

PAGES = reference.pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_is_what_the_code_says(name: str) -> None:
    path = reference.DOCS / name
    assert path.is_file(), f"{name} is missing; run: make docs"
    assert path.read_text(encoding="utf-8") == PAGES[name], f"{name} is old; run: make docs"


def test_every_setting_has_a_description() -> None:
    undocumented = [
        f"{section}.{name}"
        for section, model, _ in reference.sections(Settings)
        for name, inner in model.model_fields.items()
        if not inner.description
    ]
    assert not undocumented
    assert "engine.kafka" in {section for section, _, _ in reference.sections(Settings)}


def test_every_command_says_what_it_does() -> None:
    import typer

    from monitor.cli import app

    commands = list(reference._commands(typer.main.get_command(app), "tapewatch"))
    assert len(commands) > 20
    assert [path for path, command in commands if not (command.help or "").strip()] == []


def test_named_metrics_are_there() -> None:
    page = PAGES["metrics.md"]
    for name in (
        "documents_total", "source_up", "source_stale", "source_last_success_timestamp_seconds",
        "source_last_new_timestamp_seconds", "scored_documents_total", "sentiment_total", "topic_total",
        "score_batch_seconds", "score_batch_documents", "stage_lag_seconds", "stage_lag_records",
        "publish_to_alert_seconds", "publish_to_delivery_seconds", "sentiment_index", "negative_stories",
        "negative_stories_expected", "spike_score", "spike_threshold", "alert_firing", "alerts_total", "alerts_firing",
        "deliveries_total", "delivery_seconds", "outbox_pending", "dead_letters_total", "model_info", "build_info",
        "config_info",
    ):  # fmt: skip
        assert f"`tapewatch_{name}`" in page, name


def test_architecture_names_files_that_are_there() -> None:
    page = (reference.DOCS / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:monitor|pipelines|alerts|models)/[\w./-]+)`", page))
    assert len(named) > 60
    assert [name for name in sorted(named) if not (reference.DOCS.parent / name).exists()] == []


def test_docs_name_no_path_of_a_machine() -> None:
    for path in Path(reference.DOCS).rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert "/home/" not in text and "/root/" not in text, path
