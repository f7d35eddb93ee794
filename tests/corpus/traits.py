"""What can be right or wrong with a table in any form: every trait × every form that can carry it."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.corpus.forms import FORMS, HEADER, Form
from tests.corpus.model import SECRET, Bad, Case, Row, loaded, refused, row, table, wrong_digit

SHIFTED = ("id_number.length", "name.characters")      # what types find in a row whose cells moved one to the left
HOSTILE = ("'; DROP TABLE staged; --", "<script>alert(1)</script>", f"一行\n两行{SECRET}", "\u202eevil\u202c", '"quoted"', "=cmd|'/c calc'!A1")
# As sent, and as the cleaning of the `text` type leaves it: line ends and runs of blanks are one blank, \N is nothing.
AWKWARD = (("甲,乙", "甲,乙"), ("甲;乙|丙", "甲;乙|丙"), ('他说"好"', '他说"好"'), ('"', '"'), ("it's", "it's"), ("'x'", "'x'"), ("C:\\temp\\", "C:\\temp\\"),
           ("first\nsecond", "first second"), ("first\r\nsecond", "first second"), ("a\tb", "a b"), ("  两端空白 ", "两端空白"), ("=1+1", "=1+1"),
           ("@SUM(A1)", "@SUM(A1)"), ("\\N", ""), ("NULL", ""), ("<b>&amp;</b>", "<b>&amp;</b>"), ("全角　ＡＢ", "全角ＡＢ"), ('{"a": [1]}', '{"a": [1]}'))
_FOLDS_RETURNS = ("xml", "xlsx", "ods")      # XML 1.0 §2.11: a carriage return is read as a line feed


def _read(form: Form, fault: str, header: Sequence[str], sent: Sequence[Row], good: Sequence[Row], bad: Sequence[Bad] = (), **counts: Any) -> Case:
    return loaded(form.name, fault, form.file(header, sent), good, bad, form.source(header), **counts)


def _unread(form: Form, fault: str, code: str, header: Sequence[str], sent: Sequence[Row]) -> Case:
    return refused(form.name, fault, form.file(header, sent), code, form.source(header))


def clean(form: Form) -> Case:
    rows = table(rare=form.rare)
    return _read(form, "clean", HEADER, rows, rows, records=6, blank=0, unparseable=0)


def no_rows(form: Form) -> Case:
    """A list without records names no columns, and a headerless file without rows has no bytes."""
    if form.name in ("jsonl", "headerless", "fixed_headerless"):
        return _unread(form, "no_rows", "empty", HEADER, [])
    if form.name in ("json", "json_nested", "xml"):
        return _unread(form, "no_rows", "header", HEADER, [])
    return _read(form, "no_rows", HEADER, [], [], records=0)


def zero_bytes(form: Form) -> Case:
    return refused(form.name, "zero_bytes", lambda: {f"a{form.extension}": b""}, "empty", form.source(HEADER))


def bad_rows(form: Form) -> Case:
    """A wrong check character, and a row of the right width whose cells stand one place to the left."""
    rows = table()
    sent = [rows[0], (wrong_digit(rows[1][0]), *rows[1][1:]), rows[2], (*rows[3][1:], rows[3][0]), *rows[4:]]
    return _read(form, "bad_rows", HEADER, sent, [rows[0], rows[2], *rows[4:]], [(2, ("id_number.checksum",)), (4, SHIFTED)])


def awkward_values(form: Form) -> Case:
    """Everything that means something in some dialect, inside a cell; and empty cells."""
    pairs = [(s, c) for s, c in AWKWARD if form.fits(s) and not (form.name in _FOLDS_RETURNS and "\r" in s)]
    sent = [row(n, status=s) for n, (s, _) in enumerate(pairs, 1)]
    return _read(form, "awkward_values", HEADER, sent, [row(n, status=c) for n, (_, c) in enumerate(pairs, 1)])


def drifted(form: Form) -> Case:
    """Columns in another order, under names and aliases of the contract, one of them new."""
    header = ("status", "csrq", "id_number", "BZ", "操作", "region_code", "姓名")
    return _read(form, "drifted", header, [(r[4], r[2], r[0], f"附{n}", r[5], r[3], r[1]) for n, r in enumerate(table())], table(), unmapped_columns=1)


def missing_required(form: Form) -> Case:
    return _unread(form, "missing_required", "missing_column", (HEADER[0], *HEADER[2:]), [(r[0], *r[2:]) for r in table()])


def ambiguous(form: Form) -> Case:
    """Two columns that the contract cannot tell apart."""
    return _unread(form, "ambiguous", "ambiguous_column", (*HEADER, "id_number"), [(*r, r[0]) for r in table()])


def one_row(form: Form) -> Case:
    return _read(form, "one_row", HEADER, [row(1)], [row(1)])


def operations(form: Form) -> Case:
    """Deletions, a copy, an older version of the same person, two persons with one number, and cells left empty."""
    rows = [row(1), row(2, status="旧"), row(1), row(2, status="新"), row(3), (row(3)[0], "马十二", *row(3)[2:]), row(4, op="D"), row(5, op="删除"),
            row(6, status="", birth="")]
    conflict = ("key.conflict",)
    return _read(form, "operations", HEADER, rows, [rows[0], rows[3], *rows[6:]], [(5, conflict), (6, conflict)], copies=1, superseded=1, deletes=2)


def renamed_by_source(form: Form) -> Case:
    """A name that only this source's contract knows."""
    case = _read(form, "renamed_by_source", ("SFZ", *HEADER[1:]), table(), table())
    case.source["aliases"] = (("id_number", ("SFZ",)),)
    return case


