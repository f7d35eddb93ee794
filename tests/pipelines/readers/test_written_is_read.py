"""What any legal writer wrote is read cell for cell, and one changed byte costs no row but its own.

A file is legal when a reader that knows its dialect can tell its cells; where several files mean the same, or one file
means several things, an assumption says so with its reason. Reading is by an identity SELECT, so that what is compared
is what the rules would see.
"""
from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import openpyxl
import pandas as pd
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from pipelines import readers
from pipelines.readers import heading
from tests.corpus.forms import by_hand

EXAMPLES = int(os.environ.get("READ_EXAMPLES", "0"))      # for one long run by hand


def profile(examples: int) -> settings:
    """The same examples in every run."""
    return settings(max_examples=EXAMPLES or examples, deadline=None, derandomize=not EXAMPLES, database=None, suppress_health_check=list(HealthCheck))


# --- tables ---------------------------------------------------------------------------------------------------------

# Common and rare Han, full-width and half-width signs, everything that means something in some dialect, line ends, and
# blanks and separators of Unicode that some readers take for line ends.
SIGNS = "张三李四银川市䶮𠮷𬭎ＡＢ，　；｜abcXYZ0189,;|\t^~\x01'\"\\ \n\r=+-@<>&#%\x0b\x0c\x85\u2028·"
CELL = st.one_of(st.text(st.sampled_from(SIGNS), max_size=8), st.sampled_from(["", " ", '"', "'", "\\", "\\N", "NULL", " x ", '""', "''", ",", "\n", "\r\n", "\\\\", "\\n", "a\nb"]))


@st.composite
def tables(draw: Callable[..., Any], cell: st.SearchStrategy[str] = CELL, narrowest: int = 1, longest: int = 8) -> list[list[str]]:
    width = draw(st.integers(narrowest, 5))
    return draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=longest))


NAMES = [f"h{i}" for i in range(5)]


def header_of(rows: Sequence[Sequence[str]]) -> list[str]:
    return NAMES[:len(rows[0])]


def read_back(bench: Any, content: bytes, **options: Any) -> list[Any]:
    """The units of one file, read; the contract knows h0, h1, …"""
    spelled = [[name] for name in NAMES]
    manifest, source, scratch = bench.land(content, **({"format": "auto"} | options))
    return [bench.read_unit(unit) for unit in readers.units(manifest, source, scratch, spelled)]


def as_read(rows: Sequence[Sequence[str]], text: str) -> list[list[str]]:
    """Rows as they must come back: in a file with several kinds of line ends, they are LF inside cells too."""
    if len(set(re.findall("\r\n|\r|\n", text))) < 2:
        return [list(r) for r in rows]
    return [[c.replace("\r\n", "\n").replace("\r", "\n") for c in r] for r in rows]


def legal(rows: Sequence[Sequence[str]], text: str, codec: str) -> None:
    """What no reader can tell apart is not drawn."""
    # A line of blanks is a blank line, and not a row of one blank cell.
    assume(len(rows[0]) > 1 or all(c.strip(" ") for [c] in rows))
    if codec == "gb18030" and not text.isascii():
        assume(not _is_utf8(text.encode(codec)))      # both readings are text: only the department knows
    # 0x1A alone on the last line is the end mark of DOS programs.
    assume(not re.search("(^|[\r\n])\x1a$", text))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


CODECS = st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"])
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


# --- the csv module -------------------------------------------------------------------------------------------------

@profile(110)
@given(rows=tables(), delimiter=st.sampled_from(",;|\t^~\x01¦"), quote=st.sampled_from("\"'"), slash=st.booleans(), quoting=st.sampled_from(["minimal", "all", "none"]),
       end=ENDS, codec=CODECS, last=st.booleans())
def test_the_csv_module(bench, rows, delimiter, quote, slash, quoting, end, codec, last):
    """Every dialect the module can write, declared in the contract."""
    options: dict[str, Any] = {"delimiter": delimiter, "quote": quote}
    kinds = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "none": csv.QUOTE_NONE}
    dialect: dict[str, Any] = {"quotechar": quote}
    if slash:
        dialect |= {"escapechar": "\\", "doublequote": False}
        options["escape"] = "\\"
    if quoting == "none":
        dialect["quotechar"], options["quote"] = None, ""
        if not slash:      # nothing can be said about a delimiter inside a cell
            assume(not any(delimiter in c for r in rows for c in r))
        assume(not any(e in c for r in rows for c in r for e in "\r\n"))      # nor about a line end
        assume(len(rows[0]) > 1 or all(c for [c] in rows))
    elif any(e in c for r in rows for c in r for e in "\r\n"):
        quoting = "all"      # before Python 3.13, the module leaves a line end of another kind than its own unquoted
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=kinds[quoting], **dialect).writerows([header_of(rows), *rows])
    text = out.getvalue() if last else out.getvalue().removesuffix(end)
    legal(rows, text, codec)
    [got] = read_back(bench, text.encode(codec), encoding="gb18030" if codec == "gb18030" else "auto", **options)
    assert (list(got.unit.header), got.cells, got.reading.rejects) == (header_of(rows), as_read(rows, text), [])


