"""Delimited text: every line is loaded, counted or listed, whatever is wrong with the file."""
from __future__ import annotations

import csv
import io
import random

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from pipelines import readers


def flat(cells: list[str]) -> list[str]:
    """Cells with their line ends as LF: in files with mixed line ends they are read so."""
    return [c.replace("\r\n", "\n").replace("\r", "\n") for c in cells]


def balance(got) -> tuple[int, ...]:
    r = got.reading
    return r.lines, r.header, r.trailer, r.blank, r.records, r.inner_line_ends, r.unparseable


# --- planted faults -------------------------------------------------------------------------------------------------

def test_one_unclosed_quote_in_20000_rows_costs_one_row(bench):
    """The strict reader alone would load part of the file and say nothing about the rest."""
    lines = [f'{i},"张三, {i}",银川' for i in range(20_000)]
    lines[9_999] = '9999,"张三,银川'
    got = bench.read(("n,a,b\n" + "\n".join(lines) + "\n").encode("gb18030"), encoding="gb18030")
    assert got.reading.rejects == [(10_000, "quote")] and got.reading.by == "lines"
    assert got.rows == [(i + 1, str(i), f"张三, {i}", "银川") for i in range(20_000) if i != 9_999]
    assert balance(got) == (20_001, 1, 0, 0, 19_999, 0, 1)


@pytest.mark.parametrize("more", ["true", "c0 NOT IN (SELECT n FROM listed)", "count(*) OVER (PARTITION BY c1) > 0"], ids=["alone", "join", "window"])
def test_rows_read_by_several_threads_keep_their_addresses_whatever_is_asked_of_them(bench, more):
    """A join or a window gives the rows back in any order; then their places in the table must not be taken for their ordinals."""
    rows = 500_000
    content = b"n,a,b\n" + b"".join(b"%d,a%d,%s\n" % (i, i % 7, b"x" * 40) for i in range(1, rows + 1))
    [unit] = readers.units(*bench.land(content))
    bench.con.execute("CREATE OR REPLACE TABLE listed AS SELECT unnest(['1', '2', '3']) AS n; DROP TABLE IF EXISTS t")
    reading = readers.read(bench.con, unit, lambda found, ordinal=None: f"SELECT c0::BIGINT AS n, {more} AS m, "
                           f"{ordinal or ('row_number() OVER ()' if 'OVER' in more else 'NULL::BIGINT')} AS _line FROM {found}", "t")
    assert reading.records == rows and reading.by == "records"
    assert bench.con.execute("SELECT count(*) FROM t WHERE coalesce(_line, rowid + 1) <> n").fetchone()[0] == 0


def test_two_stray_quotes_that_make_one_well_formed_record_do_not_swallow_the_rows_between(bench):
    lines = [f"{i},a{i},b" for i in range(300)]
    lines[10], lines[250] = '10,"a10,b', '250,a250",b'
    got = bench.read(("n,a,b\n" + "\n".join(lines) + "\n").encode())
    assert got.reading.rejects == [(11, "quote")]
    assert {r[1] for r in got.rows} == {str(i) for i in range(300) if i != 10}


def test_faults_and_values_of_several_lines_in_one_file(bench):
    content = ('n,a,b\n'            # 1
               '1,"x\n\ny",z\n'     # 2-4   a value of three lines, one of them empty
               '2,b\n'              # 5     width
               '3,"open,z\n'        # 6     quote
               '\n'                 # 7     blank
               '4,"say ""hi""\nthere","p\nq"\n'  # 8-10  two values of two lines
               '5,a,b,c\n'          # 11    width
               '6,"a"x,b\n'         # 12    quote
               '   \n'              # 13    blank
               '7,5",b\n'           # 14    a literal quote inside a plain field
               '8,a,,,\n'           # 15    empty cells beyond the header
               '9, "x, y" ,b\n'     # 16    blanks around a quoted field
               '10,a')              # 17    cut off
    got = bench.read(content.encode())
    assert got.reading.rejects == [(4, "width"), (5, "quote"), (10, "width"), (11, "quote"), (16, "cut")]
    assert got.rows == [(1, "1", "x\n\ny", "z"), (7, "4", 'say "hi"\nthere', "p\nq"), (13, "7", '5"', "b"), (14, "8", "a", ""),
                        (15, "9", "x, y", "b")]
    assert balance(got) == (17, 1, 0, 2, 5, 4, 5)


