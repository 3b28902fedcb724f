"""How an alert speaks Chinese: the one-sentence summary, for teams that read it. Pure; ``wording`` has the English."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.episode import EpisodeEvent
from alerts.wording import amount

EVENTS: Mapping[str, str] = {
    "fraud": "欺诈",
    "corruption": "腐败",
    "arrest": "人员被捕",
    "investigation": "被调查",
    "litigation": "诉讼",
    "sanction": "处罚",
    "regulatory_ban": "监管禁令",
    "accident": "事故",
    "recall": "召回",
    "product_failure": "产品故障",
    "disruption": "业务中断",
    "cyber": "网络安全事件",
    "insolvency": "破产清算",
    "default": "债务违约",
    "accounting": "财务问题",
    "short_seller": "做空狙击",
    "downgrade": "评级下调",
    "profit_warning": "盈利预警",
    "layoffs": "裁员",
    "closure": "关停",
    "strike": "罢工",
    "management_exit": "高管离任",
    "misconduct": "不当行为",
    "backlash": "舆论抵制",
    "deal_loss": "交易告吹",
}
"""What the model's kinds of adverse events are called; a kind of a user's own is called as it is."""

_SEVERITIES = {"info": "提示", "warning": "警告", "error": "严重", "critical": "特别严重"}
_REASONS = {
    "quiet": "负面消息已回到常态",
    "expired": "已没有可用的消息来源",
    "merged": "已并入另一条警报",
    "operator": "由值班人员关闭",
}
_ENDS = {
    "back": "消息量已恢复",
    "unseen": "当时其消息来源不可用",
    "expired": "如此之少已成常态",
    "operator": "由值班人员关闭",
}
"""Of silences."""


def span(seconds: float) -> str:
    """A length of time in words: ``35分钟``, ``3小时``, ``12天``."""
    seconds = max(0.0, seconds)
    for size, name, upto in ((1.0, "秒", 90.0), (60.0, "分钟", 5_400.0), (3_600.0, "小时", 172_800.0)):
        if seconds < upto:
            return f"{round(seconds / size)}{name}"
    return f"{round(seconds / 86_400.0)}天"


def summary(
    event: EpisodeEvent, subject: str, mostly: str | None = None, others: int = 0, *, follows: bool = False
) -> str:
    """One plain sentence, as ``wording.summary`` has it."""
    more = f"；另有{others}个监测对象并入本警报" if others else ""
    more += "；此前已有相关警报结束" if follows else ""
    if event.kind == "resolved":
        why = _REASONS.get(event.reason or "", "已结束")
        over = f"负面消息潮历时{span(event.at - event.opened_at)}后结束（{why}）"
        return f"{subject}：{over}；{_counts(event, mostly)}{more}。"
    lead = "" if event.kind == "firing" else f"现为“{_SEVERITIES[event.severity]}”级别，"
    return f"{subject}：{lead}{_counts(event, mostly)}{more}。"


def flash(event: EpisodeEvent, subject: str, rule: str) -> str:
    """One sentence of a flash, as ``wording.flash`` has it."""
    by = f"{event.publishers}家媒体报道“{rule}”"
    if event.kind == "resolved":
        return f"{subject}：触发{span(event.at - event.opened_at)}后，“{rule}”已无新的报道；共{by}。"
    lasted = event.at - event.since
    within = f"{span(lasted)}内" if lasted >= 0.5 else ""
    lead = "" if event.kind == "firing" else f"现为“{_SEVERITIES[event.severity]}”级别，"
    return f"{subject}：{lead}{within}{by}，为负面消息的概率{event.share:.2f}。"


def silence(event: EpisodeEvent, subject: str) -> str:
    """One sentence of a silence, as ``wording.silence`` has it."""
    if event.kind == "resolved":
        why = _ENDS.get(event.reason or "", "已结束")
        return f"{subject}：沉寂{span(event.at - event.since)}后结束（{why}）。"
    expected = f"{amount(event.expected)}条（{amount(event.expected_low)}至{amount(event.expected_high)}）"
    return (
        f"{subject}：已{span(event.at - event.since)}没有任何消息，"
        f"而按{span(event.baseline_span)}的历史预期为{expected}，其消息来源均可用。"
    )


def _counts(event: EpisodeEvent, mostly: str | None) -> str:
    lasted = event.at - event.since
    within = f"{span(lasted)}内出现" if lasted >= 0.5 else "同时出现"
    what = f"{event.stories}条负面"
    what += f"报道，来自{event.publishers}家媒体" if event.publishers else "帖子"
    about = f"，主要涉及{EVENTS.get(mostly, mostly)}" if mostly else ""
    expected = amount(event.expected)
    if event.expected_high >= 0.05:
        expected += f"（{amount(event.expected_low)}至{amount(event.expected_high)}）"
    return (
        f"{within}{what}{about}；加权合计{amount(event.observed)}，"
        f"而按{span(event.baseline_span)}的历史预期为{expected}"
    )
