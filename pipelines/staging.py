"""One pass over a batch: landing → `staging/<batch_id>~r<revision>/`, the files that accepting will commit.

accepted/*.parquet (base columns with Iceberg field ids) · quarantine.parquet (addresses and rule ids, no values) ·
masks.parquet (one row per tested record, by address) · cancelled.parquet (addresses that their sender took back, if any) · plan.json ·
counts.json, written last: without it the folder is unfinished and is made again. Nothing outside the folder is touched.
"""
from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from pipelines import compiler, keys, mapping, places, readers, splitting
from pipelines.compiler import Plan, Waived
from pipelines.contract import Source
from pipelines.feedback.corrections import Corrections
from pipelines.landing import Manifest
from pipelines.ledger import Ledger
from pipelines.proof import prove
from pipelines.readers import heading
from pipelines.rules import declared_hash
from pipelines.semantics import reference
from pipelines.settings import Lake, Project, WrongUse
from pipelines.splitting import Batches
from pipelines.sql import connect, name, text
from pipelines.staged_batches import Staged, settle
from pipelines.waivers import UNCOVERED, Cover

_proved: set[tuple[str, ...]] = set()


@contextmanager
def engine(lake: Lake, project: Project, plan: Plan) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection ready to stage batches of one dataset: code lists, macros, keyed digests, every rule proved.

    Raises:
        WrongUse: a rule cannot fail, refuses its own good example, or a column is read by no rule.
    """
    with places.place(lake, plan.dataset.id) as scratch, closing(connect(temp=scratch)) as con:
        added = Ledger(lake).added_codes()
        reference.ready(con, project, lake.staging, added)
        reference.constant(con)
        keys.install(con, keys.pseudonym_key(lake))
        _prove_once(con, project, plan, added)
        yield con


def _prove_once(con: duckdb.DuckDBPyConnection, project: Project, plan: Plan, added: reference.Added) -> None:
    """Prove the rules once per process and state of contract, rules, code lists and macros."""
    state = (declared_hash(plan.dataset, project), reference.versions_hash(project, added), *reference.macros(project))
    if state not in _proved:
        prove(con, plan)
        _proved.add(state)


def stage(con: duckdb.DuckDBPyConnection, lake: Lake, plan: Plan, source: Source, manifest: Manifest, field_ids: dict[str, int],
          cover: Cover = UNCOVERED) -> Staged:
    """Read, standardise, test and split one batch: `make` and `settle`. The caller holds the dataset's lock."""
    return settle(lake, make(con, plan, source, manifest, field_ids, cover), manifest.batch_id, manifest.revision)


def make(con: duckdb.DuckDBPyConnection, plan: Plan, source: Source, manifest: Manifest, field_ids: dict[str, int], cover: Cover = UNCOVERED) -> Staged:
    """Read, standardise, test and split one batch in this process's own place; several processes may do so at once.

    Args:
        con: from `engine`, for the same plan.
        plan: the dataset's plan under today's contract.
        source: who sent the batch.
        manifest: its landing manifest.
        field_ids: base column → Iceberg field id.
        cover: the rules that are waived for this batch.

    Raises:
        readers.ReadRefused: a file cannot be read so that its lines are accounted for, or its manifest counts other records.
        mapping.HeaderMismatch: a header does not hold the required columns.
    """
    work = _empty_place(con, cover)
    batches = Batches({0: manifest.batch_id}, {0: _own(work)})
    counts, parts = _load(con, plan, source, manifest, work, cover)
    shutil.rmtree(work / "scratch")      # the decoded text of a large batch is a third of the disk that staging it takes
    return _finish(con, plan, [manifest], batches, {0: counts}, parts, field_ids, cover)[0]


def _empty_place(con: duckdb.DuckDBPyConnection, cover: Cover) -> Path:
    """This connection's folder and schema, with nothing of an earlier batch in them."""
    work = Path(con.execute("SELECT current_setting('temp_directory')").fetchone()[0]) / "made"
    shutil.rmtree(work, ignore_errors=True)
    (work / "scratch").mkdir(parents=True)
    con.execute("SET preserve_insertion_order = true; USE memory.main; DROP SCHEMA IF EXISTS batch CASCADE; CREATE SCHEMA batch; USE batch")
    _enter_keys(con, cover)
    return work


