"""The change of `current` by a few batches, at a cost that goes with them: rows.parquet (new winners), superseded.parquet (positions).

Which version of a key counts depends on the versions and rejected rows of that key alone (not in snapshots). So the keys that added or replaced
batches carry are looked at twice, with what base held before and with what it holds now, by the same rules as the whole is. What differs is
the delta; counts over keys (disagreements, overlaps) change by the difference. It does not matter in which order batches came.
Base and what is current are read by their keys alone; of other columns only the rows that are needed.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines import masks, parts, winners
from pipelines.compiler import Plan
from pipelines.segments import State
from pipelines.sql import PARQUET, name, names, text, texts

if TYPE_CHECKING:
    from pipelines.current import Current

MOST = 64           # deltas over one first part: a release opens them all
SHARE = 0.2         # of the rows; where more are touched, deriving the whole costs less


@dataclass(frozen=True)
class Change:
    """What base holds now against what an earlier state was derived from: files of base, and quarantine files."""

    kept: list[str]
    added: list[str]
    removed: list[str]
    rejected: list[str]     # quarantine files of batches that were added or removed

    @property
    def files(self) -> list[str]:
        return [*self.kept, *self.added, *self.removed]


def change(plan: Plan, earlier: Current, state: State, quarantine: dict[str, Path], rows: int) -> Change | None:
    """How base differs from what `earlier` was derived from; None where the whole must be, or is better, derived.

    Args:
        quarantine: batch_id → quarantine file, of what base holds now.
        rows: how many rows a delta has to be worth its while.
    """
    if plan.dataset.load == "snapshot" or earlier.facts["rows"] < rows or len(earlier.facts["chain"]) >= MOST:
        return None
    before = {s: tuple(files) for s, files in earlier.facts["segments"].items()}
    after = {s: v.files for s, v in state.segments.items()}
    gone, new = sorted(s for s in before if after.get(s) != before[s]), sorted(s for s in after if before.get(s) != after[s])
    removed, held = [f for s in gone for f in before[s]], earlier.facts["quarantine"]
    batches = {b for s in new for b, _ in state.segments[s].batches} | {b for s in gone for b in earlier.facts["batches_of"][s]}
    rejected = sorted({str(held[b]) for b in batches if b in held} | {str(quarantine[b]) for b in batches if b in quarantine})
    if not all(Path(f).exists() for f in (*removed, *rejected, *held.values())):
        return None
    return Change([f for s in sorted(after) if s not in new for f in after[s]], [f for s in new for f in after[s]], removed, rejected)


def write(con: duckdb.DuckDBPyConnection, plan: Plan, earlier: Current, state: State, quarantine: dict[str, Path], found: Change, work: Path) -> dict[str, Any] | None:
    """Write the delta against an earlier state into `work`; returns the facts, None where too many keys are touched."""
    d = plan.dataset
    con.execute(f"CREATE TABLE touched AS {_keys(found)}")
    keys = con.execute("SELECT count(*) FROM touched").fetchone()[0]
    if keys > SHARE * earlier.facts["rows"]:
        return None
    con.execute(f"CREATE TABLE place AS {_places(found)}")
    several = len(d.sources) > 1 and any(not c.primary_key for c in d.columns)
    keep = d.on_reject == "keep"
    sides = {"before": (earlier.facts["quarantine"], [b for s in earlier.facts["batches_of"].values() for b in s], "added"),
             "after": (quarantine, list(state.batches), "removed")}
    for side, (held, batches, other) in sides.items() if several else [("after", sides["after"])]:
        con.execute(f"CREATE SCHEMA {side}; SET search_path = '{side},main'")
        winners.batches(con, plan, batches)
        con.execute(f"CREATE VIEW version AS SELECT p.*, batch.* FROM place p JOIN batch ON _batch = batch_id WHERE kind <> {text(other)}")
        winners.rejected(con, held, " WHERE _key IN (SELECT _key FROM touched)")
        winners.candidates(con, plan)
        winners.winners(con, keep)
    con.execute("SET search_path = 'main'")
    con.execute(f"CREATE TABLE was AS {_current(plan, earlier)}")
    con.execute("""
        CREATE TABLE won AS SELECT _key, _batch, _file, _ordinal, source, stale_since, kind, file, pos FROM after.winner;
        CREATE TABLE same AS SELECT _key FROM was JOIN won USING (_key, _batch, _file, _ordinal)
            WHERE kind = 'kept' AND was.stale_since IS NOT DISTINCT FROM won.stale_since;
        CREATE TABLE needed AS SELECT file, pos FROM won ANTI JOIN same USING (_key)""")
    if several:
        for side in sides:
            con.execute(f"CREATE TABLE {side}.crowd AS SELECT _key, source, rank, file, pos FROM {side}.of_source "
                        f"WHERE _key IN (SELECT _key FROM {side}.of_source GROUP BY _key HAVING count(*) > 1)")
        con.execute("INSERT INTO needed SELECT file, pos FROM before.crowd UNION ALL SELECT file, pos FROM after.crowd")
    _fetch(con, plan, found)
    facts = _put(con, plan, earlier, work)
    facts["disagreements"], earlier_overlaps = dict(earlier.facts["disagreements"]), f"FROM read_parquet({text(earlier.overlaps)})"
    counted = [earlier_overlaps]
    if several:
        for side, sign in (("before", -1), ("after", 1)):
            con.execute(f"DROP VIEW {side}.winner; DROP VIEW {side}.of_source; SET search_path = '{side},main'; "
                        "CREATE VIEW of_source AS SELECT c._key, source, rank, w.* EXCLUDE (_key, file, pos) FROM crowd c JOIN main.wide w USING (file, pos)")
            for column, keys in winners.disagreements(con, plan).items():
                facts["disagreements"][column] = facts["disagreements"].get(column, 0) + sign * keys
            con.execute(f"CREATE TABLE main.overlaps_{side} AS SELECT * REPLACE ({sign} * applicable AS applicable, {sign} * failed AS failed) FROM ({winners.overlaps(plan)})")
            counted.append(f"FROM main.overlaps_{side}")
        con.execute("SET search_path = 'main'")
        facts["disagreements"] = {c.name: facts["disagreements"][c.name] for c in d.columns if facts["disagreements"].get(c.name)}
    con.execute(f"""COPY (SELECT * EXCLUDE (applicable, failed), sum(applicable)::BIGINT AS applicable, sum(failed)::BIGINT AS failed
        FROM ({' UNION ALL '.join(counted)}) GROUP BY ALL HAVING sum(applicable) > 0 ORDER BY ALL) TO {text(work / 'overlaps.parquet')} ({PARQUET})""")
    return facts


def _keys(found: Change) -> str:
    """The keys that added or replaced batches carry, in accepted or in rejected rows."""
    read = [f"SELECT _key FROM read_parquet({texts(files)})" for files in ([*found.added, *found.removed], found.rejected) if files]
    return f"SELECT DISTINCT _key FROM ({' UNION ALL '.join(read)}) WHERE _key IS NOT NULL"


def _places(found: Change) -> str:
    """Where the versions of these keys stand, and what orders them; `file` counts through kept, added and removed files."""
    start, each = 0, []
    for kind, files in (("kept", found.kept), ("added", found.added), ("removed", found.removed)):
        if files:
            each.append(f"SELECT {text(kind)} AS kind, (file_index + {start})::UBIGINT AS file, file_row_number AS pos, _key, _batch, _file, _ordinal, _op "
                        f"FROM read_parquet({texts(files)}) WHERE _key IN (SELECT _key FROM touched)")
        start += len(files)
    return " UNION ALL ".join(each)


def _current(plan: Plan, earlier: Current) -> str:
    """What is current of these keys in the earlier state, where, and by which column published files tell the record."""
    rows = parts.select(earlier.files, earlier.superseded, f"{parts.HERE}, _key, _batch, _file, _ordinal, _stale_since AS stale_since, {name(masks.record_key(plan))} AS record")
    return f"{rows} WHERE _key IN (SELECT _key FROM touched)"


def _fetch(con: duckdb.DuckDBPyConnection, plan: Plan, found: Change) -> None:
    """Table `wide`: all columns of the rows in `needed`; files without any are not opened."""
    used = [f for f, in con.execute("SELECT DISTINCT file FROM needed ORDER BY file").fetchall()]
    con.execute("CREATE TABLE opened(new UBIGINT, file UBIGINT)")
    if used:
        con.executemany("INSERT INTO opened VALUES (?, ?)", list(enumerate(used)))
    con.execute("CREATE TABLE wanted AS SELECT DISTINCT new, file, pos FROM needed JOIN opened USING (file)")
    given = names(n for n, _ in plan.physical())
    rows = winners.stored(plan, [found.files[f] for f in used], f", {parts.HERE}")
    con.execute(f"CREATE TABLE wide AS SELECT {given}, w.file, w.pos FROM ({rows}) r JOIN wanted w ON r.file = w.new AND r.pos = w.pos")


def _put(con: duckdb.DuckDBPyConnection, plan: Plan, earlier: Current, work: Path) -> dict[str, Any]:
    """Write the rows and positions; returns the counts that go into the facts."""
    columns = names(n for n, _ in plan.physical() if n != "_op")
    con.execute(f"""
        CREATE TABLE gone AS SELECT file, pos, record, stale_since FROM was ANTI JOIN same USING (_key);
        COPY (SELECT {columns}, source AS _source, stale_since AS _stale_since FROM (SELECT file, pos, source, stale_since FROM won ANTI JOIN same USING (_key)) JOIN wide USING (file, pos)
              ORDER BY {order(plan)}) TO {text(work / 'rows.parquet')} ({PARQUET});
        COPY (SELECT file, pos, record FROM gone ORDER BY file, pos) TO {text(work / 'superseded.parquet')} ({PARQUET})""")
    new, new_stale = con.execute("SELECT count(*), count(_stale_since) FROM read_parquet($1)", [str(work / "rows.parquet")]).fetchone()
    old, old_stale = con.execute("SELECT count(*), count(stale_since) FROM gone").fetchone()
    return {"rows": earlier.facts["rows"] + new - old, "stale_rows": earlier.facts["stale_rows"] + new_stale - old_stale, "file_rows": new, "superseded": old}


def order(plan: Plan) -> str:
    """The columns by which the rows of `current` lie."""
    pseudonyms = {c: p for c, p, _ in plan.pseudonyms}
    return names(pseudonyms.get(k, k) for k in plan.dataset.key)