@pytest.mark.parametrize("name, content, cells, by", [
    ("crlf", b"a,b\r\n1,x\r\n2,y\r\n", [["1", "x"], ["2", "y"]], "records"),
    ("cr", b"a,b\r1,x\r2,y\r", [["1", "x"], ["2", "y"]], "records"),
    ("mixed ends", b"a,b\r\n1,x\n2,y\r3,z\r\n", [["1", "x"], ["2", "y"], ["3", "z"]], "records"),
    ("excel line break in a cell", b'a,b\r\n1,"x\ny"\r\n', [["1", "x\ny"]], "records"),
    ("crlf inside a value", b'a,b\r\n1,"x\r\ny"\r\n', [["1", "x\r\ny"]], "records"),
    ("no last line end", b"a,b\n1,x\n2,y", [["1", "x"], ["2", "y"]], "records"),
    ("blank lines", b"\n\na,b\n\n1,x\n\n\n2,y\n\n", [["1", "x"], ["2", "y"]], "records"),
    ("null marks stay text", b"a,b\n\\N,NULL\n,\"\"\n", [["\\N", "NULL"], ["", ""]], "records"),
    ("header only", b"a,b\n", [], "records"),
    ("header only, no line end", b"a,b", [], "records"),
    ("bom", b"\xef\xbb\xbfa,b\n1,x\n", [["1", "x"]], "records"),
    ("header of two lines", b'"a\n(1)","b\n\n2"\n1,x\n', [["1", "x"]], "records"),
    ("header of two lines, by lines", b'"a\n(1)","b\n\n2"\n1,x\n2,"y\n', [["1", "x"]], "lines"),
    ("end mark of dos", b"a,b\n1,x\n\x1a", [["1", "x"]], "records"),
    ("one column", b'a\n1\n\n"2\n3"\n""\n', [["1"], ["2\n3"], [""]], "lines"),
    ("spaces are kept", b"a,b\n 1 ,  \n", [[" 1 ", "  "]], "records"),
    ("repeated header", b"a,a,\n1,x,\n", [["1", "x", ""]], "records"),
])
def test_shapes(bench, name, content, cells, by):
    got = bench.read(content)
    assert (got.cells, got.reading.by) == (cells, by)


@pytest.mark.parametrize("content, header", [
    (b"a,a,\n", ("a", "a", "")), (b'\n"x, ""y""",b\n', ('x, "y"', "b")), (b'"a\nb",c\n', ("a\nb", "c")), (b"\xef\xbb\xbf\"a\",b\n", ("a", "b"))])
def test_header_cells_are_given_as_submitted(bench, content, header):
    assert bench.read(content).unit.header == header


@pytest.mark.parametrize("options, content, cells, rejects", [
    ({"delimiter": "|"}, 'a|b\n1|"x|y"\n2|"z\n3|\n', [["1", "x|y"], ["3", ""]], [(2, "quote")]),
    ({"delimiter": "\t"}, 'a\tb\n1\t"x\ty"\n2\t"z\n3\t\n', [["1", "x\ty"], ["3", ""]], [(2, "quote")]),
    ({"delimiter": "^"}, 'a^b\n1^"x^y"\n2^"z\n', [["1", "x^y"]], [(2, "quote")]),
    ({"delimiter": "]"}, 'a]b\n1]"x]y"\n2]"z\n', [["1", "x]y"]], [(2, "quote")]),
    ({"delimiter": "\\"}, 'a\\b\n1\\"x\\y"\n2\\"z\n', [["1", "x\\y"]], [(2, "quote")]),
    ({"delimiter": "|!|"}, 'a|!|b\n1|!|"x|!|y"\n2|!|"z\n3|!|w|\n', [["1", "x|!|y"], ["3", "w|"]], [(2, "quote")]),
    ({"delimiter": "¦"}, 'a¦b\n1¦"x¦y"\n2¦"z\n', [["1", "x¦y"]], [(2, "quote")]),
    ({"quote": "'"}, "a,b\n1,'x,''y'\n2,'z\n3,it's\n", [["1", "x,'y"], ["3", "it's"]], [(2, "quote")]),
    ({"quote": ""}, 'a,b\n1,"x\n2,y"\n3,z,w\n', [["1", '"x'], ["2", 'y"']], [(3, "width")]),
])
def test_dialects_read_the_same_by_lines(bench, options, content, cells, rejects):
    got = bench.read(content.encode(), encoding="utf-8", **options)
    assert (got.cells, got.reading.rejects) == (cells, rejects)
    good = "\n".join(line for n, line in enumerate(content.splitlines()) if n not in [r[0] for r in rejects]) + "\n"
    strict = bench.read(good.encode(), encoding="utf-8", **options)
    assert (strict.cells, strict.reading.by) == (cells, "records")


