"""What the lake already has of a table, derived from landing alone, and what changed since.

The state is one row per key: the key's text and a digest of the rows that carry it, taken from the last batch that names the key,
without those that were deleted. Batches that the ledger holds or refused do not count, so what they carried comes again. It is
kept beside as a cache, named by all that went into it; DuckDB makes and compares it.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipelines import landing, mapping
from pipelines.compiler import DELETE_WORDS
from pipelines.contract import Dataset, Source
from pipelines.desk import Desk
from pipelines.readers import heading
from pipelines.sources import reading
from pipelines.sql import name, text, texts

MANIFEST = "submitted-manifest.json"
KEPT = 2      # caches: the one used and the one before
_DECIDED_AGAINST = ("held", "refused")


@dataclass(frozen=True)
class Batch:
    """An extracted batch in landing, what its manifest says and whether it counts."""

    landed: landing.Manifest
    said: dict[str, Any]
    counts: bool


@dataclass(frozen=True)
class Shape:
    """Contract column → the table's column, of everything that is read; `keys` are the contract's key columns among them."""

    columns: dict[str, str]
    keys: tuple[str, ...]


def batches(desk: Desk, dataset: Dataset, source: Source) -> list[Batch]:
    """The extracted batches of a source, oldest first; of several revisions the highest that was not decided against."""
    found: dict[tuple[str, int], Batch] = {}
    for landed in landing.batches(desk.lake, dataset.id):
        manifest = landed.folder / MANIFEST
        said = json.loads(manifest.read_text(encoding="utf-8")) if landed.source == source.source and manifest.exists() else {}
        if "extraction" not in said:
            continue
        row = desk.ledger.batch(landed.batch_id, landed.revision)
        one, place = Batch(landed, said, row is None or row["state"] not in _DECIDED_AGAINST), (landed.batch_date, landed.sequence)
        if one.counts or place not in found:
            found[place] = one
    return [found[place] for place in sorted(found)]


def low_mark(extracted: Sequence[Batch], column: str) -> Any:
    """The watermark up to which nothing is missing: a batch that does not count leaves a gap, and what follows it is not trusted."""
    mark = None
    for one in extracted:
        said = one.said.get("watermark") or {}
        if not one.counts or said.get("column") != column:
            continue
        low, high = reading.unpacked(said["low"]), reading.unpacked(said["high"])
        if high is not None and (low is None or (mark is not None and low <= mark)):
            mark = high if mark is None else max(mark, high)
    return mark


def shape(dataset: Dataset, source: Source, header: Sequence[str]) -> Shape:
    """Which columns of a table or landed file the contract knows."""
    by_key = {heading.key(cell): cell for cell in reversed(header)}
    found = {column: cell for column, words in mapping.spellings(dataset, source).items()
             if (cell := next((by_key[k] for w in words if (k := heading.key(w)) in by_key), None)) is not None}
    return Shape(found, tuple(k for k in dataset.key if k in found))


def known(con: duckdb.DuckDBPyConnection, folder: Path, dataset: Dataset, source: Source, extracted: Sequence[Batch], of: Shape) -> Path | None:
    """The file of the state after these batches, from the longest cached beginning on; None when there is none.

    Returns:
        Parquet of k0… (text of the key), low, high (UBIGINT).
    """
    counted = _usable(dataset, source, [b for b in extracted if b.counts], of)
    if not counted:
        return None
    caches = [folder / f"state-{_digest(of, counted[:n])}.parquet" for n in range(len(counted) + 1)]
    begin = max((n for n in range(1, len(counted) + 1) if caches[n].exists()), default=0)
    if begin < len(counted):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        parts = [f"SELECT 0 AS n, *, false AS gone FROM read_parquet({text(caches[begin])})"] if begin else []
        parts += [_landed(dataset, source, batch, of, n) for n, batch in enumerate(counted[begin:], 1)]
        beside = folder / "state.part"
        keys = _keys(of)
        con.execute(f"""
            COPY (WITH named AS ({' UNION ALL '.join(parts)}), latest AS (SELECT {keys}, max(n) AS n FROM named GROUP BY ALL)
                  SELECT {keys}, {_sum('low')}, {_sum('high')} FROM named SEMI JOIN latest USING ({keys}, n) WHERE NOT gone GROUP BY {keys})
            TO {text(beside)} (FORMAT parquet, COMPRESSION zstd)""")
        beside.chmod(0o600)
        os.replace(beside, caches[-1])
    for old in sorted(folder.glob("state-*.parquet"), key=lambda p: p.stat().st_mtime_ns)[:-KEPT]:
        old.unlink()
    return caches[-1]


def look(con: duckdb.DuckDBPyConnection, of: Shape, rows: list[Path], whole: bool, keys: list[Path], before: Path | None) -> dict[str, int]:
    """Make the tables `changed` and `gone` (keys): what differs from the state before.

    Args:
        rows: files of rows that were read, c0… in the order of `of.columns`.
        whole: they are the whole table.
        keys: files of all keys of the table, c0… in the order of `of.keys`. With both, a key is gone that is in neither.

    Returns:
        {"changed": keys, "gone": keys, "unseen": keys of the table that neither the rows nor the state hold}.
    """
    names_, order = _keys(of), {c: i for i, c in enumerate(of.columns)}
    taken = ", ".join(f"c{order[k]} AS k{i}" for i, k in enumerate(of.keys))
    state = f"read_parquet({text(before)})" if before else f"(SELECT {', '.join(f'NULL::VARCHAR AS k{i}' for i in range(len(of.keys)))}, NULL::UBIGINT AS low, NULL::UBIGINT AS high LIMIT 0)"
    con.execute(f"CREATE OR REPLACE VIEW found AS SELECT {taken}, * FROM read_parquet({texts(rows)}, filename = true, file_row_number = true)")
    con.execute(f"""CREATE OR REPLACE TABLE present AS SELECT {names_}, {_sum('low')}, {_sum('high')}
                    FROM (SELECT {names_}, {_digest_of([f'c{i}' for i in order.values()])} FROM found) GROUP BY {names_}""")
    con.execute(f"CREATE OR REPLACE TABLE changed AS SELECT {names_} FROM (SELECT {names_}, low, high FROM present EXCEPT SELECT {names_}, low, high FROM {state})")
    listed = f"SELECT DISTINCT {', '.join(f'c{i} AS k{i}' for i in range(len(of.keys)))} FROM read_parquet({texts(keys)})"
    every = f"({' UNION '.join([f'SELECT {names_} FROM present'] * whole + [listed] * bool(keys))})"
    con.execute(f"CREATE OR REPLACE TABLE gone AS SELECT {names_} FROM {state} ANTI JOIN {every} USING ({names_})")
    unseen = 0 if whole else con.execute(
        f"SELECT count(*) FROM {every} ANTI JOIN {state} USING ({names_}) ANTI JOIN present USING ({names_})").fetchone()[0]
    return {"changed": _count(con, "changed"), "gone": _count(con, "gone"), "unseen": unseen}


def write_delta(con: duckdb.DuckDBPyConnection, of: Shape, op: str, path: Path) -> tuple[int, int]:
    """Write what `look` found: changed rows as U, then deletions as D with only their key; returns how many of each."""
    cells = ", ".join(f"c{i} AS {name(column)}" for i, column in enumerate(of.columns.values()))
    place = {k: i for i, k in enumerate(of.keys)}
    gone = ", ".join(f"k{place[c]}" if c in place else "''" for c in of.columns)
    con.execute(f"""
        COPY (SELECT {cells}, 'U' AS {name(op)} FROM (FROM found SEMI JOIN changed USING ({_keys(of)}) ORDER BY filename, file_row_number)
              UNION ALL SELECT {gone}, {text(DELETE_WORDS[0])} FROM (FROM gone ORDER BY ALL))
        TO {text(path)} (FORMAT parquet, COMPRESSION zstd)""")
    changed = con.execute(f"SELECT count(*) FROM found SEMI JOIN changed USING ({_keys(of)})").fetchone()[0]
    return changed, _count(con, "gone")


def write_all(con: duckdb.DuckDBPyConnection, of: Shape, rows: list[Path], path: Path) -> int:
    """Write all rows that were read under the table's own names; returns how many."""
    cells = ", ".join(f"c{i} AS {name(column)}" for i, column in enumerate(of.columns.values()))
    con.execute(f"COPY (SELECT {cells} FROM read_parquet({texts(rows)})) TO {text(path)} (FORMAT parquet, COMPRESSION zstd)")
    return con.execute("SELECT count(*) FROM read_parquet($1)", [str(path)]).fetchone()[0]