@profile(60)
@given(rows=tables(narrowest=2), delimiter=st.sampled_from(",;|\t^~\x01"), everything=st.booleans(), end=ENDS, codec=CODECS)
def test_the_csv_module_undeclared(bench, rows, delimiter, everything, end, codec):
    """The usual dialects are told from the file: nothing is declared but GB 18030 where the text could be either."""
    everything = everything or any(e in c for r in rows for c in r for e in "\r\n")
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL).writerows([header_of(rows), *rows])
    text = out.getvalue()
    legal(rows, text, codec)
    [got] = read_back(bench, text.encode(codec), encoding="gb18030" if codec == "gb18030" else "auto")
    assert (list(got.unit.header), got.cells, got.reading.rejects) == (header_of(rows), as_read(rows, text), [])


# --- other writers --------------------------------------------------------------------------------------------------

@profile(35)
@given(rows=tables(), sep=st.sampled_from(",;|\t"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]), end=ENDS, codec=CODECS)
def test_pandas(bench, rows, sep, quoting, end, codec):
    if any(e in c for r in rows for c in r for e in "\r\n"):
        quoting = csv.QUOTE_ALL      # as above: pandas writes by the csv module
    text = pd.DataFrame(rows, columns=header_of(rows), dtype=object).to_csv(None, sep=sep, index=False, quoting=quoting, lineterminator=end)
    legal(rows, text, codec)
    [got] = read_back(bench, text.encode(codec), encoding="gb18030" if codec == "gb18030" else "auto", delimiter=sep)
    assert (got.cells, got.reading.rejects) == (as_read(rows, text), [])


# XML cannot hold control characters, and reads CR as LF (XML 1.0 §2.2, §2.11); openpyxl does not mark text of blanks only
# as significant, and then it is nothing, to Excel too.
IN_SHEETS = CELL.map(lambda c: re.sub("[\r\x00-\x08\x0b\x0c\x0e-\x1f]", "", c)).map(lambda c: c if c.strip() else "")


@profile(6)
@given(rows=tables(IN_SHEETS, longest=40))
def test_openpyxl(bench, rows):
    """Text cells; a row of blanks is an empty row of the sheet, so every row has something in its first cell."""
    rows = [[f"{n}{r[0]}", *r[1:]] for n, r in enumerate(rows)]
    made = openpyxl.Workbook()
    for number, row in enumerate([header_of(rows), *rows], 1):
        for column, value in enumerate(row, 1):
            cell = made.active.cell(number, column)
            cell.value, cell.data_type = value, "s"
    out = io.BytesIO()
    made.save(out)
    [got] = read_back(bench, out.getvalue())
    assert (got.cells, got.reading.rejects) == (rows, [])


@profile(50)
@given(rows=tables(), delimiter=st.sampled_from(["|!|", "||", "@|@", "^^", ",", "\t", "¦", "，"]), quote=st.sampled_from("\"'"), end=ENDS, codec=CODECS, choices=st.randoms(use_true_random=False))
def test_by_hand(bench, rows, delimiter, quote, end, codec, choices):
    """Delimiters of several characters, quotes only where the writer felt like it, blank lines, no last line end."""
    def cell(value: str) -> str:
        needs = any(s in value for s in (delimiter, quote, "\n", "\r"))
        # A cell that begins or ends like the delimiter would move it.
        near = any(value.endswith(delimiter[:n]) or value.startswith(delimiter[-n:]) for n in range(1, len(delimiter)))
        return quote + value.replace(quote, quote * 2) + quote if needs or near or value.strip(" ") != value or choices.random() < 0.3 else value

    lines = []
    for row in [header_of(rows), *rows]:
        line = delimiter.join(map(cell, row)) + end
        lines += [line, end] if choices.random() < 0.1 else [line]
    text = "".join(lines)
    text = text if choices.random() < 0.5 else text.removesuffix(end)
    legal(rows, text, codec)
    [got] = read_back(bench, text.encode(codec), encoding="gb18030" if codec == "gb18030" else "auto", delimiter=delimiter, quote=quote)
    assert (got.cells, got.reading.rejects) == (as_read(rows, text), [])


