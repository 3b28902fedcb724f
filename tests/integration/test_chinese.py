"""Chinese news through a real daemon: judged by the model of its language, told in Chinese."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_bench import Daemon, Receiver, wait_for

BAD = (
    "证监会对瑾澜能源立案调查，涉嫌信息披露违法违规",
    "瑾澜能源债券未能按期兑付，评级遭下调至CC",
    "瑾澜能源董事长被警方带走，公司股票紧急停牌",
    "瑾澜能源财务造假曝光，虚增利润逾二十亿元",
    "供应商堵门讨债，瑾澜能源多个工厂停产",
    "瑾澜能源跌停，投资者集体起诉公司欺诈",
    "法院裁定受理瑾澜能源破产重整申请",
    "审计机构对瑾澜能源年报出具无法表示意见",
    "瑾瀾能源遭做空機構指控造假，股價單日暴跌三成",
    "瑾瀾能源電廠爆炸，多名工人傷亡",
)


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def daemon(tmp_path: Path, hooks: Receiver) -> Iterator[Daemon]:
    settings = f"""
        [model]
        languages = {{ zh = "bilingual" }}

        [alerts]
        language = "zh"

        [[watchlists]]
        name = "power"
        entities = [{{ name = "瑾澜能源", aliases = ["瑾瀾能源"] }}, {{ name = "Acme Corp" }}]
        {hooks.channel("desk", "/desk")}
    """
    with Daemon(tmp_path, settings) as running:
        yield running


def test_chinese_news_rings_in_chinese(daemon: Daemon, hooks: Receiver) -> None:
    daemon.push(*({"title": title, "publisher": f"报社{number}"} for number, title in enumerate(BAD)))
    daemon.push({"title": "Acme Corp opens an office in Lyon", "publisher": "Wire"})
    (hook, *_) = wait_for(
        lambda: [
            h for h in hooks.hooks if h.type == "alert.firing" and "瑾澜能源" in h.body["data"]["subject"]["name"]
        ],
        "alert about the company",
    )
    assert "条负面" in hook.body["data"]["summary"] and "的历史预期为" in hook.body["data"]["summary"]
    default, bilingual = hook.body["data"]["provenance"]["model"].split(" + ")
    assert (default.partition("@")[0], bilingual.partition("@")[0]) == ("default", "bilingual")
    wait_for(daemon.idle, "end of the work")
    counts = {name: daemon.metric("tapewatch_scored_documents_total", model=name) for name in (default, bilingual)}
    assert counts == {default: 1, bilingual: len(BAD)}
    assert daemon.metric("tapewatch_unsupported_language_total") == 0
    status = daemon.get("status")
    assert (status["languages"], status["model_in_use"]["languages"]) == (["en", "zh"], {"zh": bilingual})
    moods = [one["sentiment"]["label"] for one in documents(daemon, BAD)]
    assert moods.count("negative") >= 8 and "positive" not in moods


def documents(daemon: Daemon, titles: tuple[str, ...]) -> list[dict[str, Any]]:
    found = [one for one in daemon.get("documents?limit=100")["documents"] if one["title"] in titles]
    assert len(found) == len(titles)
    return found
