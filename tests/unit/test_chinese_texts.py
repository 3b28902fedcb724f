"""The Chinese training texts: how many of what, how apart, and that every label stands where it says."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from models.challenge import challenge_set
from models.chinese import compose
from models.chinese.compose import counts, masked
from models.chinese.material import FOLDER, read
from models.labelled import SAME, MaterialError, Text
from models.labels import RISKS, TOPICS
from pipelines.universe import load_universe
from tests.templates import kept_together

ROOT = Path(__file__).parents[2]
SHARED_RUN = 12
"""Characters in a row that no text may have in common with the challenge sets."""
PAIRS = (
    "国國会會业業东東车車银銀证證产產动動务務开開关關报報时時间間实實对對电電书書长長门門问問马馬风風飞飛鱼魚鸟鳥龙龍"
    "发發经經营營级級红紅纪紀约約线線练練终終给給绩績统統续續维維编編网網罗羅罚罰习習职職联聯脑腦与與兴興举舉义義乐樂"
    "买買卖賣贵貴费費资資赔賠赚賺质質购購贷貸货貨财財败敗账賬贸貿赢贏权權条條来來杀殺极極构構标標样樣检檢涨漲济濟减減"
    "汇匯没沒测測满滿热熱点點爱愛状狀独獨现現环環画畫疗療盘盤码碼确確离離种種积積称稱穷窮笔筆类類紧緊荣榮药藥虚虛补補"
    "观觀规規视視计計认認让讓议議记記讲講许許论論设設访訪诉訴评評试試话話该該详詳误誤说說请請诺諾调調谈談谢謝边邊过過"
    "达達运運还還这這进進连連远遠选選递遞释釋钱錢铁鐵错錯锁鎖队隊阶階际際险險随隨难難预預领領频頻题題额額顾顧饭飯馆館"
)


@cache
def composed() -> list[Text]:
    return compose(7)


def bare(text: str) -> str:
    """Without blanks and punctuation, of one width."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text)).casefold()


# -- how many -----------------------------------------------------------------------------------------------


def test_there_is_enough_of_everything() -> None:
    found = counts(composed())
    assert sum(found["texts"].values()) >= 5_500
    assert sum(found["templates"].values()) >= 700
    assert 0.55 <= found["scripts"]["simplified"] / sum(found["templates"].values()) <= 0.67
    assert min(found["risks, simplified"].values()) >= 10
    assert min(found["risks, traditional"].values()) >= 5
    assert found["events"]["opposite"] >= 60
    assert found["events"]["adverse"] <= found["events"]["harmless"]
    held = [text for text in composed() if text.split == "valid"]
    assert {kind for text in held for kind in text.risks or ()} == set(RISKS)
    assert {text.topic for text in held} >= set(TOPICS)
    assert min(found["topics"].values()) >= 8


def test_one_template_in_ten_is_for_validation_and_stays_so_whatever_the_seed() -> None:
    parts = {origin: {text.split for text in texts} for origin, texts in kept_together(composed()).items()}
    assert all(len(splits) == 1 for splits in parts.values())
    assert 0.07 <= sum(splits == {"valid"} for splits in parts.values()) / len(parts) <= 0.13
    other = compose(8)
    assert {origin: {text.split for text in texts} for origin, texts in kept_together(other).items()} == parts
    assert len({text.text for text in other} & {text.text for text in composed()}) < 0.2 * len(other)


def test_no_text_and_no_template_is_there_twice() -> None:
    lines = [bare(re.sub(r"\{[^}]*\}|<[^>]*>", "", template.line)) for template in read().templates]
    long = [line for line in lines if len(line) > 8]
    assert sorted({line for line in long if long.count(line) > 1}) == []
    assert len({text.text for text in composed()}) == len(composed())
    for texts in kept_together(composed()).values():
        alike = [masked(text) for text in texts]
        assert all(alike.count(one) <= 2 * SAME for one in alike)


# -- the same again -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_texts_in_any_process() -> None:
    program = "import hashlib; from models.chinese import compose; print(hashlib.sha256(repr(compose(7)).encode()).hexdigest())"
    env = {**os.environ, "PYTHONHASHSEED": "3"}
    elsewhere = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True)
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(composed()).encode()).hexdigest()


def test_a_template_gives_the_same_texts_whatever_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "simplified").mkdir()
    for name in ("names.toml", "words.toml", "simplified/money.txt"):
        shutil.copy(FOLDER / name, tmp_path / name)
    few = compose(7, tmp_path)
    assert few == [text for text in composed() if text.origin.startswith("simplified/money.txt")]


