"""What nobody should send: binaries, documents, endless lines, 10,001 columns, names that are code."""
from __future__ import annotations

import io
from collections.abc import Iterator

import openpyxl

from tests.corpus.forms import FORMS, HEADER, Form
from tests.corpus.model import SECRET, Case, loaded, refused, row, table
from tests.corpus.traits import HOSTILE

PDF = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\nxref\ntrailer\n<<>>\n%%EOF\n"
NO_TABLES = {
    "pdf": PDF, "program": b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(range(1, 256)) * 8, "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 8,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "rar": b"Rar!\x1a\x07\x01\x00" + bytes(range(256)) * 4, "bzip2": b"BZh91AY&SY" + bytes(range(256)) * 4,
    "xz": b"\xfd7zXZ\0" + bytes(range(256)) * 4, "rtf": b"{\\rtf1\\ansi " + SECRET.encode() + b"}", "sqlite": b"SQLite format 3\0" + bytes(2000),
    "html": f"<!DOCTYPE html>\n<html><table><tr><td>{SECRET}</td></tr></table></html>".encode(), "html_below_blanks": b"\n\n  <html><body>login</body></html>",
    "ole_document": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "access": b"\0\1\0\0Standard Jet DB\0" + bytes(2000),
}


def _no_tables() -> Iterator[Case]:
    for name, content in NO_TABLES.items():
        yield refused(name, "as_csv", lambda c=content: {f"{SECRET}.csv": c}, "form")
    for name in ("pdf", "html", "program"):
        yield refused(name, "declared_csv", lambda c=NO_TABLES[name]: {"a.csv": c}, "form", {"format": "csv"})
    yield refused("csv", "nuls", lambda: {"a.csv": FORMS["csv"].write(HEADER, table()) + bytes(2000)}, "binary", {"format": "csv"})
    yield refused("csv", "prose", lambda: {"a.txt": "各位同事：\n本月数据稍后报送。\n谢谢\n".encode()}, "missing_column", {"format": "txt", "delimiter": ","})


def _huge() -> Iterator[Case]:
    plain = FORMS["csv"].write(HEADER, table())
    for form in (FORMS["csv"], FORMS["jsonl"], FORMS["fixed"]):
        yield refused(form.name, "endless_line", lambda f=form: {"a.txt": f.write(HEADER, table()) + b"x" * 2_100_000}, "line_size", form.source(HEADER))
    yield refused("csv", "endless_header", lambda: {"a.csv": b"a" * 1_500_000 + b"\n" + plain}, "columns", {"format": "csv", "delimiter": ","})
    wide = (*HEADER, *(f"c{n}" for n in range(10_001 - len(HEADER))))
    for name in ("csv", "xlsx", "parquet"):
        form: Form = FORMS[name]
        yield refused(name, "10001_columns", form.file(wide, [(*row(1), *("x" * (len(wide) - len(HEADER))))]), "columns", form.source(HEADER))
    broken = b"".join(b"%d\n" % n for n in range(200_001))
    yield refused("csv", "200001_bad_lines", lambda: {"a.csv": plain + broken}, "unparseable")
    yield loaded("xlsx", "17_billion_cells", lambda: {"a.xlsx": _corners()}, [], [(1_048_575, ("line.width",))])


def _corners() -> bytes:
    made = openpyxl.Workbook()
    made.active["A1"], made.active["B1"], made.active["XFD1048576"] = "公民身份号码", "姓名", "b"
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def _names() -> Iterator[Case]:
    """File names are stored in the manifest and used nowhere."""
    names = sorted(("'; DROP TABLE staged; --.csv", "<script>alert(1)<.csv", "两\n行.csv", "\u202evsc.exe", "-rf", "$(reboot).csv", "a" * 200 + ".csv", "%00.csv", SECRET))
    rows = table(len(names))
    yield loaded("csv", "file_names", {name: FORMS["csv"].write(HEADER, [r]) for name, r in zip(names, rows)}, rows)
    values = [row(n, status=text) for n, text in enumerate(("'; DROP TABLE staged; --", "<script>alert(1)</script>", "=cmd|'/c calc'!A1", "${jndi:ldap://x}", "%s%n"), 1)]
    yield loaded("csv", "hostile_values", FORMS["csv"].file(HEADER, values), values)
    secret = (*HEADER[:1], *HOSTILE, SECRET)
    yield refused("csv", "hostile_header_unreadable", FORMS["csv"].file(secret, [("x",) * len(secret)]), "missing_column")


def _changed() -> Iterator[Case]:
    for name in ("csv", "xlsx", "parquet", "csv.zip"):
        yield refused(name, "changed_in_landing", FORMS[name].file(HEADER, table()), "changed", tamper=True)


def cases() -> Iterator[Case]:
    """All cases of this module."""
    yield from _no_tables()
    yield from _huge()
    yield from _names()
    yield from _changed()