def missing_optional(form: Form) -> Case:
    sent, good = [(*r[:4], r[5]) for r in table()], [(*r[:4], "", r[5]) for r in table()]
    return _read(form, "missing_optional", (*HEADER[:4], HEADER[5]), sent, good)


def blanks_in_header(form: Form) -> Case:
    header = (" 公民 身份号码 ", "姓　名", "CSRQ", "居住地 区划", "状态\u200b", "操作")
    return _read(form, "blanks_in_header", header, table(), table())


def hostile_header(form: Form) -> Case:
    """SQL, HTML, a line end and marks that turn the direction of writing, as names of columns that nothing reads."""
    extra = tuple(c for c in HOSTILE if form.fits(c))
    return _read(form, "hostile_header", (*HEADER, *extra), [(*r, *extra) for r in table()], table(), unmapped_columns=len(extra))


Trait = Callable[[Form], Case]
CORE: tuple[Trait, ...] = (clean, no_rows, zero_bytes, bad_rows, awkward_values, drifted, missing_required)
LITTLE: tuple[Trait, ...] = (clean, bad_rows, missing_required)
_BOXED_BOOK: tuple[Trait, ...] = (clean,)      # a box and an extractor, each tried elsewhere
_MORE: dict[str, tuple[Trait, ...]] = {
    "csv": (ambiguous, one_row, operations, renamed_by_source, missing_optional, blanks_in_header, hostile_header),
    "parquet": (ambiguous, one_row, operations, blanks_in_header, hostile_header), "jsonl": (operations,), "tsv": (one_row, hostile_header),
    "multi": (ambiguous, operations, hostile_header), "headerless": (ambiguous, one_row, operations), "fixed": (ambiguous, one_row, operations, missing_optional),
    "no_quote": (operations,), "single_quote": (hostile_header,), "backslash": (hostile_header,),
    "xlsx": (operations, hostile_header, blanks_in_header),
}


def core(form: Form) -> tuple[Trait, ...]:
    """What every file of this form is tried with; little is left to try where another form's table is only wrapped."""
    return CORE if not form.wraps else _BOXED_BOOK if form.name.startswith("xlsx") else LITTLE


def cases() -> Iterator[Case]:
    """The core of every form, and some more where a form can carry it."""
    for form in FORMS.values():
        yield from (trait(form) for trait in core(form) + _MORE.get(form.name, ()))