@profile(6)
@given(rows=tables(longest=40), ascii_only=st.booleans(), codec=CODECS)
def test_json_lines(bench, rows, ascii_only, codec):
    text = "".join(json.dumps(dict(zip(header_of(rows), r)), ensure_ascii=ascii_only) + "\n" for r in rows)
    legal([["x"]], text, codec)
    [got] = read_back(bench, text.encode(codec), encoding="gb18030" if codec == "gb18030" else "auto")
    assert (list(got.unit.header), got.cells, got.reading.rejects) == (header_of(rows), rows, [])


@profile(25)
@given(rows=tables(CELL.map(lambda c: re.sub("[\r\n]", "", c).strip(" ")[:6])), end=st.sampled_from(["\n", "\r\n"]), codec=st.sampled_from(["utf-8", "gb18030"]), cut=st.booleans())
def test_fixed_width(bench, rows, end, codec, cut):
    """Widths are bytes of the file's own encoding; blanks at a cell's end are its padding, also when they are cut off."""
    widths = [max([len(h.encode()), *(len(r[i].encode(codec)) for r in rows)]) + 1 for i, h in enumerate(header_of(rows))]
    lines = ["".join(c + " " * (w - len(c.encode(codec))) for c, w in zip(r, widths)) for r in [header_of(rows), *rows]]
    assume(all(line.strip(" ") for line in lines))      # a row of blanks is a blank line
    last = sum(widths[:-1])
    lines = [line if not cut else line[:-1] if len(line.rstrip(" ").encode(codec)) > last else line for line in lines]
    text = end.join(lines) + end
    legal([["x"]], text, codec)
    [got] = read_back(bench, text.encode(codec), encoding=codec, format="fixed", widths=tuple(widths))
    assert (got.cells, got.reading.rejects) == (rows, [])


# --- one changed byte -----------------------------------------------------------------------------------------------

@dataclass
class Written:
    """A file and where its rows stand: `parts` are the bytes of the header and of each row, in order."""

    parts: list[bytes]
    rows: list[list[str]]
    options: dict[str, Any] = field(default_factory=dict)
    mark: bytes = b""      # before the header

    @property
    def content(self) -> bytes:
        return self.mark + b"".join(self.parts)


# Cells as departments have them: the signs of a dialect now and then, line ends in one cell of many.
REAL = st.one_of(st.text(st.sampled_from("张三银川市䶮𠮷ab12 "), max_size=5), st.text(st.sampled_from("张三银川市䶮𠮷ab12 "), max_size=5),
                 st.sampled_from(["", "", "5\"", "it's", "a,b", "a\nb", 'say "hi"\nthere', "\\N", "x\\", "a|b", "1\t2", "l1\nl2\nl3", " x "]))


@st.composite
def written(draw: Callable[..., Any]) -> Written:
    form = draw(st.sampled_from(["csv", "csv", "csv", "all", "slash", "hand", "none", "jsonl", "fixed"]))
    width = draw(st.integers(2, 5))
    rows = draw(st.lists(st.lists(REAL, min_size=width - 1, max_size=width - 1), min_size=3, max_size=14))
    rows = [[f"{n}", *r] for n, r in enumerate(rows)]
    end, declared = draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans())
    codec = draw(st.sampled_from(["utf-8", "gb18030", "utf-16-le"] if form in ("csv", "all") else ["utf-8", "gb18030"]))
    return _FORMS[form](rows, end, codec, declared)


def _delimited(rows: list[list[str]], end: str, codec: str, declared: bool, **dialect: Any) -> Written:
    def line(cells: Sequence[str]) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator=end, **dialect).writerow(cells)
        return out.getvalue().encode(codec)

    options = {"delimiter": dialect.get("delimiter", ","), "quote": '"'} | ({"escape": "\\"} if "escapechar" in dialect else {}) if declared or "escapechar" in dialect else {}
    options["encoding"] = codec if declared and codec != "utf-16-le" or codec == "gb18030" else "auto"
    return Written([line(header_of(rows)), *map(line, rows)], rows, options, b"\xff\xfe" if codec == "utf-16-le" else b"")


def _by_hand(rows: list[list[str]], end: str, codec: str, declared: bool) -> Written:
    write = by_hand("|!|", '"', end)
    parts = [write(r, []).encode(codec) for r in [header_of(rows), *rows]]
    return Written(parts, rows, {"delimiter": "|!|", "quote": '"', "encoding": codec})