def _usable(dataset: Dataset, source: Source, counted: list[Batch], of: Shape) -> list[Batch]:
    """The batches since the key was last another one."""
    for n in range(len(counted), 0, -1):
        if shape(dataset, source, _header(counted[n - 1])).keys != of.keys:
            return counted[n:]
    return counted


def _landed(dataset: Dataset, source: Source, batch: Batch, of: Shape, n: int) -> str:
    """SELECT of one landed batch: its number, keys, digests and whether the key is deleted."""
    header = _header(batch)
    has = shape(dataset, source, header).columns
    cells = [name(has[c]) if c in has else "NULL::VARCHAR" for c in of.columns]
    keys = ", ".join(f"{name(has[k])} AS k{i}" for i, k in enumerate(of.keys))
    op = batch.said.get("op")
    gone = f"{name(op)} = {text(DELETE_WORDS[0])}" if op in header else "false"
    return f"SELECT {n} AS n, {keys}, {_digest_of(cells)}, {gone} AS gone FROM read_parquet({text(_file(batch))})"


def _file(batch: Batch) -> Path:
    return batch.landed.folder / batch.landed.files[0].stored


def _header(batch: Batch) -> list[str]:
    return pq.read_schema(_file(batch)).names


def _keys(of: Shape) -> str:
    return ", ".join(f"k{i}" for i in range(len(of.keys)))


def _digest_of(cells: list[str]) -> str:
    """Two halves of a digest of these cells of a row, in this order."""
    row = f"to_json([{', '.join(cells)}])::VARCHAR"
    return f"md5_number_lower({row}) AS low, md5_number_upper({row}) AS high"


def _sum(half: str) -> str:
    """The digest of all rows of a key, whatever their order."""
    return f"(sum({half}::HUGEINT) % 18446744073709551616)::UBIGINT AS {half}"


def _digest(of: Shape, counted: Sequence[Batch]) -> str:
    content = [list(of.columns), of.keys, [[b.landed.batch_id, b.landed.revision, b.landed.content] for b in counted]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    return con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