def _own(work: Path, of: int = 0) -> Path:
    folder = work / str(of)
    (folder / "accepted").mkdir(parents=True)
    return folder


def _finish(con: duckdb.DuckDBPyConnection, plan: Plan, manifests: Sequence[Manifest], batches: Batches, counts: splitting.Counts, parts: dict[str, str],
            field_ids: dict[str, int], cover: Cover) -> list[Staged]:
    """From the view `staged` to the finished folders.

    Args:
        manifests: of the batches, in the order of `batches`.
        counts: the line balance and what was found of each unit.
        parts: table → SELECT, of which `staged` consists.
    """
    for step in (partial(splitting.split, con, plan, batches, cover), partial(splitting.rule_counts, con, plan, batches, cover),
                 partial(splitting.write_accepted, con, plan, batches, field_ids, parts)):
        for of, found in step().items():
            counts[of] |= found
    con.execute("USE memory.main; DROP SCHEMA batch CASCADE")
    same = json.dumps({"rules": [r.public() for r in plan.rules], "waivers": list(cover.ids)}, ensure_ascii=False)
    for of, manifest in zip(batches.ids, manifests, strict=True):
        own = json.dumps({"dataset": plan.dataset.id, "batch_id": manifest.batch_id, "revision": manifest.revision}, ensure_ascii=False)
        (batches.folders[of] / "plan.json").write_bytes(f"{own[:-1]}, {same[1:]}".encode())      # what is the same of all is put in words once
        (batches.folders[of] / "counts.json").write_bytes(json.dumps(counts[of], ensure_ascii=False).encode())
    return [Staged(batches.folders[of], counts[of]) for of in batches.ids]


def make_together(con: duckdb.DuckDBPyConnection, plan: Plan, source: Source, manifests: Sequence[Manifest], field_ids: dict[str, int],
                  cover: Cover = UNCOVERED) -> dict[str, Staged]:
    """`make` for small batches that one source sent for one date and the same rules are waived for, in one pass over all their files.

    Returns:
        batch_id → what was made of it. A batch whose files cannot be read together with the others, or that is to be refused or held, is not in it:
        `make` says why.
    """
    work = _empty_place(con, cover)
    units, owners, headers = _units_together(plan, source, manifests, work)
    selects = {u.number: partial(_select, plan, headers[u.number].cells, headers[u.number].op, _as_of(manifests[0]), cover.waived) for u in units}
    readings: dict[int, readers.Reading] = {}
    parts: dict[str, str] = {}
    numbers = [own for _, own in owners]
    for made in readers.together(con, units, selects):
        readings |= made.readings
        rows = (f"SELECT list_extract({[of for of, _ in owners]}::INTEGER[], _file) AS _of, list_extract({numbers}::INTEGER[], _file) AS _file, * EXCLUDE (_file) "
                f"FROM ({made.rows})")
        parts = _keep(con, plan, rows, made.table, small=True)
    counts: splitting.Counts = {}
    for of, manifest in enumerate(manifests):
        mine = [u for u in units if owners[u.number - 1][0] == of]
        if mine and all(u.number in readings for u in mine):
            with suppress(WrongUse):
                counts[of] = _balance(plan, manifest, [_unit_facts(replace(u, number=numbers[u.number - 1]), readings[u.number], headers[u.number]) for u in mine])
    made = []
    if counts:
        con.execute(f"DELETE FROM pile WHERE _of NOT IN ({', '.join(map(str, counts))}); CREATE VIEW staged AS FROM pile")
        con.execute("CREATE TABLE unparsed(_of INTEGER, _file INTEGER, _ordinal BIGINT, reason VARCHAR)")
        batches = Batches({of: manifests[of].batch_id for of in counts}, {of: _own(work, of) for of in counts}, many=True)
        made = _finish(con, plan, [manifests[of] for of in counts], batches, counts, parts, field_ids, cover)
    shutil.rmtree(work / "scratch")
    return {manifests[of].batch_id: one for of, one in zip(counts, made)}


