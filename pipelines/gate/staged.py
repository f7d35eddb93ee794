"""The evidence of a staged batch, and everything that makes it unfit to be judged.

Reads plan.json, counts.json and masks.parquet of `staging/<batch>~r<n>/` and checks that they agree with each
other and add up, before Great Expectations sees them. Every fault found is one reason to hold; none is repaired.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from pipelines.gate import plans
from pipelines.gate.verdict import GX_SEVERITY
from pipelines.sql import name, text, texts

BITS = 62
OUTCOMES = ("accepted", "copies", "superseded", "quarantined", "deletes", "cancelled")
LINES = ("header", "trailer", "blank", "records", "inner_line_ends", "unparseable")
KINDS = ("applicable", "failed", "repaired")
_RULE = {"rule": str, "zh": str, "en": str, "severity": str, "indicator": str, "owner": str, "on_breach": str,
         "at_least": (int, float), "mask": int, "bit": int}
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
BATCH = "~batch"      # as in expectations/plugins; no rule has such an id
CODE = re.compile(r"[0-9A-Z]{1,8}")
_MASK = re.compile(r"_(failed|applied|repaired)_(\d+)")


@dataclass(frozen=True)
class Evidence:
    """What staging wrote: the planned rules, the counts, the mask file.

    `told`: the JSON text of the rules; batches of which it is the same were tested by the same.
    """

    rules: list[dict[str, Any]]
    counts: dict[str, Any]
    masks: Path
    told: str = ""

    @property
    def tested(self) -> int:
        """Records that were tested: all but those their sender took back."""
        return self.counts["records"] - self.counts.get("cancelled", 0)


def load(folder: Path) -> tuple[Evidence | None, list[str]]:
    """The evidence in `folder`, or None and why it cannot be read."""
    found: dict[str, Any] = {}
    for file, read in (("plan.json", plans.read), ("counts.json", json.loads)):
        try:
            found[file] = read((folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, [f"{file} is missing: staging did not finish"]
        except ValueError:
            return None, [f"{file} is not valid JSON: staging did not finish"]
        if not isinstance(found[file], dict):
            return None, [f"{file} does not hold an object"]
    if not (folder / "masks.parquet").is_file():
        return None, ["masks.parquet is missing: staging did not finish"]
    found["counts.json"].setdefault("cancelled", 0)
    found["counts.json"].setdefault("new_values", [])
    rules = found["plan.json"].get("rules")
    if not isinstance(rules, plans.Rules) or not all(isinstance(r, dict) for r in rules):
        return None, ["plan.json holds no list of rules"]
    return Evidence(rules, found["counts.json"], folder / "masks.parquet", rules.told), []


@lru_cache(maxsize=8)
def _known_plan_faults(told: str) -> tuple[str, ...]:
    return tuple(_plan_faults(plans.rules(told)))


def faults(evidence: Evidence, con: duckdb.DuckDBPyConnection, masks: Masks | None = None) -> list[str]:
    """Every reason why the evidence must not be judged; later checks run only where earlier ones allow them.

    Args:
        masks: what its mask file holds, where `masks_together` has asked.
    """
    found = [*_known_plan_faults(evidence.told), *_count_faults(evidence.counts)]
    if found:
        return found
    found = list(_conservation_faults(evidence.counts)) + list(_rule_count_faults(evidence))
    if not found:
        found = list(_new_value_faults(evidence))
    return found + list(_mask_faults(evidence, con, masks))


def view(evidence: Evidence, *others: Evidence) -> str:
    """The statement creating `rules`: per rule true = broken, false = holds, NULL = does not apply; of several batches also which one a row is of.

    Args:
        others: batches that were staged under the same rules; `BATCH` counts them from 1, and `evidence` is 0.
    """
    columns = ", ".join(
        f"CASE WHEN _applied_{r['mask']} & {1 << r['bit']} <> 0 "
        f"THEN _failed_{r['mask']} & {1 << r['bit']} <> 0 END AS {name(r['rule'])}" for r in evidence.rules)
    if not others:
        return f"CREATE VIEW rules AS SELECT {columns} FROM read_parquet({text(evidence.masks.resolve())})"
    files = texts(one.masks.resolve() for one in (evidence, *others))
    return f"CREATE VIEW rules AS SELECT {columns}, masks.file_index::BIGINT AS {name(BATCH)} FROM read_parquet({files}) AS masks"


def _plan_faults(rules: list[dict[str, Any]]) -> Iterator[str]:
    if not rules:
        yield "the plan holds no rule, so nothing would be tested"
    for i, rule in enumerate(rules, 1):
        wrong = [k for k, kind in _RULE.items() if not isinstance(rule.get(k), kind) or isinstance(rule.get(k), bool)]
        if wrong:
            yield f"rule {i} of the plan has no usable {', '.join(wrong)}"
        elif not _ID.fullmatch(rule["rule"]):
            yield f"rule {i} of the plan has an id that is no rule id"
        elif rule["severity"] not in GX_SEVERITY or rule["on_breach"] not in ("hold", "report"):
            yield f"{rule['rule']} has a severity or on_breach the gate does not know"
        elif not 0 <= rule["at_least"] <= 1 or not 0 <= rule["bit"] < BITS or rule["mask"] < 0:
            yield f"{rule['rule']} has a threshold or a mask bit out of range"
    for key, of in (("rule", lambda r: r.get("rule")), ("mask bit", lambda r: (r.get("mask"), r.get("bit")))):
        taken = [of(r) for r in rules]
        if len({str(t) for t in taken}) < len(taken):
            yield f"two rules of the plan share one {key}"


def _count_faults(counts: dict[str, Any]) -> Iterator[str]:
    wrong = [k for k in sorted({"lines", *LINES, *OUTCOMES}) if not _is_count(counts.get(k))]
    if wrong:
        yield f"counts.json has no usable {', '.join(wrong)}"
    budget = counts.get("loss_budget")
    if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not 0 <= budget <= 1:
        yield "counts.json has no loss budget between 0 and 1"
    if not isinstance(counts["new_values"], list):
        yield "counts.json has no list of new values"
    per_rule = counts.get("rules")
    if not isinstance(per_rule, dict):
        yield "counts.json has no counts by rule"
    elif not all(isinstance(c, dict) and all(_is_count(c.get(k)) for k in KINDS) for c in per_rule.values()):
        yield "counts.json has rules without usable applicable, failed and repaired counts"


def _new_value_faults(evidence: Evidence) -> Iterator[str]:
    """What is listed as a code outside its list is one, of a column that may be listed, and not more often than the rule fails."""
    columns = {r["column"]: evidence.counts["rules"][r["rule"]]["failed"] for r in evidence.rules if r.get("new_values")}
    listed: dict[str, int] = {}
    for one in evidence.counts["new_values"]:
        if not isinstance(one, dict) or one.get("column") not in columns or not _is_count(one.get("rows")) \
                or not (one.get("value") is None or (isinstance(one["value"], str) and CODE.fullmatch(one["value"]))):
            yield "counts.json lists new values that are no codes of a column with a code list"
            return
        listed[one["column"]] = listed.get(one["column"], 0) + one["rows"]
    more = {column for column, rows in listed.items() if rows > columns[column]}
    if more:
        yield f"counts.json lists more new values than rows that fail, in {_some(more)}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _conservation_faults(counts: dict[str, Any]) -> Iterator[str]:
    """The two equations every batch must close: over physical lines and over records."""
    if not counts["records"]:
        yield "the batch holds no record, so every rule would pass unseen"
    for whole, parts in (("lines", LINES), ("records", OUTCOMES)):
        total = sum(counts[p] for p in parts)
        if counts[whole] != total:
            yield f"{counts[whole]:,} {whole} are not the {total:,} of {' + '.join(parts)}: rows were lost or doubled"


def _rule_count_faults(evidence: Evidence) -> Iterator[str]:
    planned, counted = {r["rule"] for r in evidence.rules}, set(evidence.counts["rules"])
    if planned - counted:
        yield f"counts.json lacks planned rules: {_some(planned - counted)}"
    if counted - planned:
        yield f"counts.json counts rules that the plan dropped: {_some(counted - planned)}"


@dataclass(frozen=True)
class Masks:
    """What a mask file holds: its columns with their types, and what was counted (None: columns are missing)."""

    types: dict[str, str]
    counted: tuple[int, ...] | None


def _planned(rules: list[dict[str, Any]]) -> dict[int, int]:
    """Mask → the bits that rules have in it."""
    planned: dict[int, int] = {}
    for rule in rules:
        planned[rule["mask"]] = planned.get(rule["mask"], 0) | 1 << rule["bit"]
    return planned


def _numbers(planned: dict[int, int], types: dict[str, str]) -> list[int]:
    """The masks that are planned, or there."""
    return sorted(planned.keys() | {int(m[2]) for m in map(_MASK.fullmatch, types) if m})


def _wrong(planned: dict[int, int], types: dict[str, str]) -> set[str]:
    return {c for i in _numbers(planned, types) for c in (f"_failed_{i}", f"_applied_{i}", f"_repaired_{i}") if types.get(c) != "BIGINT"}


def _read_masks(rules: list[dict[str, Any]], files: list[str], con: duckdb.DuckDBPyConnection) -> dict[str, Masks]:
    """What mask files of one schema hold; of several, those without a row are left out."""
    types = {row[0]: row[1] for row in con.execute("DESCRIBE FROM read_parquet($1)", [files[0]]).fetchall()}
    planned = _planned(rules)
    if _wrong(planned, types):
        return {file: Masks(types, None) for file in files}
    checks = ["count(*)"]
    for i in _numbers(planned, types):
        columns = (f"_failed_{i}", f"_applied_{i}", f"_repaired_{i}")
        checks += [f"count(*) FILTER ({' OR '.join(f'{c} IS NULL' for c in columns)})",
                   f"count(*) FILTER (_failed_{i} & ~_applied_{i} <> 0)",
                   f"coalesce(bit_or({' | '.join(columns)}), 0) & ~({planned.get(i, 0)}::BIGINT)"]
    if len(files) == 1:
        return {files[0]: Masks(types, con.execute(f"SELECT {', '.join(checks)} FROM read_parquet($1)", files).fetchone())}
    found = con.execute(f"SELECT one.file_index, {', '.join(checks)} FROM read_parquet($1) AS one GROUP BY ALL", [files]).fetchall()
    return {files[place]: Masks(types, tuple(counted)) for place, *counted in found}


def masks_together(evidence: Iterable[Evidence], con: duckdb.DuckDBPyConnection) -> dict[Path, Masks]:
    """What the mask files of many batches hold, asked in few statements: those of one schema under the same rules together.

    A file that cannot be read with the others, or holds nothing, is not in it: `faults` asks it alone.
    """
    alike: dict[str, list[Evidence]] = {}
    for one in evidence:
        alike.setdefault(one.told, []).append(one)
    found: dict[str, Masks] = {}
    for many in (many for many in alike.values() if len(many) > 1 and not _known_plan_faults(many[0].told)):
        with suppress(duckdb.Error):
            schemas: dict[str, list[tuple]] = {}
            for file, *column in con.execute("SELECT * EXCLUDE (field_id) FROM parquet_schema($1)", [[str(one.masks) for one in many]]).fetchall():
                schemas.setdefault(file, []).append(tuple(map(str, column)))
            equal: dict[tuple, list[str]] = {}
            for file, columns in schemas.items():
                equal.setdefault(tuple(columns[1:]), []).append(file)
            for files in equal.values():
                found |= _read_masks(many[0].rules, files, con)
    return {Path(file): masks for file, masks in found.items()}


def _mask_faults(evidence: Evidence, con: duckdb.DuckDBPyConnection, known: Masks | None) -> Iterator[str]:
    masks = known or _read_masks(evidence.rules, [str(evidence.masks)], con)[str(evidence.masks)]
    planned = _planned(evidence.rules)
    if masks.counted is None:
        yield f"masks.parquet has no BIGINT column {_some(_wrong(planned, masks.types))}"
        return
    rows, *found = masks.counted
    if rows != evidence.tested:
        yield f"masks.parquet holds {rows:,} rows, counts.json {evidence.tested:,} records"
    for i, nulls, stray, unknown in zip(_numbers(planned, masks.types), *(found[k::3] for k in range(3))):
        if nulls:
            yield f"{nulls:,} of {rows:,} rows have a NULL in mask {i}; a NULL would pass as not applicable"
        if stray:
            yield f"{stray:,} of {rows:,} rows fail a rule of mask {i} that does not apply to them"
        if unknown:
            yield f"mask {i} carries {unknown.bit_count()} bit(s) of rules that are not in the plan"
    yield from _waived_faults(evidence, con, masks.types)


def _waived_faults(evidence: Evidence, con: duckdb.DuckDBPyConnection, types: dict[str, str]) -> Iterator[str]:
    """A waived row is neither applicable nor failed, and there are as many as were counted: nothing is waived unseen."""
    checks, asked = [], []
    for rule in evidence.rules:
        counted, column, bit = evidence.counts["rules"].get(rule["rule"], {}).get("waived", 0), f"_waived_{rule['mask']}", 1 << rule["bit"]
        if column in types:
            checks += [f"count(*) FILTER ({column} & {bit} <> 0)", f"count(*) FILTER ({column} & (_applied_{rule['mask']} | _failed_{rule['mask']}) & {bit} <> 0)"]
            asked.append((rule["rule"], counted))
        elif counted:
            yield f"counts.json counts {counted:,} waived rows of {rule['rule']}, masks.parquet marks none"
    if asked:
        found = con.execute(f"SELECT {', '.join(checks)} FROM read_parquet($1)", [str(evidence.masks)]).fetchone()
        for (rule, counted), marked, both in zip(asked, found[::2], found[1::2]):
            if marked != counted:
                yield f"{rule}: masks.parquet marks {marked:,} rows as waived, counts.json counts {counted:,}"
            if both:
                yield f"{rule}: {both:,} rows are waived and judged at once"


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
