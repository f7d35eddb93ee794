"""From the tested rows of one batch, or of several at once, to the files of each: repeated keys, quarantine, masks, accepted rows, counts.

The rows are the view `staged`. Where they are of several batches its column `_of` says of which, and each statement that reads all rows is run once
for all: planning it costs more than working on a thousand rows.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines import compiler, many_files, new_values, region_counts
from pipelines.compiler import CONFLICT, SEGMENT, Plan
from pipelines.sql import PARQUET, name, names, text, texts
from pipelines.waivers import Cover

ROW_GROUP = 122_880
KEYS, PARTS = 2_000_000, 8      # keys that are counted at once, some 80 MB; but never more passes over them than this
COUNTED = {"applied": "applicable", "failed": "failed", "repaired": "repaired", "waived": "waived"}      # mask → what its bits are counted as
Counts = dict[int, dict[str, Any]]      # `_of` → counts


@dataclass(frozen=True)
class Batches:
    """`_of` → id and folder of a batch; a batch that is alone has no column `_of` and is 0."""

    ids: dict[int, str]
    folders: dict[int, Path]
    many: bool = False

    @property
    def of(self) -> str:
        """The column that goes before an address."""
        return "_of, " if self.many else ""

    @property
    def address(self) -> str:
        """What tells one record from all others."""
        return f"{self.of}_file, _ordinal"

    def per_batch(self, con: duckdb.DuckDBPyConnection, aggregates: str, rows: str) -> dict[int, tuple]:
        """Aggregates over the rows of each batch that has any."""
        if self.many:
            return {of: found for of, *found in con.execute(f"SELECT _of, {aggregates} FROM {rows} GROUP BY ALL").fetchall()}
        return {0: con.execute(f"SELECT {aggregates} FROM {rows}").fetchone()}

    def write(self, con: duckdb.DuckDBPyConnection, table: str, select: str, file: str, order: str = "") -> None:
        """Write the rows of a SELECT, which has `_of` where batches are several, as one Parquet file per batch; they stay in `table` where these are several."""
        if not self.many:
            con.execute(f"COPY ({select}{order}) TO {text(self.folders[0] / file)} ({PARQUET})")
            return
        con.execute(f"CREATE TABLE {table} AS {select}")
        many_files.write(con, f"FROM {table} ORDER BY _of, _file, _ordinal", {of: folder / file for of, folder in self.folders.items()})


def split(con: duckdb.DuckDBPyConnection, plan: Plan, batches: Batches, cover: Cover) -> Counts:
    """Resolve repeated keys, then write quarantine and masks; returns how many rows go where."""
    resolve_keys(con, plan, batches)
    found: Counts = {of: dict.fromkeys(("copies", "superseded", "quarantined", "repaired"), 0) for of in batches.ids}
    resolved = con.execute(f"SELECT {batches.of or '0, '}outcome, count(*) FROM dropped GROUP BY ALL").fetchall()
    for of, outcome, rows in resolved:
        found[of][{"copy": "copies", "conflict": "quarantined"}.get(outcome, outcome)] = rows
    conflicts = sum(rows for _, outcome, rows in resolved if outcome == "conflict")
    con.execute("SET preserve_insertion_order = false")
    _write_quarantine(con, plan, batches, conflicts)
    _write_masks(con, plan, batches, cover, conflicts)
    con.execute("SET preserve_insertion_order = true")
    any_repair = " OR ".join(f"_repaired_{i} <> 0" for i in range(plan.masks)) or "false"
    for of, (rejected, repaired) in batches.per_batch(con, f"count(*) FILTER ({_rejected(plan)}), count(*) FILTER ({any_repair})", "staged").items():
        found[of] |= {"quarantined": found[of]["quarantined"] + rejected, "repaired": repaired}
    return found


def _rejected(plan: Plan) -> str:
    terms = [f"_failed_{i} & {bits} <> 0" for i, bits in enumerate(plan.reject_masks()) if bits]
    return f"({' OR '.join(terms) or 'false'})"


def write_accepted(con: duckdb.DuckDBPyConnection, plan: Plan, batches: Batches, field_ids: dict[str, int], parts: dict[str, str]) -> Counts:
    """Write the accepted rows in the order of their records; what was dropped goes from the tables first, because a join would mix the rows.

    Args:
        field_ids: base column → Iceberg field id.
        parts: table → SELECT, of which `staged` consists.
    """
    for table, rows in parts.items():
        before, _, innermost = rows.rpartition("SELECT ")
        con.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT _place FROM ({before}SELECT rowid AS _place, {innermost}) SEMI JOIN dropped USING ({batches.address}))")
    columns = names(n for n, _ in plan.physical() if n not in ("_batch", "_file", "_ordinal", "_op"))
    files = {of: folder / "accepted" / "rows.parquet" for of, folder in batches.folders.items()}
    if batches.many:
        ids = f"list_extract({texts(batches.ids.get(of, '') for of in range(max(batches.ids) + 1))}, _of + 1)"
        many_files.write(con, f"SELECT _of, {columns}, {ids} AS _batch, _file, _ordinal, _op::VARCHAR AS _op, _batch AS {SEGMENT} FROM staged "
                              f"WHERE NOT {_rejected(plan)} ORDER BY _of, _file, _ordinal", files, field_ids)
    else:
        ids, batch_id = ", ".join(f"{name(n)}: {field_ids[n]}" for n, _ in plan.stored()), text(batches.ids[0])
        con.execute(f"""
            COPY (SELECT {columns}, {batch_id} AS _batch, _file, _ordinal, _op::VARCHAR AS _op, {batch_id} AS {SEGMENT} FROM staged WHERE NOT {_rejected(plan)})
            TO {text(files[0])} ({PARQUET}, ROW_GROUP_SIZE {ROW_GROUP}, FIELD_IDS {{{ids}}})""")
    found: Counts = {of: {"accepted": 0, "deletes": 0} for of in batches.ids}
    listed, numbers = [str(f) for f in files.values()], list(files)
    for place, op, rows in con.execute("SELECT one.file_index, _op, count(*) FROM read_parquet($1) AS one GROUP BY ALL", [listed]).fetchall():
        found[numbers[place]][{"U": "accepted", "D": "deletes"}[op]] = rows
    return found


def resolve_keys(con: duckdb.DuckDBPyConnection, plan: Plan, batches: Batches) -> None:
    """Fill `dropped(_file, _ordinal, outcome)`: copy, superseded or conflict, among rows of a batch that no rule rejects.

    Keys are counted by their hash, which takes a third of their room, and a part of the hashes at a time, so that the rows need not give way to
    them on the disk. Of more than one part the hashes are kept: the rows may lie on the disk already, and are not to be read once a part.
    A key that only shares its hash with another is found to be alone.
    """
    latest = name(plan.dataset.latest_by) if plan.dataset.latest_by else "NULL"
    differs = "min(_same) FILTER (_op = 'U') OVER same_key IS DISTINCT FROM max(_same) FILTER (_op = 'U') OVER same_key"
    parts = min(PARTS, 1 + con.execute("SELECT count(*) FROM staged").fetchone()[0] // KEYS)
    kept, same = f"FROM staged WHERE NOT {_rejected(plan)} AND _key IS NOT NULL", f"hash({batches.of}_key)"
    hashes = f"SELECT {same} AS h {kept}"
    if parts > 1:
        con.execute(f"CREATE TABLE hashes AS {hashes}")
        hashes = "FROM hashes"
    con.execute("CREATE TABLE shared(hash UBIGINT)")
    for part in range(parts):
        con.execute(f"INSERT INTO shared SELECT h FROM ({hashes}) WHERE h % {parts} = {part} GROUP BY h HAVING count(*) > 1")
    con.execute("DROP TABLE IF EXISTS hashes")
    con.execute(f"""
        CREATE TABLE dropped AS
        WITH repeated AS (
            SELECT {batches.address}, _key, {compiler.content_of(plan)} AS _content, _op, {latest} AS latest, {compiler.identity_of(plan)} AS _same
            {kept} AND {same} IN (FROM shared)),
        judged AS (
            SELECT *, {differs if plan.dataset.identity else 'false'} AS differs,
                first_value(_content) OVER (same_key ORDER BY latest DESC NULLS LAST, _file DESC, _ordinal DESC) AS newest
            FROM repeated WINDOW same_key AS (PARTITION BY {batches.of}_key)),
        ranked AS (
            SELECT *, row_number() OVER (PARTITION BY {batches.of}_key, _content ORDER BY _file, _ordinal) AS place FROM judged)
        SELECT {batches.address},
            CASE WHEN differs THEN 'conflict' WHEN _content = newest THEN 'copy' ELSE 'superseded' END AS outcome
        FROM ranked WHERE differs OR _content <> newest OR place > 1""")


def _write_quarantine(con: duckdb.DuckDBPyConnection, plan: Plan, batches: Batches, conflicts: int) -> None:
    failing = ", ".join(f"CASE WHEN _failed_{r.mask} & {1 << r.bit} <> 0 THEN {text(r.rule)} END"
                        for r in plan.rules if r.severity == "reject")
    identity = compiler.digest(f"identity:{plan.dataset.id}", [name(i) for i in plan.dataset.identity]) \
        if plan.dataset.identity else "NULL::VARCHAR"
    row = f"SELECT {batches.address}, _key, {identity} AS _identity, {compiler.region_of(plan)} AS region"
    conflicting = f"UNION ALL {row}, [{text(CONFLICT)}] FROM staged SEMI JOIN (FROM dropped WHERE outcome = 'conflict') USING ({batches.address})"
    batches.write(con, "quarantined", f"""
            {row}, list_filter([{failing}], rule -> rule IS NOT NULL) AS rules FROM staged WHERE {_rejected(plan)}
            {conflicting if conflicts else ''}
            UNION ALL
            SELECT {batches.address}, NULL, NULL, NULL, ['line.' || reason] FROM unparsed""", "quarantine.parquet", " ORDER BY _file, _ordinal")


def _write_masks(con: duckdb.DuckDBPyConnection, plan: Plan, batches: Batches, cover: Cover, conflicts: int) -> None:
    conflict = next((r for r in plan.rules if r.rule == CONFLICT and conflicts), None)
    masks = [f"_{kind}_{i}" for i in range(plan.masks) for kind in _kinds(cover)]
    columns = ", ".join(masks)
    if conflict:
        hit = f"({batches.address}) IN (SELECT ({batches.address}) FROM dropped WHERE outcome = 'conflict')"
        failed = f"_failed_{conflict.mask}"
        columns = columns.replace(failed, f"({failed} | CASE WHEN {hit} THEN {1 << conflict.bit} ELSE 0 END)::BIGINT AS {failed}", 1)
    batches.write(con, "masks", f"SELECT {batches.address}, {compiler.region_of(plan)} AS region, {columns} FROM staged", "masks.parquet")


def _kinds(cover: Cover) -> tuple[str, ...]:
    """The masks of a batch: what is waived has one only where something may be."""
    return ("failed", "applied", "repaired", *(["waived"] if cover.rules else []))


def rule_counts(con: duckdb.DuckDBPyConnection, plan: Plan, batches: Batches, cover: Cover) -> Counts:
    """applicable, failed, repaired and waived per rule, in total (`rules`) and by region (`regions`, packed), and new values.

    Rows are first counted by equal masks, of which there are few: a count per rule over all rows took a tenth of the whole pass.
    """
    kinds, rows = _kinds(cover), "masks" if batches.many else f"read_parquet({text(batches.folders[0] / 'masks.parquet')})"
    of, columns = "_of" if batches.many else "0::BIGINT AS _of", list(COUNTED.values())
    groups = [f"SELECT {of}, coalesce(region, '') AS region, {columns.index(COUNTED[kind])} AS kind, {i} AS mask, _{kind}_{i} AS bits, count(*) AS n "
              f"FROM {rows} WHERE _{kind}_{i} <> 0 GROUP BY ALL" for i in range(plan.masks) for kind in kinds]
    con.execute(f"CREATE TABLE rule_counts AS {' UNION ALL '.join(groups)}")
    rules = [f"({place}, {r.mask}, {1 << r.bit})" for place, r in enumerate(plan.rules)]
    counted = ", ".join(f"coalesce(sum(n) FILTER (kind = {kind}), 0)::BIGINT" for kind in range(len(columns)))
    counts = {one: {"rules": {r.rule: dict.fromkeys(columns, 0) for r in plan.rules}, "regions": region_counts.NOTHING} for one in batches.ids}
    for one, place, *numbers in con.execute(
            f"SELECT _of, place, {counted} FROM (SELECT _of, kind, mask, bits, sum(n) AS n FROM rule_counts GROUP BY ALL) g "
            f"JOIN (VALUES {', '.join(rules)}) r(place, mask, bit) ON g.mask = r.mask AND g.bits & r.bit::BIGINT <> 0 GROUP BY ALL").fetchall():
        counts[one]["rules"][plan.rules[place].rule] = dict(zip(columns, numbers))
    told = con.execute("SELECT _of, region, kind, mask, bits, n FROM rule_counts ORDER BY _of, region")
    bits = [r.mask * region_counts.MASK + r.bit for r in plan.rules]
    for one, packed in region_counts.packed([r.rule for r in plan.rules], bits, iter(told.fetchone, None)).items():
        counts[one]["regions"] = packed
    watched = {r.rule for r in plan.rules if r.new_values}
    found = new_values.count(con, [one for one, c in counts.items() if any(c["rules"][rule]["failed"] for rule in watched)], batches.of)
    return {one: c | {"new_values": found.get(one, [])} for one, c in counts.items()}