def _units_together(plan: Plan, source: Source, manifests: Sequence[Manifest],
                    work: Path) -> tuple[list[readers.Unit], list[tuple[int, int]], dict[int, mapping.HeaderMap]]:
    """The units of several batches, numbered through; of each the place of its batch and its number there; its header. One batch has all its units here, or none."""
    found, owners, headers, known = [], [], {}, {}
    spelled = _spelled(plan, source)
    for of, manifest in enumerate(manifests):
        scratch = work / "scratch" / str(of)
        scratch.mkdir()
        with suppress(WrongUse):
            own = readers.units(manifest, source, scratch, spelled)
            for unit in own:
                if unit.header not in known:
                    known[unit.header] = mapping.map_header(plan.dataset, source, unit.header, unit.name)
            for unit in own:
                owners.append((of, unit.number))
                headers[len(owners)] = known[unit.header]
                found.append(replace(unit, number=len(owners)))
    return found, owners, headers


def _enter_keys(con: duckdb.DuckDBPyConnection, cover: Cover) -> None:
    """Fill `waiver_keys`(rule, key), which the compiled SQL looks single keys up in."""
    con.execute("CREATE TABLE waiver_keys(rule VARCHAR, key VARCHAR)")
    for rule, found in cover.rules.items():
        con.execute("INSERT INTO waiver_keys SELECT $1, unnest($2::VARCHAR[])", [rule, list(found or ())])


def _load(con: duckdb.DuckDBPyConnection, plan: Plan, source: Source, manifest: Manifest, work: Path,
          cover: Cover) -> tuple[dict[str, Any], dict[str, str]]:
    """Create the view `staged` over every readable unit; returns the line balance with what was found of each unit, and what `staged` consists of: table → SELECT."""
    con.execute("CREATE TABLE unparsed(_file INTEGER, _ordinal BIGINT, reason VARCHAR)")
    parts, units, corrections = {}, [], Corrections(con, manifest, work / "scratch")
    found = readers.units(manifest, source, work / "scratch", _spelled(plan, source))
    headers = {unit.number: mapping.map_header(plan.dataset, source, unit.header, unit.name.capitalize()) for unit in found}
    selects = {unit.number: partial(_select, plan, headers[unit.number].cells, headers[unit.number].op, _as_of(manifest), cover.waived) for unit in found}
    readings: dict[int, readers.Reading] = {}
    if not plan.windowed:      # a window is over one file
        for made in readers.together(con, [u for u in found if not corrections.concern(u)], selects):
            readings |= made.readings
            parts |= _keep(con, plan, made.rows, made.table, small=True)
    for unit in found:
        reading = readings.get(unit.number)
        if reading is None:
            table = f"unit_{unit.number}"
            reading = corrections.read(con, unit, selects[unit.number], table)
            rows = f"SELECT {unit.number}::INTEGER AS _file, coalesce(_line, rowid + 1) AS _ordinal, * EXCLUDE (_line) FROM {table}"
            parts |= _keep(con, plan, rows, table, small=reading.records < splitting.ROW_GROUP)
        if reading.rejects:
            con.execute("INSERT INTO unparsed SELECT $1, unnest($2::BIGINT[]), unnest($3::VARCHAR[])", [unit.number, *map(list, zip(*reading.rejects))])
        units.append(_unit_facts(unit, reading, headers[unit.number]))
    if not parts:
        raise WrongUse(f"{manifest.batch_id}: no file of this batch holds a table.")
    con.execute(f"CREATE VIEW staged AS {' UNION ALL '.join(parts.values())}")
    totals = _balance(plan, manifest, units, corrections.corrected, len(corrections.cancelled))
    if corrections.cancelled:
        _write_cancelled(con, corrections.cancelled, work / "0" / "cancelled.parquet")
    return totals, parts


