"""Current states made by hand, for tests of what comes after `current`."""
from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from pipelines import keys
from pipelines.compiler import Plan, digest
from pipelines.current import Current
from pipelines.settings import Lake
from pipelines.sql import connect, name, names, text


def state(lake: Lake, plan: Plan, rows: list[dict[str, Any]], version: str = "v1", as_of: str = "2026-11-01") -> Current:
    """The state of `plan`'s dataset that holds `rows` (column → value; other columns are NULL), as `current.derive` leaves it."""
    folder = lake.current / plan.dataset.id / version
    folder.mkdir(parents=True, exist_ok=True)
    physical = [(n, t) for n, t in plan.physical() if n != "_op"]
    batch = f"{plan.dataset.id}~{plan.dataset.sources[0].source}~all~{as_of}~1"
    con = connect()
    keys.install(con, keys.pseudonym_key(lake))
    declared = [(c.name, plan.type(c.name).physical) for c in plan.dataset.columns]
    con.execute(f"CREATE TABLE given ({', '.join(f'{name(n)} {t}' for n, t in declared)})")
    if rows:      # through Arrow: DuckDB takes a millisecond for each row that is bound
        columns = list(dict.fromkeys(c for row in rows for c in row))
        listed = pa.Table.from_pylist([{c: None if row.get(c) is None else str(row[c]) for c in columns} for row in rows], schema=pa.schema([(c, pa.string()) for c in columns]))
        con.register("listed", listed)
        con.execute("INSERT INTO given BY NAME FROM listed")
    made = {p: digest(kind, [name(c)]) for c, p, kind in plan.pseudonyms}
    made |= {"_key": digest(f"key:{plan.dataset.id}", [name(k) for k in plan.dataset.key]), "_batch": text(batch), "_file": "1",
             "_ordinal": "rowid + 1"}
    if len(plan.dataset.key) == 1 and plan.dataset.key[0] in {c for c, _, _ in plan.pseudonyms}:
        made["_key"] = next(made[p] for c, p, _ in plan.pseudonyms if c == plan.dataset.key[0])
    pseudonyms = {c: p for c, p, _ in plan.pseudonyms}
    listed = ", ".join(f"({made.get(n, name(n))})::{t} AS {name(n)}" for n, t in physical)
    con.execute(f"COPY (SELECT {listed}, {text(plan.dataset.sources[0].source)} AS _source, NULL::DATE AS _stale_since FROM given "
                f"ORDER BY {names(pseudonyms.get(k, k) for k in plan.dataset.key)}) TO {text(folder / 'rows.parquet')} (FORMAT parquet)")
    con.close()
    facts = {"rows": len(rows), "stale_rows": 0, "disagreements": {}, "dataset": plan.dataset.id, "version": version,
             "batches": [batch], "as_of": as_of}
    (folder / "current.json").write_text(json.dumps(facts))
    return Current(folder, facts)
