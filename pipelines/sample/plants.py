"""The catalogue of planted defects: which defect, in which columns, how often, and what the lake must make of it.

Defects follow the semantic type of a column, so a contract's columns get theirs without being named here; those that
break a business rule are in breaches.py, added rows in extras.py. A defect is planted only where the contract declares a
check for it (or is marked as having none), at most one per row. Rates are working values of the dirt catalogue, per eligible row.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.contract import Column, Dataset, Source
from pipelines.sample.breaches import BREACHES, Breach

REPAIRED, QUARANTINED, FLAGGED, MISSING = "repaired", "quarantined", "flagged", "missing"
FORM, SILENT, UNCHECKED = "form", "silent", ""


@dataclass(frozen=True)
class Defect:
    """One way a value of some type goes wrong.

    `when` and `sent` are SQL templates: {v} the clean text, {h} a draw, {nl} the file's line end, `_other` the text found
    for the value in the lookup `other` ('label': the code's name, 'obsolete': a former division). `effect` is `form`
    (repaired, only the form was wrong), `silent` (the same where the type has no standard form), `fixed:<reason>` (repaired),
    `invalid:<reason>`, `missing` or '' (no check).
    """

    id: str
    rate: float
    sent: str
    effect: str
    when: str = "true"
    other: str = ""


@dataclass(frozen=True)
class Plant:
    """A defect in one column of one source, with the outcome the truth file states.

    `fills`: it stands in a cell that is empty in the clean row. `wanted`: at least one row shall have it.
    """

    number: int
    id: str
    column: str
    rate: float
    sent: str
    when: str
    other: str
    outcome: str
    rule: str | None
    fills: bool = False
    wanted: bool = False


SPACES = Defect("X19", 0.004, "spaced({v}, {h})", FORM)
EMPTY = Defect("X10", 0.01, "placeholder({h})", MISSING)
RARELY_EMPTY = Defect("X10", 0.001, "placeholder({h})", MISSING)

RESIDENT = [
    Defect("X01", 0.005, "full_width({v})", FORM),
    Defect("X02", 0.004, "look_alike({v}, {h}, 7, 11)", "fixed:format",
           "contains('01258', substr({v}, place_of({h}, 7, 11), 1)) AND substr({v}, 11, 4) <> '0229'"),
    Defect("X03", 0.03, "lower({v})", FORM, "right({v}, 1) = 'X'"),
    Defect("X04", 0.005, "substr({v}, 1, 6) || substr({v}, 9, 9)", FORM, "substr({v}, 7, 2) = '19'"),
    Defect("X05", 0.003, "wrong_digit({v}, 16, {h})", "invalid:checksum", "substr({v}, 15, 1) <> '0'"),
    Defect("X06", 0.001, "swapped({v}, 15)", "invalid:checksum", "substr({v}, 15, 1) <> substr({v}, 16, 1)"),
    Defect("X07", 0.0015, "substr({v}, 1, 6)", "invalid:length"),
    Defect("X07", 0.0015, "starred({v})", "invalid:masked"),
    Defect("X14", 0.001, "scientific({v})", "invalid:format"),
    RARELY_EMPTY, SPACES,
]
USCC = [
    Defect("X01", 0.005, "full_width({v})", FORM),
    Defect("X02", 0.004, "look_alike({v}, {h}, 9, 9)", "fixed:format", "contains('0125', substr({v}, place_of({h}, 9, 9), 1))"),
    Defect("X03", 0.01, "lower({v})", FORM),
    Defect("X05", 0.003, "wrong_check({v}, {h})", "invalid:checksum"),
    Defect("X07", 0.003, "substr({v}, 1, 17)", "invalid:length"),
    RARELY_EMPTY, SPACES,
]
SWAPPED_ENDS = ("X06", 0.001, "swapped({v}, 17)")
DIFFERENT_ENDS = "substr({v}, 17, 1) <> substr({v}, 18, 1)"
DATES = [
    Defect("X12", 0.02, "mixed_date({v}, {h})", FORM, "{v} >= '1955-01-01'"),
    Defect("X13", 0.002, "impossible_date({v}, {h})", "invalid:date"),
]
BY_TYPE: dict[str, list[Defect]] = {
    "resident_id": RESIDENT,
    "uscc": [*USCC, Defect(*SWAPPED_ENDS, "invalid:org_checksum", DIFFERENT_ENDS)],
    "uscc(lenient)": [*USCC, Defect(*SWAPPED_ENDS, "invalid:checksum", DIFFERENT_ENDS)],
    # A B in a document number may also belong to a credit code: only letters that no credit code has are unambiguous.
    "document_number": [replace(d, when=d.when.replace("01258", "0125")) if d.id == "X02" else d for d in RESIDENT],
    "person_name": [
        Defect("X19", 0.02, "substr({v}, 1, 1) || '　' || substr({v}, 2)", FORM, "length({v}) = 2"),
        Defect("X20", 0.1, "replace({v}, '·', ['•', '．', '・'][1 + ({h} % 3)::integer])", FORM, "contains({v}, '·')"),
        Defect("X22", 0.0005, "lossy({v})", "invalid:characters"), RARELY_EMPTY, SPACES],
    "org_name": [Defect("X20", 0.1, "translate({v}, '（）', '()')", FORM, "contains({v}, '（')"), RARELY_EMPTY, SPACES],
    "code": [
        Defect("X16", 0.003, "'#' || {h} % 10", "invalid:code"),
        Defect("X16", 0.007, "_other", FORM, "_other is not null", "label"), EMPTY],
    "region_code": [Defect("X16", 0.002, "substr({v}, 1, 2) || '99' || substr({v}, 5, 2)", "invalid:code"), RARELY_EMPTY],
    "region_code(current)": [
        Defect("X16", 0.002, "substr({v}, 1, 2) || '99' || substr({v}, 5, 2)", "invalid:code"),
        Defect("X17", 0.03, "_other", "fixed:obsolete", "_other is not null", "obsolete"), RARELY_EMPTY],
    "date": [*DATES, Defect("X11", 0.004, "['1900-01-01', '1899-12-31', '00000000'][1 + ({h} % 3)::integer]", MISSING)],
    "end_date": [*DATES, Defect("X11", 0.02, "['1900-01-01', '1899-12-31', '00000000'][1 + ({h} % 3)::integer]", MISSING)],
    "month": [Defect("X12", 0.02, "replace({v}, '-', '年') || '月'", FORM),
              Defect("X13", 0.002, "substr({v}, 1, 4) || '13'", "invalid:month")],
    "phone": [Defect("X01", 0.005, "full_width({v})", SILENT), Defect("X07", 0.003, "substr({v}, 1, 10)", "invalid:format"), EMPTY],
    "address": [RARELY_EMPTY, SPACES],
    "narrative": [Defect("X19", 0.01, "{v} || {nl}", FORM)],
    "document_no": [Defect("X20", 0.05, "translate({v}, '〔〕', '[]')", FORM)],
    "text": [RARELY_EMPTY, SPACES],
}
# Code lists whose leading zero a spreadsheet drops: the shorter text stands for no other code of the list.
ZERO_LISTS = ("code(ethnic_group)", "code(household_relation)")
LOST_ZERO = Defect("X15", 0.003, "ltrim({v}, '0')", "fixed:code", "{v} like '0_'")

# X26 is a disagreement between departments: only the less authoritative source has it.
ONLY_LOWER_RANK = ("X26",)


def sent_columns(dataset: Dataset, source: Source) -> list[Column]:
    """The columns of `dataset` that have a cell of their own in this source's files."""
    constants = dict(source.constants)
    return [c for c in dataset.columns
            if c.name not in source.not_sent and c.name not in constants and c.type != "long_term"]


def plants(dataset: Dataset, source: Source, scale: float) -> list[Plant]:
    """Every defect that can be planted in the files of `source`, rates multiplied by `scale`."""
    found: list[Plant] = []
    columns = {c.name: c for c in sent_columns(dataset, source)}
    for column in columns.values():
        for defect in _defects(column):
            outcome, rule = _outcome(column, defect)
            found.append(_plant(found, defect, column.name, scale, outcome, rule))
    for breach in BREACHES:
        if breach.dataset == dataset.id and breach.column in columns and (breach.id not in ONLY_LOWER_RANK or source.rank):
            found.append(_of_breach(breach, len(found) + 1, scale))
    return found


def _of_breach(breach: Breach, number: int, scale: float) -> Plant:
    outcome = QUARANTINED if breach.severity == "reject" else FLAGGED
    return Plant(number, breach.id, breach.column, breach.rate * scale, breach.sent, breach.when, "", outcome, breach.rule or None,
                 breach.fills, scale > 0)


def _plant(found: list[Plant], defect: Defect, column: str, scale: float, outcome: str, rule: str | None) -> Plant:
    return Plant(len(found) + 1, defect.id, column, defect.rate * scale, defect.sent, defect.when, defect.other, outcome, rule)


def _defects(column: Column) -> list[Defect]:
    kind = column.type.partition("(")[0]
    found = [RARELY_EMPTY if d is EMPTY and column.required else d for d in BY_TYPE.get(column.type) or BY_TYPE.get(kind, ())]
    return found + [LOST_ZERO] if column.type in ZERO_LISTS else found


def _outcome(column: Column, defect: Defect) -> tuple[str, str | None]:
    """What the truth says of `defect` in `column`: outcome and the rule that must see it."""
    breach = QUARANTINED if column.severity == "reject" else FLAGGED
    effect, _, reason = defect.effect.partition(":")
    if effect == MISSING:
        return (breach, f"{column.name}.required") if column.required else (MISSING, None)
    if effect == "invalid":
        return breach, f"{column.name}.{reason}"
    return REPAIRED, None if effect == SILENT else f"{column.name}.{reason or FORM}"
