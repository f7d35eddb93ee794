"""脱敏: which columns of a dataset analysts get, derived from semantic type × classification, and whether that is safe.

A mask is judged per dataset, not per column: `judge` refuses a dataset from whose published columns an identity
number (GB 11643-1999, 18 positions) could be rebuilt. Nothing here reads a row; the SQL runs in the release.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.compiler import Plan, digest, of_plan, pseudonym_name
from pipelines.contract import CLASSIFICATIONS, Column
from pipelines.settings import WrongUse
from pipelines.sql import name, names

FEWEST_CANDIDATES = 100_000
REGIONS = 3_200
_DATES = ("date", "end_date", "timestamp")
_IDENTIFIERS = ("resident_id", "document_number")
_IDENTIFYING = _IDENTIFIERS + ("person_name", "mobile")
_DIVISIONS = ("region_code", "division_code")
_WORDS = ("text", "name_list", "org_name")
# Personal columns of these types never leave as they are: each holds an identifier, words, or an exact date.
_HIDDEN = _IDENTIFYING + _DATES + _WORDS + ("phone", "address", "narrative", "opaque_id", "document_no", "postal_code")
_ALL, _REGION, _BIRTH_YEAR, _SEX = frozenset(range(1, 19)), frozenset(range(1, 7)), frozenset(range(7, 11)), frozenset({17})


@dataclass(frozen=True)
class Mask:
    """One way to publish a column.

    `sql` takes the quoted column and the quoted party columns of the row. `physical`, `ending` and `words` are the
    type, the name ending and the (zh, en) words of an output that is no longer the column itself. `reveals` tells,
    per subject of a column (identifier, region, birth, sex), which of the 18 positions the output gives away.
    """

    zh: str
    en: str
    sql: Callable[[str, str], str] | None
    types: tuple[str, ...] = ()
    physical: str | None = None
    ending: str | None = None
    words: tuple[str, str] = ("", "")
    reveals: tuple[tuple[str, frozenset[int]], ...] = ()


MASKS = {
    "keep": Mask("原值（文字中的身份号码和手机号去掉）", "as it is; words lose identity and mobile numbers", lambda c, _: c,
                 reveals=(("identifier", _ALL), ("region", _REGION), ("birth", _BIRTH_YEAR | {11, 12, 13, 14}), ("sex", _SEX))),
    "omit": Mask("不发布", "not published", None),
    "pseudonym": Mask("假名", "keyed pseudonym", None, types=_IDENTIFIERS + ("opaque_id",), physical="VARCHAR", words=("假名", "pseudonym")),
    "year": Mask("只到年", "year only", lambda c, _: f"year({c})::INTEGER", types=_DATES, physical="INTEGER", ending="year",
                 words=("年份", "year"), reveals=(("birth", _BIRTH_YEAR),)),
    "month": Mask("只到月", "month only", lambda c, _: f"strftime({c}, '%Y-%m')", types=_DATES, physical="VARCHAR", ending="month",
                  words=("月份", "month"), reveals=(("birth", _BIRTH_YEAR | {11, 12}),)),
    "county": Mask("只到县", "county only", lambda c, _: f"left({c}, 6)", types=_DIVISIONS, physical="VARCHAR", ending="county_code",
                   words=("所在县", "county"), reveals=(("region", _REGION),)),
    "township": Mask("只到乡镇街道", "township only", lambda c, _: f"left({c}, 9)", types=("division_code",), physical="VARCHAR",
                     ending="township_code", words=("所在乡镇街道", "township"), reveals=(("region", _REGION),)),
    "first6": Mask("假名和前六位", "pseudonym and first six digits", lambda c, _: f"left({c}, 6)", types=_IDENTIFIERS, physical="VARCHAR",
                   ending="first6", words=("前六位", "first six digits"), reveals=(("identifier", _REGION),)),
    "redact": Mask("去掉号码和当事人姓名", "without numbers and the names of the parties", lambda c, parties: f"redact({c}, [{parties}])",
                   types=("narrative", "text")),
}
_PERSONAL = {
    **dict.fromkeys(_IDENTIFIERS + ("opaque_id",), "pseudonym"), **dict.fromkeys(_DATES, "year"), **dict.fromkeys(_DIVISIONS, "county"),
    **dict.fromkeys(_WORDS + ("person_name", "mobile", "phone", "address", "document_no", "postal_code"), "omit"),
}
_KEY = ("_key", "VARCHAR", "记录假名", "Pseudonym of the record, the same in every release")
LINEAGE = (("_source", "VARCHAR", "数源部门（报送渠道）", "Source the row comes from"),
           ("_batch", "VARCHAR", "报送批次", "Batch the row comes from"),
           ("_stale_since", "DATE", "自该批次起更正行被隔离，本行为此前值", "Kept from before: newer submissions of this row are in quarantine since"))


@dataclass(frozen=True)
class PublishedColumn:
    """One column of an analyst's view and the SQL over `current` that makes it."""

    name: str
    source_column: str | None
    zh: str
    en: str
    type: str
    classification: str
    mask: str
    sql: str

    @property
    def comment(self) -> str:
        return f"{self.zh} — {self.en}"