def _unquoted(rows: list[list[str]], end: str, codec: str, declared: bool) -> Written:
    rows = [[re.sub("[\n\t]", " ", c) for c in r] for r in rows]
    write = by_hand("\t", "", end)
    return Written([write(r, []).encode(codec) for r in [header_of(rows), *rows]], rows, {"delimiter": "\t", "quote": "", "encoding": codec})


def _json_lines(rows: list[list[str]], end: str, codec: str, declared: bool) -> Written:
    return Written([b"", *((json.dumps(dict(zip(header_of(rows), r)), ensure_ascii=False) + end).encode(codec) for r in rows)], rows, {"encoding": codec})


def _fixed_width(rows: list[list[str]], end: str, codec: str, declared: bool) -> Written:
    rows = [[re.sub("\n", " ", c).strip(" ") for c in r] for r in rows]
    widths = [max([len(h), *(len(r[i].encode(codec)) for r in rows)]) + 1 for i, h in enumerate(header_of(rows))]
    parts = ["".join(c + " " * (w - len(c.encode(codec))) for c, w in zip(r, widths)) + end for r in [header_of(rows), *rows]]
    return Written([p.encode(codec) for p in parts], rows, {"format": "fixed", "widths": tuple(widths), "encoding": codec})


_FORMS: dict[str, Callable[..., Written]] = {
    "csv": _delimited, "all": lambda *a: _delimited(*a, quoting=csv.QUOTE_ALL), "slash": lambda *a: _delimited(*a, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"),
    "hand": _by_hand, "none": _unquoted, "jsonl": _json_lines, "fixed": _fixed_width}


def edited(file: Written, kind: str, at: float, byte: int) -> tuple[bytes, int]:
    """The file with one byte put, added or dropped, and the place of the change."""
    content = file.content
    place = min(int(at * len(content)), len(content) - 1)
    return content[:place] + (b"" if kind == "drop" else bytes([byte])) + content[place + (kind != "add"):], place


def touched(file: Written, place: int) -> set[int]:
    """Rows (-1: the header) that hold the byte or stand next to it: an edit of a line end joins two."""
    found, start, near = set(), len(file.mark), 2 if file.mark else 1
    for number, part in enumerate(file.parts, -1):
        if start - near <= place <= start + len(part):
            found.add(number)
        start += len(part)
    return found


def in_order(got: Any) -> list[list[str]]:
    """Cells in the order they were written: records name theirs, and a change may have made a name of its own."""
    header = got.unit.header
    order = sorted(range(len(header)), key=lambda i: (header[i] not in NAMES, header[i])) if got.unit.form == "jsonl" else range(len(header))
    return [[r[i] for i in order] for r in got.cells]


def missing(rows: Sequence[tuple[int, list[str]]], found: list[list[str]]) -> list[int]:
    """Numbers of the rows that do not stand among `found`, in order."""
    lost, at = [], 0
    for number, row in rows:
        try:
            at = found.index(row, at) + 1
        except ValueError:
            lost.append(number)
    return lost


@profile(150)
@given(file=written(), kind=st.sampled_from(["put", "add", "drop"]), at=st.floats(0, 1, exclude_max=True),
       byte=st.one_of(st.sampled_from(b'"\n\r,\t|\\\0\xff\x81\x1a{}'), st.integers(0, 255)))
def test_one_changed_byte_costs_no_other_row(bench, file, kind, at, byte):
    content, place = edited(file, kind, at, byte)
    hurt = touched(file, place)
    try:
        [got] = read_back(bench, content, **file.options)
    except readers.ReadRefused:
        return
    if NAMES[0] in map(heading.key, got.unit.header):      # h0 is required: without it the batch is held, see mapping.map_header
        check(file, content, hurt, got)


def check(file: Written, content: bytes, hurt: set[int], got: Any) -> None:
    """Every row that the change did not touch is read unchanged or listed, and nothing else came up."""
    text = content.decode("utf-16-le" if file.mark else "latin-1", "replace")
    width = len(file.rows[0])
    whole = [(n, r) for n, r in enumerate(as_read(file.rows, text)) if n not in hurt]
    found = in_order(got)
    cut = [(r + [""] * width)[:width] if not any(r[width:]) else r for r in found]      # empty cells beyond the header are no cells
    lost = missing(whole, cut)
    listed = got.reading.unparseable
    assert len(lost) <= listed, f"{len(lost)} rows are gone, {listed} lines are listed"
    lines = len(re.findall("\r\n|\r|\n", text)) + (not text.endswith(("\n", "\r")))
    assert got.reading.lines == lines
    new = len(cut) - (len(whole) - len(lost))
    assert new <= len(hurt) + 1, f"{new} rows that nobody wrote"
