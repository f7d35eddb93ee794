"""dBASE tables: every kind of field, every encoding, memo files, and headers that lie."""
from __future__ import annotations

import string
import struct

import pytest
from hypothesis import given, strategies as st

from tests.corpus.boxes import zipped
from tests.corpus.documents import dbf
from tests.pipelines.readers import child


def table(fields: list[tuple[bytes, bytes, int]], rows: list[bytes], version: int = 3, driver: int = 0, count: int | None = None) -> bytes:
    """A table of (name, type, width) and raw records, deletion mark included."""
    described = b"".join(struct.pack("<11sc4xBB14x", name, kind, width, 0) for name, kind, width in fields)
    head = struct.pack("<B3BIHH17xB2x", version, 126, 11, 1, len(rows) if count is None else count, 33 + len(described), 1 + sum(f[2] for f in fields), driver)
    return head + described + b"\r" + b"".join(rows) + b"\x1a"


def test_every_kind_of_field(bench):
    fields = [(b"NAME", b"C", 8), (b"N", b"N", 10), (b"D", b"D", 8), (b"L", b"L", 1), (b"I", b"I", 4), (b"F", b"F", 6)]
    rows = [b" " + "张三".encode("gbk").ljust(8) + b"   0012.50" + b"20200102" + b"T" + struct.pack("<i", -7) + b"1.5000",
            b"*" + b"gone".ljust(8) + b" " * 10 + b" " * 8 + b"?" + bytes(4) + b" " * 6,
            b" " + bytes(8) + b"**********" + b"00000000" + b"?" + bytes(4) + bytes(6), b" " + b" x".ljust(8) + b"1".rjust(10) + b"20201399" + b"n" + bytes(4) + b"-1e3".rjust(6)]
    got = bench.read(table(fields, rows), format="dbf")
    assert got.unit.header == ("NAME", "N", "D", "L", "I", "F")
    assert got.rows == [(1, "张三", "0012.50", "2020-01-02", "T", "-7", "1.5000"), (3, "", "**********", "", "", "0", ""), (4, " x", "1", "20201399", "n", "0", "-1e3")]
    assert (got.reading.lines, got.reading.blank, got.reading.records, got.unit.encoding) == (4, 1, 3, "gb18030")


@pytest.mark.parametrize("encoding, driver, options, name", [
    ("gbk", 0x4D, {}, "gb18030"), ("gbk", 0, {}, "gb18030"), ("gbk", 0x03, {}, "gb18030"), ("gb18030", 0x7A, {}, "gb18030"), ("utf-8", 0, {}, "utf-8"), ("big5", 0x78, {}, "big5hkscs"),
    ("big5", 0, {"encoding": "big5"}, "big5hkscs"), ("utf-8", 0x4D, {"encoding": "utf-8"}, "utf-8")])
def test_encodings_of_tables(bench, encoding, driver, options, name):
    got = bench.read(dbf(("名", "地址"), [("張三", "銀川市"), ("李四", "a")], encoding, driver), format="dbf", **options)
    assert got.unit.header == ("名", "地址") and got.cells == [["張三", "銀川市"], ["李四", "a"]] and got.unit.encoding == name


def test_damaged_texts_cost_their_record_and_private_use_is_mapped(bench):
    whole = dbf(("N",), [("张三",), ("李四",), ("王五",)])
    got = bench.read(whole.replace("李四".encode("gbk"), b"\xfe\x59\xc0\xff"), format="dbf")
    assert got.cells == [["张三"], ["王五"]] and got.reading.rejects == [(2, "encoding")]
    got = bench.read(whole.replace("李四".encode("gbk"), b"\xfe\x59ab"), format="dbf")
    assert got.cells[1] == ["\u9fb4ab"] and got.unit.repairs == 1


def test_a_table_must_hold_the_records_it_counts(bench):
    whole = dbf(("N",), [("a",), ("b",), ("c",)])
    assert bench.read(whole[:-1], format="dbf").cells == bench.read(whole + bytes(100), format="dbf").cells == [["a"], ["b"], ["c"]]
    for content in (whole[:-3], whole[:68], whole + b" d", whole[:-1] + b" d\x1a", whole[:4] + b"\x02\0\0\0" + whole[8:], whole[:4] + b"\xff\xff\xff\xff" + whole[8:],
                    whole[:10] + b"\x09\0" + whole[12:], whole.replace(b" b", b"\x1ab"), whole[:43] + b"Q" + whole[44:]):
        assert bench.refused(content, format="dbf") == "dbf"


def test_memos_are_read_from_the_zip_and_missed_without(bench):
    memo = "很长的说明".encode("gbk")
    made = table([(b"N", b"C", 1), (b"M", b"M", 10)], [b" a" + b"1".rjust(10), b" b" + b" " * 10], version=0xF5, driver=0x4D)
    fpt = struct.pack(">LHH504x", 2, 0, 512) + struct.pack(">LL", 1, len(memo)) + memo
    assert bench.read(zipped({"x.dbf": made, "X.FPT": fpt}), format="dbf").cells == [["a", "很长的说明"], ["b", ""]]
    assert bench.refused(made, format="dbf") == "dbf" and bench.refused(zipped({"x.dbf": made, "x.fpt": fpt[:-3]}), format="dbf") == "dbf"


@child.FEW
@given(st.lists(st.tuples(st.text(st.sampled_from(string.printable[:95] + "张三李四，·"), max_size=6), st.integers(-10**9, 10**9), st.dates(), st.booleans()), max_size=6))
def test_dbf_written_is_dbf_read(tmp_path_factory, rows):
    """Trailing blanks are padding and cannot be told from text."""
    fields = [(b"C", b"C", 12), (b"N", b"N", 11), (b"D", b"D", 8)]
    raw = [(b"*" if gone else b" ") + text.encode("gbk").ljust(12) + str(n).encode().rjust(11) + f"{day:%Y%m%d}".rjust(8, "0").encode() for text, n, day, gone in rows]
    [(_, found, facts)] = child.extract(child.modules().dbf_records, tmp_path_factory.mktemp("d"), table(fields, raw, driver=0x4D), "dbf")
    assert found == [[text.rstrip(" "), str(n), day.isoformat()] for text, n, day, gone in rows if not gone]
    assert (facts["lines"], facts["blank"]) == (len(rows), sum(r[3] for r in rows))