def default_mask(kind: str, classification: str) -> str:
    """The mask of a column of semantic type `kind` that names none.

    Personal quantities, codes and flags stay as they are; everything that identifies is pseudonymised, generalised
    or left out. `sensitive` (PIPL art. 28) is never in an analyst's file.
    """
    if classification == "sensitive":
        return "omit"
    if kind == "narrative":
        return "redact"
    if classification == "personal":
        return _PERSONAL.get(kind, "keep")
    return "township" if kind == "division_code" else "keep"


def mask_of(plan: Plan, column: Column) -> str:
    """The mask in force for `column`: its own, or the default."""
    return column.mask or default_mask(plan.type(column.name).name, column.classification)


@of_plan
def published(plan: Plan) -> tuple[PublishedColumn, ...]:
    """The columns analysts get, in declared order, then where the row comes from."""
    found = [one for column in plan.dataset.columns for one in _outputs(plan, column)]
    own = [_KEY] if record_key(plan) == "_key" else []
    return tuple(found) + tuple(PublishedColumn(n, None, zh, en, kind, "internal", "keep", name(n)) for n, kind, zh, en in (*own, *LINEAGE))


@of_plan
def record_key(plan: Plan) -> str:
    """The published column that tells a record: the pseudonym of the person where that alone is the key, otherwise `_key`."""
    shown = {c.name for column in plan.dataset.columns for c in _outputs(plan, column)}
    if len(plan.dataset.key) == 1:
        return next((p for c, p, _ in plan.pseudonyms if c == plan.dataset.key[0] and p in shown), "_key")
    return "_key"


def _outputs(plan: Plan, column: Column) -> list[PublishedColumn]:
    mask = mask_of(plan, column)
    found = []
    if mask in ("pseudonym", "first6"):
        found.append(_output(plan, column, "pseudonym", pseudonym_name(column), _pseudonym(plan, column)))
    if MASKS[mask].sql:
        found.append(_output(plan, column, mask, _published_name(column.name, mask), _conditional(plan, column, mask)))
    return found


def _output(plan: Plan, column: Column, mask: str, published_name: str, sql: str) -> PublishedColumn:
    zh, en = MASKS[mask].words if published_name != column.name else ("", "")
    if mask in ("year", "month"):
        zh = column.zh.removesuffix("日期").removesuffix("时间") + zh
    elif zh:
        zh = f"{column.zh}（{zh}）"
    return PublishedColumn(
        name=published_name, source_column=column.name, zh=zh or column.zh, en=f"{column.en} ({en})" if en else column.en,
        type=MASKS[mask].physical or plan.type(column.name).physical, classification=column.strictest, mask=mask, sql=sql)


def _pseudonym(plan: Plan, column: Column) -> str:
    """The pseudonym column of base, or a digest made at release for numbers that base gives none (household numbers)."""
    if plan.type(column.name).pseudonym_kind:
        return name(pseudonym_name(column))
    return digest(column.name, [name(column.name)])


def _published_name(column: str, mask: str) -> str:
    """`birth_date` by year → `birth_year`; `committee_code` by county → `committee_county_code`; others keep their name."""
    ending = MASKS[mask].ending
    if ending is None or column.endswith(ending):
        return column
    if mask == "first6":
        return f"{column}_{ending}"
    stem = column
    for suffix in ("_date", "_at", "_region_code", "_code"):
        stem = stem.removesuffix(suffix)
    return column if column == "region_code" or column.endswith("_region_code") else f"{stem}_{ending}"


def _conditional(plan: Plan, column: Column, mask: str) -> str:
    """The mask's SQL; where the conditional classification applies, or cannot be decided, the stricter mask's."""
    plain = _sql(plan, column, mask)
    if not column.classified_when:
        return plain
    stricter = default_mask(plan.type(column.name).name, column.classified_then)
    if stricter == mask:
        return plain
    same_kind = MASKS[stricter].sql and MASKS[stricter].physical == MASKS[mask].physical
    strict = _sql(plan, column, stricter) if same_kind else "NULL"
    return f"CASE WHEN coalesce(({column.classified_when}), true) THEN {strict} ELSE {plain} END"


def _sql(plan: Plan, column: Column, mask: str) -> str:
    if mask == "keep" and plan.type(column.name).name in _WORDS:
        return f"without_identifiers({name(column.name)})"
    return MASKS[mask].sql(name(column.name), names(_parties(plan)))


