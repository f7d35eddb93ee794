"""What is told of an encoding from the numbers of bytes alone is what looking at the characters tells."""
from __future__ import annotations

import random

import pytest

from pipelines.readers import iconv, mojibake
from pipelines.readers.marks import as_utf8, salvaged

TEXTS = ("640102199001011234,张三,宁夏回族自治区银川市兴庆区解放东街１２号\n" * 40, "谢谢，龜龍𠮷，囧,1\n" * 60, "plain,1\n" * 30 + "银川市\n", "é,ü,ß\n" * 40,
         "银川,€5\n" * 40, "一 二 三 四 五 六 七\n" * 30)


def _wide(text: str) -> int:
    return sum(0xE0 <= byte < 0xF0 for byte in text.encode())


def _samples() -> list[bytes]:
    draw = random.Random(7)
    whole = [text.encode(codec) for text in TEXTS for codec in ("gb18030", "utf-8")]
    whole += [text.encode("gb18030").decode("latin-1").encode("gb18030", "ignore") for text in TEXTS]      # read as Latin-1, written as GB 18030
    whole += [text.encode("utf-8").decode("gb18030", "ignore").encode("gb18030") for text in TEXTS]        # read as GBK
    mixed = [draw.choice(whole)[:draw.randrange(400)] + draw.choice(whole)[draw.randrange(200):] for _ in range(400)]
    return whole + mixed + [bytes(draw.choices(range(256), k=draw.randrange(300))) for _ in range(400)] + [
        bytes(draw.choices((0x41, 0x80, 0xBF, 0xC3, 0xE4, 0xE9, 0xF0, 0xF4, 0x8F), k=30)) for _ in range(400)]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_bounds_hold_for_whatever_bytes(cut):
    for raw in _samples():
        raw = raw[:len(raw) - cut]
        least, most = as_utf8(raw)
        valid, damaged = salvaged(raw)
        assert least <= damaged and _wide(valid) <= most


def test_what_is_excluded_is_never_found():
    excluded = 0
    for raw in _samples():
        text = iconv.utf8(raw)
        for sample in (raw, raw[:-1], raw[:-2], raw[:-3]):
            if text is not None and mojibake.unlike(sample) and mojibake.excluded(sample, text):
                excluded += 1
                assert mojibake.kind(sample.decode("gb18030", "ignore")) is None
    assert excluded > 20
    usual = TEXTS[0].encode("gb18030")
    assert mojibake.unlike(usual) and mojibake.excluded(usual, TEXTS[0].encode())      # what nearly all files are


def test_every_code_that_is_taken_leads_back_to_its_bytes():
    """So the bytes of a text without marks are what the way back of GBK leads to."""
    codes = [bytes((lead, trail)) for lead in range(0x81, 0xFF) for trail in (*range(0x40, 0x7F), *range(0x80, 0xFF))]
    codes += [chr(point).encode("gb18030") for point in (*range(0x80, 0xD800), *range(0xE000, 0x30000, 7))]
    for code in codes:
        if iconv.utf8(code) is not None:
            assert code.decode("gb18030").encode("gb18030") == code