@pytest.mark.parametrize("content, options, code", [
    (b'"a,b\n1,2\n', {}, "header"), (b'"a"x,b\n1,2\n', {}, "header"), (b"\n" * 50, {}, "header"), (b"," * 10_001 + b"\n", {}, "columns"),
    (b"a" * 1_500_000 + b"\n1\n", {}, "columns"),
    (b"a,b\n" + b"1\n" * 200_001, {}, "unparseable"),
])
def test_unreadable_files_are_refused_with_a_code(bench, content, options, code):
    assert bench.refused(content, **options) == code


def test_a_select_that_loses_rows_is_refused(bench):
    [unit] = readers.units(*bench.land(b"a,b\n1,x\n2,y\n"))
    with pytest.raises(readers.ReadRefused) as refused:
        readers.read(bench.con, unit, lambda rows, o="NULL::BIGINT": f"SELECT c0, {o} AS _line FROM {rows} WHERE c0 = '1'", "lossy")
    assert refused.value.code == "conservation"
    assert bench.con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'lossy' OR table_name LIKE '_lake%'").fetchone() == (0,)


def test_ordinals_are_rowids_in_a_big_file_read_by_several_threads(bench):
    rows = 300_000
    content = b"n,a,b\r\n" + b"".join(b"%d,\xd5\xc5\xc8\xfd,%d\r\n" % (i, i * 7) for i in range(1, rows + 1))
    bench.con.execute("SET threads = 4; SET preserve_insertion_order = false")
    [unit] = readers.units(*bench.land(content, encoding="gb18030"))
    reading = readers.read(bench.con, unit, lambda f, o="NULL": f"SELECT c0, c1, {o}::BIGINT AS _line FROM {f}", "big")
    assert (reading.by, reading.records) == ("records", rows)
    assert bench.con.execute("SELECT count(*) FROM big WHERE c0::BIGINT <> rowid + 1 OR c1 <> '张三'").fetchone() == (0,)
    assert bench.con.execute("SELECT current_setting('preserve_insertion_order')").fetchone() == (False,)
    bench.con.execute("DROP TABLE big; SET preserve_insertion_order = true; RESET threads")


def test_files_are_units_in_the_order_of_their_names(bench):
    got = bench.read_all(b"a,b\n1,x\n", b"b,a\n2,y\n", b"a,b\n")
    assert [(g.unit.number, g.unit.header, g.cells) for g in got] == [
        (1, ("a", "b"), [["1", "x"]]), (2, ("b", "a"), [["2", "y"]]), (3, ("a", "b"), [])]


def test_raw_rows_gives_back_what_was_submitted(bench):
    manifest, source, scratch = bench.land(b'a,b\n1,"x, y"\n2,"z\n3,w\n', b"a,b\n4,v\n5,u\n")
    table = readers.raw_rows(bench.con, manifest, source, [(1, 1), (1, 2), (2, 2), (2, 9)], scratch)
    assert bench.con.execute(f"FROM {table} ORDER BY ALL").fetchall() == [
        (1, 1, ["1", "x, y"], None), (1, 2, ['2,"z'], "quote"), (2, 2, ["5", "u"], None)]


# --- properties -----------------------------------------------------------------------------------------------------