# -- what the labels stand on -------------------------------------------------------------------------------


def test_spans_cut_the_names_and_no_company_fares_worse_than_its_text() -> None:
    for text in composed():
        assert text.text == text.text.strip()
        for entity in text.entities:
            pieces = {text.text[start:end] for start, end in entity.spans}
            assert entity.name in pieces
            assert all(piece in entity.name or entity.name in piece or piece[:2] == entity.name[:2] for piece in pieces)
            if text.risks is not None:
                assert set(entity.risks or ()) <= set(text.risks), text
        spans = sorted(span for entity in text.entities for span in entity.spans)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_each_script_keeps_to_its_characters() -> None:
    simplified, traditional = set(PAIRS[::2]), set(PAIRS[1::2])
    for text in composed():
        alien = traditional if text.origin.startswith("simplified") else simplified
        assert not set(text.text) & alien, text.origin


# -- apart --------------------------------------------------------------------------------------------------


def test_no_company_is_a_real_one() -> None:
    real = {name.casefold() for one in load_universe() for name in (one.name, *one.aliases)}
    companies = {entity.name for text in composed() for entity in text.entities if entity.sentiment or entity.risks}
    assert len(companies) > 1_000
    assert not {name for name in companies if name.casefold() in real}


def test_no_text_is_of_the_challenge_sets() -> None:
    """Names the templates alone: whoever writes them should not read what they are tried on."""
    posts = [bare(post.text) for number in (1, 2) for post in challenge_set(number).chinese]
    runs = {post[i : i + SHARED_RUN] for post in posts for i in range(max(1, len(post) - SHARED_RUN + 1))}
    wrong = set()
    for text in composed():
        own = bare(text.text)
        if any(own[i : i + SHARED_RUN] in runs for i in range(max(1, len(own) - SHARED_RUN + 1))):
            wrong.add(text.origin)
    assert not wrong


# -- what can't be read -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("没有标题的一行", ("line 1, heading: '没有标题的一行'", "write '== sentiment / topic / risks' first")),
        ("== negative / Markets", ("line 1, heading: 'negative / Markets'", "has 2 fields")),
        ("== bad / Markets / -", ("line 1, sentiment: 'bad'", "write one of negative, neutral, positive")),
        ("== neutral / Weather / -", ("line 1, topic: 'Weather'", "write one of Analyst Update")),
        ("== negative / ? / theft", ("line 1, risks: 'theft'", "write labels of models/labels.py")),
        ("== negative / ? / fraud,fraud", ("line 1, risks: 'fraud,fraud'", "write each label once")),
        ("== ? / ? / ?\n{A}跌停 ", ("line 2, text: '{A}跌停 '", "take them away")),
        ("== ? / ? / -\n\n{A}跌{percent}", ("line 3, text: '{percent}'", "see words.toml")),
        ("== ? / ? / -\n{A:circus}跌停", ("line 2, sector: 'circus'", "add it to [simplified] of names.toml")),
        ("== ? / ? / fraud\n{A=-arrest}跌停", ("line 2, risks: 'arrest'", "add it to the heading")),
        ("== ? / ? / -\n{A}<跌停", ("line 2, text: '{A}<跌停'", "close or remove it")),
    ],
)
def test_a_bad_line_is_named_with_its_remedy(tmp_path: Path, lines: str, told: tuple[str, str]) -> None:
    (tmp_path / "simplified").mkdir()
    for name in ("names.toml", "words.toml"):
        shutil.copy(FOLDER / name, tmp_path / name)
    (tmp_path / "simplified" / "bad.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(MaterialError) as refused:
        compose(7, tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'simplified' / 'bad.txt'}, ")
    for part in told:
        assert part in str(refused.value)


def test_a_missing_list_or_file_is_named(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "names.toml", tmp_path)
    with pytest.raises(MaterialError, match=r"words\.toml: .*readable TOML file"):
        compose(7, tmp_path)
    shutil.copy(FOLDER / "words.toml", tmp_path)
    with pytest.raises(MaterialError, match=r"holds no template; write simplified/\*\.txt"):
        compose(7, tmp_path)
    (tmp_path / "words.toml").write_text('[simplified]\ncity = "成都 | 成都"\n', encoding="utf-8")
    (tmp_path / "simplified").mkdir()
    shutil.copy(FOLDER / "simplified" / "money.txt", tmp_path / "simplified")
    with pytest.raises(MaterialError, match=r"\[simplified\] city: '成都' stands twice or is empty; take one away"):
        compose(7, tmp_path)