def _parties(plan: Plan) -> list[str]:
    """Columns that name the parties of a row: persons, and organisations that may be persons."""
    return [c.name for c in plan.dataset.columns if plan.type(c.name).name == "person_name"
            or (plan.type(c.name).name == "org_name" and c.classified_then in ("personal", "sensitive"))]


def judge(plan: Plan) -> None:
    """Refuse a dataset whose published columns would show or rebuild a person.

    Raises:
        WrongUse: every reason, each with the column and what to do.
    """
    errors = [e for column in plan.dataset.columns for e in _column_errors(plan, column)]
    if not errors:
        errors = _duplicate_errors(plan) + _rebuild_errors(plan)
    if errors:
        raise WrongUse("\n".join(f"{plan.dataset.id}: {e}" for e in errors))


def _column_errors(plan: Plan, column: Column) -> list[str]:
    kind, mask = plan.type(column.name).name, mask_of(plan, column)
    where, errors = f"column {column.name}", []
    if mask not in MASKS:
        return [f"{where} names mask {mask!r}; masks are {', '.join(MASKS)}."]
    if MASKS[mask].types and kind not in MASKS[mask].types:
        errors.append(f"{where}: mask {mask!r} is for {', '.join(MASKS[mask].types)}, not for {kind}.")
    if column.classification == "sensitive" and mask != "omit":
        errors.append(f"{where} is sensitive (PIPL art. 28) and must be omitted, not {mask!r}.")
    if kind in _IDENTIFYING and column.classification in ("public", "internal"):
        errors.append(f"{where} is a {kind} and must be classified personal or sensitive, not {column.classification}.")
    if mask == "keep" and (kind == "narrative" or (column.classification == "personal" and kind in _HIDDEN)):
        errors.append(f"{where} is a {column.classification} {kind} and must not be published as it is; "
                      f"use mask {default_mask(kind, column.classification)!r}.")
    rank = CLASSIFICATIONS.index
    if column.classified_then and rank(column.classified_then) <= rank(column.classification):
        errors.append(f"{where} is classified {column.classification}; its condition must make it stricter, not {column.classified_then}.")
    return errors


def _duplicate_errors(plan: Plan) -> list[str]:
    given = [c.name for c in published(plan)]
    return [f"two columns would be published as {n!r}; give one of them a pseudonym or mask of its own."
            for n in sorted({n for n in given if given.count(n) > 1})]


def _rebuild_errors(plan: Plan) -> list[str]:
    known, by = revealed(plan)
    left = candidates(known)
    if left >= FEWEST_CANDIDATES:
        return []
    return [f"an identity number can be rebuilt: columns {', '.join(by)} leave {left:,} candidates, at least {FEWEST_CANDIDATES:,} "
            f"are required. Use a coarser mask (year, county, omit) for one of them."]


def revealed(plan: Plan) -> tuple[frozenset[int], list[str]]:
    """Positions of an identity number that the published columns give away together, and the columns that do."""
    known: frozenset[int] = frozenset()
    by = []
    for column in published(plan):
        positions = dict(MASKS[column.mask].reveals).get(subject(plan, column.source_column), frozenset())
        if positions:
            known |= positions
            by.append(column.name)
    return known, by


def subject(plan: Plan, column: str | None) -> str | None:
    """What a column tells about an identity number. A region is taken for that of the number: mostly it is."""
    if column is None:
        return None
    kind = plan.type(column)
    if kind.name in _IDENTIFIERS:
        return "identifier"
    if kind.name in _DIVISIONS:
        return "region"
    if kind.name in _DATES + ("month",) and "birth" in column:
        return "birth"
    return "sex" if kind.name == "code" and kind.parameter == "sex" else None


def candidates(known: frozenset[int]) -> int:
    """How many identity numbers fit when these positions are known (17 alone: its parity, the sex; 18 is a check)."""
    parts = (((1, 2, 3, 4, 5, 6), REGIONS), ((7, 8, 9, 10), 100), ((11, 12), 12), ((13, 14), 30))
    left = 1
    for positions, size in parts:
        left *= 1 if known.issuperset(positions) else size
    left *= 1 if known >= {15, 16, 17} else 500 if 17 in known else 1000
    return max(1, left // (11 if 18 in known else 1))


def exposed(plan: Plan, columns: set[str]) -> list[str]:
    """Declared columns that stand in `columns` under their own name although they must be hidden."""
    allowed = {c.name for c in published(plan)}
    hidden = {c.name for c in plan.dataset.columns
              if c.classification == "sensitive"
              or (c.classification == "personal" and plan.type(c.name).name in _HIDDEN and mask_of(plan, c) != "redact")}
    return sorted((hidden & columns) | (columns - allowed))
