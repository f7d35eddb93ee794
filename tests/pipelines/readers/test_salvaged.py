"""Counting what is no UTF-8 the fast way gives what decoding with `lake.mark` gives, also where characters are cut."""
from __future__ import annotations

import random

from pipelines.readers import heading, mojibake
from pipelines.readers.marks import DAMAGE, salvaged


def test_what_is_valid_and_how_many_bytes_are_not():
    dice = random.Random(7)
    pieces = ["银川市".encode(), "银川市".encode("gb18030"), b"a,1\r\n", "é€".encode(), DAMAGE.encode(), b"\xed\xa0\x80", b"\xf0\x9f\x98", "😀".encode(), b"\x80\xff"]
    for _ in range(500):
        whole = b"".join(dice.choices(pieces, k=dice.randint(0, 12)))
        raw = whole[dice.randint(0, 2):len(whole) - dice.randint(0, 3)]
        marked = raw.decode("utf-8", "lake.mark")
        assert salvaged(raw) == (marked.replace(DAMAGE, ""), marked.count(DAMAGE)), raw


def test_a_wrong_codec_is_told_as_before():
    said = "姓名,地址\n王小明,银川市兴庆区解放西街\n" * 20
    assert mojibake.kind(said) is None and mojibake.kind("Jürgen,Müller,Zoë,Noël,Chloé,Renée\n" * 9) is None and mojibake.kind("é" * 5) is None
    assert mojibake.kind(said.encode("gb18030").decode("latin-1")) == mojibake.LATIN
    assert mojibake.kind(said.encode("gb18030").decode("cp1252", "replace")) == mojibake.LATIN
    assert mojibake.kind(said.encode().decode("gbk", "replace")) == mojibake.GBK


def test_a_header_cell_is_compared_without_blanks_and_marks():
    for cell in ("\ufeff 姓\u3000名\u200b ", "A b\tC", "ß\xa0Ｘ", "\x1c\u2028i"):
        assert heading.key(cell) == "".join(ch for ch in cell if not ch.isspace() and ch not in "\ufeff\u200b").casefold()