WRITTEN = st.characters(codec="utf-8", exclude_categories=["Cs", "Co", "Cn"], exclude_characters="\0\r\n\x1a")
PLAIN = st.text(st.one_of(WRITTEN, st.sampled_from(' ,|\t;"\'张𠮷')), max_size=12)
LONG = st.lists(st.text(st.sampled_from('张三 "ab'), max_size=6), min_size=2, max_size=4).map("\n".join)
CELL = st.one_of(PLAIN, PLAIN, LONG)


@st.composite
def tables(draw):
    width = draw(st.integers(1, 5))
    return draw(st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=12))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=tables(), delimiter=st.sampled_from(",|\t;"), end=st.sampled_from(["\n", "\r\n", "\r"]), quote=st.sampled_from("\"'"),
       codec=st.sampled_from(["gb18030", "utf-8", "utf-8-sig"]), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), last=st.booleans(),
       fault=st.booleans())
@example(rows=[["\\"]], delimiter=",", end="\n", quote='"', codec="utf-8", quoting=csv.QUOTE_ALL, last=True, fault=True)
def test_what_the_csv_module_writes_is_read_cell_for_cell(bench, rows, delimiter, end, quote, codec, quoting, last, fault):
    width = len(rows[0])
    out = io.StringIO(newline="")
    if width == 1 or any("\n" in c for r in rows for c in r):
        quoting = csv.QUOTE_ALL        # QUOTE_MINIMAL leaves a line end of another kind, or a blank line, unquoted
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quotechar=quote, quoting=quoting)
    writer.writerow([f"h{i}" for i in range(width)])
    writer.writerows(rows)
    if fault:
        out.write(f"{quote}x{delimiter * width}{end}")
    text = out.getvalue()
    content = (text if last else text.removesuffix(end)).encode(codec)
    got = bench.read(content, delimiter=delimiter, quote=quote, encoding="auto" if codec == "gb18030" and not content.isascii() else codec[:5])
    if got.unit.encoding == codec[:5].replace("gb180", "gb18030") or content.isascii():
        assert [flat(c) for c in got.cells] == [flat(r) for r in rows]
        assert bool(got.reading.rejects) == fault


def _rows(rng: random.Random, width: int) -> list[list[str]]:
    cells = ["", '5"', "a,b", 'say "hi"\nthere', "l1\nl2", " x", "张三", "䶮𠮷", "\\N", "abc"]
    return [[str(i), *(rng.choice(cells) for _ in range(width - 1))] for i in range(rng.randint(3, 20))]


@pytest.mark.parametrize("start", range(0, 80, 20))
def test_one_changed_byte_never_loses_a_good_row(bench, start):
    """A byte is changed, added or dropped: all rows it does not touch are read, and the lines close."""
    for seed in range(start, start + 20):
        rng = random.Random(seed)
        width, end, codec = rng.randint(3, 5), rng.choice(["\n", "\r\n"]), rng.choice(["gb18030", "utf-8"])
        rows = _rows(rng, width)
        parts = [(",".join(f"h{i}" for i in range(width)) + end).encode()]
        for row in rows:
            line = io.StringIO(newline="")
            csv.writer(line, lineterminator=end).writerow(row)
            parts.append(line.getvalue().encode(codec))
        content = b"".join(parts)
        at = rng.randrange(len(parts[0]), len(content))
        new = bytes([rng.choice([rng.randrange(256), 34, 34, 10, 13, 44, 0, 255])])
        kind = rng.choice(["put", "add", "drop"])
        changed = content[:at] + (b"" if kind == "drop" else new) + content[at + (kind != "add"):]
        touched, place = set(), 0
        for number, part in enumerate(parts):
            if place - 2 <= at <= place + len(part) + 1:
                touched.add(number - 1)
            place += len(part)
        try:
            got = bench.read(changed, encoding=codec)
        except readers.ReadRefused:
            continue
        found = [flat(c) for c in got.cells]
        assert not [i for i, row in enumerate(rows) if i not in touched and flat(row) not in found], seed
        assert sum(f not in [flat(r) for r in rows] for f in found) <= 2, seed
