"""What stands around the rows: titles, merged headings, repeated and missing headers, trailers, odd delimiters."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.corpus.forms import FORMS, HEADER, WIDTHS, Form, by_hand, delimited, fixed
from tests.corpus.model import SECRET, Case, Row, loaded, refused, row, table

TITLED = ("csv", "multi", "fixed", "xlsx", "xls", "ods")
GROUPS = ("人员", "", "", "居住", "", "")
TRAILER = r"^合计[:：]?(\d+)"


def _file(content: str | bytes) -> dict[str, bytes]:
    return {"a.csv": content if isinstance(content, bytes) else content.encode()}


def _above(form: Form, fault: str, above: Sequence[Row], header: Sequence[str] = HEADER) -> Case:
    """The table below some rows that are no header; fixed width has its columns wherever the header puts them."""
    if form.name == "fixed":
        content = b"".join(fixed(HEADER, [r], named=False) for r in above) + form.write(header, table())
        return loaded(form.name, fault, {"a.txt": content}, table(), source=form.source(HEADER))
    return loaded(form.name, fault, form.file(above[0], [*above[1:], header, *table()]), table(),
                  source=form.source(HEADER), records=6)


def _titles() -> Iterator[Case]:
    for name in TITLED:
        form = FORMS[name]
        if name not in ("xlsx", "xls", "ods"):
            yield _above(form, "title", [("流动人口登记表",)])
        yield _above(form, "groups", [(SECRET,), GROUPS])
    for name in ("csv", "xlsx"):
        yield _above(FORMS[name], "header_in_row_18", [(f"说明{n}", "", "", "", "", "") for n in range(17)])
        merged = [("公民身份号码", "姓名", "csrq", "居住", "", "操作"), ("", "", "", "居住地区划", "状态", "")]
        yield _above(FORMS[name], "merged_header", merged[:1], merged[1])
    for name in ("csv", "xlsx"):      # two exports in one file: rows above the header are no titles
        yield refused(name, "rows_above_header", FORMS[name].file(table()[0], [*table()[1:3], HEADER, *table()[3:]]), "header")
    text = delimited(end="\n")
    yield refused("csv", "header_below_all_rows", _file(text(table()[0], [*table()[1:], HEADER])), "header")
    yield refused("csv", "header_below_row_20", _file("说明\n" * 25 + text(HEADER, table())), "delimiter")
    yield refused("csv", "no_header_at_all", _file(text(table()[0], table()[1:])), "missing_column")
    yield refused("csv", "blank_lines_only", _file("\n" * 60), "header")
    yield refused("csv", "header_quote_open", _file('"公民身份号码,姓名\n1,2\n'), "header")
    yield loaded("csv", "header_of_two_lines", _file('"公民身份\n号码","姓名",csrq,居住地区划,状态,操作\n' + text((), table()).lstrip("\n")), table(), header=2)
    yield loaded("csv", "blank_lines_above", _file("\n\n" + text(HEADER, table())), table(), blank=2)
    yield loaded("csv", "header_without_line_end", _file(",".join(HEADER)), [], records=0)


def _trailers() -> Iterator[Case]:
    source: dict[str, Any] = {"trailer": TRAILER}
    text = delimited(end="\n")
    whole = text(HEADER, table())
    for name, last, code in (("right", "合计:6\n", None), ("right_no_line_end", "合计6", None), ("padded", "合计:6,,,,,\n", None), ("wrong", "合计:7\n", "row_count"),
                             ("missing", "", "trailer")):
        content = whole + last
        made = _file(content)
        yield refused("csv", f"trailer_{name}", made, code, source) if code else loaded("csv", f"trailer_{name}", made, table(), source=source, trailer=1)
    yield loaded("csv", "trailer_and_bad_row", _file(whole.replace(",640104,有效,\n", ",640104\n", 1) + "合计:6\n"), table()[1:],
                 [(1, ("line.width",))], source, trailer=1)
    yield loaded("csv", "trailer_nobody_declared", _file(whole + "合计:6\n"), table(), [(7, ("line.width",))])
    for name in ("tsv", "multi"):
        form = FORMS[name]
        content = form.write(HEADER, table()) + "合计:6\n".encode()
        yield loaded(name, "trailer_right", _file(content), table(), source=form.source(HEADER) | source, trailer=1)
    for count, code in ((6, None), (5, "row_count")):
        made = FORMS["xlsx"].file(HEADER, [*table(), (f"合计:{count}", "", "", "", "", "")])
        fault = "trailer_wrong" if code else "trailer_right"
        yield refused("xlsx", fault, made, code, source) if code else loaded("xlsx", fault, made, table(), source=source, trailer=1)
    fixed_bytes = FORMS["fixed"].write(HEADER, table())
    for count, code in ((6, None), (9, "row_count")):
        made = {"a.txt": fixed_bytes + f"合计:{count}\r\n".encode("gbk")}
        keys = FORMS["fixed"].source(HEADER) | source
        yield refused("fixed", "trailer_wrong", made, code, keys) if code else loaded("fixed", "trailer_right", made, table(), source=keys, trailer=1)


def _dialects() -> Iterator[Case]:
    """Delimiters, quotes and escapes that nobody declared, and declarations that are wrong."""
    awkward = [row(1, status="x,y"), row(2, status="甲;乙|丙"), row(3, status="it's"), row(4, status='他说"好"'), row(5)]
    for name, content in {
        "quote_all": delimited(quoting=1)(HEADER, awkward),
        "single_quote_detected": delimited(quotechar="'", quoting=1)(HEADER, awkward),
        "backslash_detected": delimited(escapechar="\\", doublequote=False, quoting=1)(HEADER, awkward),
        "semicolon_with_commas": delimited(";")(HEADER, awkward),
        "spaces_around_quotes": ",".join(HEADER) + "\n" + "".join(f'{r[0]}, "{r[1]}" ,{r[2]},{r[3]}, "{r[4]}",\n' for r in table()),
    }.items():
        rows = table() if name == "spaces_around_quotes" else awkward
        yield loaded("csv", name, _file(content), rows)
    for name, delimiter in (("caret", "^"), ("broken_bar", "¦"), ("unit_separator", "\x1f"), ("at_pipe", "@|@")):
        content = by_hand(delimiter, '"')(HEADER, table())
        yield loaded("csv", f"delimiter_{name}", _file(content), table(), source={"delimiter": delimiter})
    yield refused("csv", "delimiter_declared_wrong", FORMS["csv"].file(HEADER, table()), "missing_column", {"delimiter": "|"})
    yield refused("csv", "delimiter_unknown", _file(by_hand("☃")(HEADER, table())), "delimiter")


def _fixed_width() -> Iterator[Case]:
    form = FORMS["fixed"]
    rows, source = table(), form.source(HEADER)
    lines = form.write(HEADER, rows).split(b"\r\n")[:-1]

    def case(fault: str, changed: list[bytes], good: list[Row], bad: list[tuple[int, tuple[str, ...]]] = [], end: bytes = b"\r\n", keys: dict[str, Any] | None = None, **counts: int) -> Case:  # noqa: B006
        content = end.join(changed) + end
        return loaded("fixed", fault, {"a.txt": content}, good, bad, keys or source, **counts)

    yield case("short_line", [*lines[:3], lines[3][:20], *lines[4:]], [*rows[:2], *rows[3:]], [(3, ("line.width",))])
    yield case("long_line", [*lines[:3], lines[3] + b"xyz", *lines[4:]], [*rows[:2], *rows[3:]], [(3, ("line.width",))])
    named = FORMS["fixed"].write(HEADER[:5], [r[:5] for r in rows]).split(b"\r\n")[:-1]
    yield case("blanks_at_the_end_cut", [line.rstrip() for line in named], rows, keys=form.source(HEADER[:5]))
    yield case("lf_line_ends", lines, rows, end=b"\n")
    yield case("blank_lines", [*lines[:2], b"", *lines[2:]], rows, blank=1)
    yield case("half_character", [*lines[:3], lines[3][:17] + b"\xc0\xb1   " + lines[3][22:], *lines[4:]], [*rows[:2], *rows[3:]], [(3, ("line.width",))])
    yield case("nul_in_a_row", [*lines[:3], lines[3].replace(b"1990", b"19\x000", 1), *lines[4:]], [*rows[:2], *rows[3:]], [(3, ("line.nul",))])
    cut = b"\r\n".join(lines)[:-(sum(WIDTHS.values()) - 25)]
    yield loaded("fixed", "cut_last_row", {"a.txt": cut}, rows[:5], [(6, ("line.cut",))], source)
    yield refused("fixed", "widths_not_declared", {"a.txt": form.write(HEADER, rows)}, "form", {"format": "fixed"})


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _titles()
    yield from _trailers()
    yield from _dialects()
    yield from _fixed_width()