def _spelled(plan: Plan, source: Source) -> heading.Spelled:
    return [[heading.key(s) for s in words] for words in mapping.spellings(plan.dataset, source).values()]


def _as_of(manifest: Manifest) -> str:
    """SQL of the day at which the batch is judged."""
    return f"DATE {text(date.fromisoformat(manifest.batch_date).isoformat())}"


def _balance(plan: Plan, manifest: Manifest, units: list[dict[str, Any]], corrected: int = 0, cancelled: int = 0) -> dict[str, Any]:
    """The counts of a batch over its units.

    Raises:
        readers.ReadRefused: its manifest counts other records.
    """
    _check_row_counts(manifest, units)
    totals = {k: sum(u[k] for u in units) for k in ("lines", "header", "trailer", "blank", "inner_line_ends", "unparseable", "records")}
    return totals | {"corrected": corrected, "cancelled": cancelled, "units": units,
                     "reading": "lines" if any(u["reading"] == "lines" for u in units) else "records",
                     "unmapped_columns": sum(len(u["unread"]) for u in units), "loss_budget": plan.dataset.loss_budget}


def _write_cancelled(con: duckdb.DuckDBPyConnection, cancelled: list[tuple[int, int]], file: Path) -> None:
    """Write the addresses that a sender took back."""
    con.execute(f"COPY (SELECT unnest($1::INTEGER[]) AS _file, unnest($2::BIGINT[]) AS _ordinal) TO {text(file)} (FORMAT parquet)",
                [[f for f, _ in cancelled], [n for _, n in cancelled]])


def _keep(con: duckdb.DuckDBPyConnection, plan: Plan, rows: str, table: str, small: bool) -> dict[str, str]:
    """The table that holds records, and the SELECT over them with their addresses.

    Args:
        rows: SELECT of `_file`, `_ordinal` and all columns of `table`.
        small: they go to the table `pile`, because a table of its own costs each some megabytes.
    """
    key = compiler.key_column(plan)
    if key != "_key":
        rows = f"SELECT *, {name(key)} AS _key FROM ({rows})"
    if not small:
        return {table: rows}
    con.execute(f"CREATE TABLE IF NOT EXISTS pile AS FROM ({rows}) LIMIT 0")
    con.execute(f"INSERT INTO pile {rows}; DROP TABLE {table}")
    return {"pile": "SELECT * FROM pile"}


def _unit_facts(unit: readers.Unit, reading: readers.Reading, header: mapping.HeaderMap) -> dict[str, Any]:
    """What the ledger keeps of one file, member or sheet: numbers, column names of the contract, no submitted text."""
    balance = {k: getattr(reading, k) for k in ("lines", "header", "trailer", "blank", "inner_line_ends", "unparseable", "records")}
    return balance | {
        "file": unit.number, "submitted": unit.file, "member": unit.member_number, "form": unit.form, "encoding": unit.encoding,
        "evidence": unit.evidence, "header_row": unit.header_row, "width": len(unit.header), "unread": header.unread, "absent": header.absent,
        "reading": reading.by, "repairs": unit.repairs, "damaged": unit.damaged, "found": reading.found}


def _check_row_counts(manifest: Manifest, units: list[dict[str, Any]]) -> None:
    """Refuse the batch when a file holds another number of records than its manifest declares."""
    for file in manifest.files:
        found = sum(u["found"] for u in units if u["submitted"] == file.number)
        if file.rows is not None and file.rows != found:
            raise readers.ReadRefused("row_count", f"File {file.number}: its manifest declares {file.rows:,} records, it holds {found:,}. "
                                                   "Ask for the whole file, or for the right manifest.")


def _select(plan: Plan, cells: dict[str, str], op: str | None, as_of: str, waived: Waived, from_sql: str, ordinal: str | None = None) -> str:
    """The SELECT over one unit. A window reorders rows, and then a row's place in the table no longer tells its ordinal."""
    counted = ordinal or ("row_number() OVER ()" if plan.windowed else "NULL::TINYINT")
    return compiler.judge(plan, compiler.standardise(plan, cells, op, from_sql, as_of, counted, waived), waived=waived)
