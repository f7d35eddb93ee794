"""Damage to text: line ends, blank lines, cuts, NULs, quotes and widths, in every dialect of delimited text.

Rows are read by physical lines as soon as one is bad, so a bad row's ordinal is its line below the header.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.corpus.forms import FORMS, HEADER, MULTI, Form
from tests.corpus.model import Case, Row, loaded, row, table


@dataclass(frozen=True)
class Dialect:
    """A form of delimited text and the marks it is made of."""

    form: Form
    delimiter: str
    quote: str
    quotes_all: bool = False

    def lines(self, rows: Sequence[Row], end: str = "\n") -> list[str]:
        """Each row as the form writes it, with this line end."""
        written = (self.form.write(() if not self.form.named else r, [] if self.form.named else [r]).decode() for r in rows)
        return [line.rstrip("\r\n") + end for line in written]

    def head(self, end: str = "\n") -> str:
        """The header line; empty when the form has none."""
        return self.lines([HEADER], end)[0] if self.form.named else ""

    def line(self, cells: Sequence[str], end: str = "\n") -> str:
        """A line in which only the caller's own quotes and the dialect's usual ones stand."""
        q = self.quote if self.quotes_all else ""
        return self.delimiter.join(c if self.quote and self.quote in c else q + c + q for c in cells) + end

    def case(self, fault: str, content: str | bytes, good: Sequence[Row], reason: str = "", at: Sequence[int] = (), **counts: int) -> Case:
        """A case of this dialect: the rows at the ordinals `at` go for `reason`."""
        data = content if isinstance(content, bytes) else content.encode()
        return loaded(self.form.name, fault, {f"a{self.form.extension}": data}, good, [(n, (f"line.{reason}",)) for n in at],
                      self.form.source(HEADER), **counts)


DIALECTS = (
    Dialect(FORMS["csv"], ",", '"'), Dialect(FORMS["tsv"], "\t", '"'), Dialect(FORMS["pipe"], "|", '"'), Dialect(FORMS["semicolon"], ";", '"'),
    Dialect(FORMS["ctrl_a"], "\x01", '"'), Dialect(FORMS["multi"], MULTI, '"'), Dialect(FORMS["single_quote"], ",", "'", True),
    Dialect(FORMS["backslash"], ",", '"', True), Dialect(FORMS["no_quote"], "\t", ""), Dialect(FORMS["headerless"], ",", '"'),
)
Fault = Callable[[Dialect], Case | None]


def mixed_line_ends(d: Dialect) -> Case:
    rows = table()
    lines = [line for r, end in zip(rows, ("\r\n", "\n", "\r", "\r\n", "\n", "\n")) for line in d.lines([r], end)]
    return d.case("mixed_line_ends", d.head("\r\n") + "".join(lines), rows, records=6)


def cr_line_ends(d: Dialect) -> Case:
    return d.case("cr_line_ends", d.head("\r") + "".join(d.lines(table(), "\r")), table(), records=6)


def no_final_line_end(d: Dialect) -> Case:
    return d.case("no_final_line_end", (d.head() + "".join(d.lines(table()))).rstrip("\n"), table(), records=6)


def blank_lines(d: Dialect) -> Case:
    lines = d.lines(table())
    return d.case("blank_lines", d.head() + "\n" + "".join(lines[:2]) + "\n\n" + "".join(lines[2:]) + "\n\n", table(), blank=5)


def cut_last_row(d: Dialect) -> Case:
    """The transfer broke off inside the last row, before its last cells."""
    lines = d.lines(table())
    content = d.head() + "".join(lines[:5]) + lines[5][:lines[5].index("1990-01-01") + 4]
    return d.case("cut_last_row", content, table()[:5], "cut", [6], unparseable=1)


def nul_in_a_row(d: Dialect) -> Case:
    lines = d.lines(table())
    lines[2] = lines[2].replace("有效", "有\0效")
    return d.case("nul_in_a_row", d.head() + "".join(lines), [*table()[:2], *table()[3:]], "nul", [3])


def end_mark(d: Dialect) -> Case:
    """0x1A, with which DOS programs end a file."""
    return d.case("end_mark", d.head() + "".join(d.lines(table())) + "\x1a", table(), trailer=1)


def too_few_cells(d: Dialect) -> Case:
    lines, rows = d.lines(table()), table()
    lines[1] = d.line(rows[1][:4])
    return d.case("too_few_cells", d.head() + "".join(lines), [rows[0], *rows[2:]], "width", [2])


def too_many_cells(d: Dialect) -> Case:
    """A delimiter inside an unquoted cell."""
    lines, rows = d.lines(table()), table()
    lines[1] = d.line((*rows[1][:4], "有", "效", "x"))
    lines[4] = d.line((*rows[4], "x"))
    return d.case("too_many_cells", d.head() + "".join(lines), [rows[0], *rows[2:4], *rows[5:]], "width", [2, 5])


def empty_cells_at_the_end(d: Dialect) -> Case:
    """A spreadsheet with formatted but empty columns writes them on every line, or only on some."""
    lines, rows = d.lines(table()), table()
    lines[1] = d.line((*rows[1], "", ""))
    return d.case("empty_cells_at_the_end", d.head() + "".join(lines), rows, unparseable=0)


def unescaped_quote(d: Dialect) -> Case | None:
    if not d.quote:
        return None
    lines, rows, q = d.lines(table()), table(), d.quote
    lines[3] = d.line((*rows[3][:4], f"{q}他说{q}好{q}了{q}", ""))
    return d.case("unescaped_quote", d.head() + "".join(lines), [*rows[:3], *rows[4:]], "quote", [4])


def unclosed_quote(d: Dialect) -> Case | None:
    """DuckDB alone would take everything below for one cell."""
    if not d.quote:
        return None
    rows = [row(n) for n in range(1, 41)]
    lines = d.lines(rows)
    lines[9] = d.line((*rows[9][:1], d.quote + rows[9][1], *rows[9][2:]))
    return d.case("unclosed_quote", d.head() + "".join(lines), [*rows[:9], *rows[10:]], "quote", [10], records=39, unparseable=1)


def two_stray_quotes(d: Dialect) -> Case | None:
    """Together they make one well-formed record that swallows the rows between."""
    if not d.quote or d.quotes_all:
        return None
    rows = [row(n) for n in range(1, 41)]
    lines, q = d.lines(rows), d.quote
    lines[9] = d.line((*rows[9][:4], q + rows[9][4], ""))
    lines[29] = d.line((*rows[29][:4], rows[29][4] + q, ""))
    kept = [*rows[:9], *rows[10:29], row(30, status="有效" + q), *rows[30:]]
    return d.case("two_stray_quotes", d.head() + "".join(lines), kept, "quote", [10])


def bad_rows_among_long_ones(d: Dialect) -> Case | None:
    """Values of several lines, above and below a row whose quote stays open."""
    if not d.quote:
        return None
    rows = [row(1, status="a\nb"), row(2), row(3), row(4, status="c\n\nd"), row(5)]
    lines = d.lines(rows)
    lines[2] = d.line((*rows[2][:4], d.quote + "x", ""))
    good = [row(1, status="a b"), row(2), row(4, status="c d"), row(5)]
    return d.case("bad_rows_among_long_ones", d.head() + "".join(lines), good, "quote", [4], inner_line_ends=3, records=4)


def header_again(d: Dialect) -> Case:
    """Two exports put one after the other: the types find the second header."""
    lines = d.lines(table())
    case = d.case("header_again", d.head() + "".join(lines[:3]) + d.head() + "".join(lines[3:]), table())
    return replace(case, outcome="quarantined", bad=[(4, ("id_number.length",))])


EVERYWHERE: tuple[Fault, ...] = (cut_last_row, too_few_cells, unclosed_quote)
MOSTLY: tuple[Fault, ...] = (too_many_cells, mixed_line_ends, blank_lines, nul_in_a_row, empty_cells_at_the_end, unescaped_quote, bad_rows_among_long_ones)
SOMEWHERE: tuple[Fault, ...] = (no_final_line_end, cr_line_ends, end_mark, two_stray_quotes, header_again)
_PLAIN = ("tsv", "pipe", "semicolon", "ctrl_a", "single_quote", "headerless")      # they differ from csv in one sign, or in the header only


def cases() -> Iterator[Case]:
    """Every fault in every dialect that can have it; the rarer ones where they differ."""
    for dialect in DIALECTS:
        name = dialect.form.name
        faults = EVERYWHERE + (() if name in _PLAIN else MOSTLY) + (SOMEWHERE if name in ("csv", "multi", "no_quote") else ())
        yield from (case for fault in faults if (case := fault(dialect)))
