"""What a release shows, as files: masked rows of each dataset, code lists, and the unmasked views of the pipeline's account.

releases/data/<dataset>/<version>-<masks>/rows.parquet + facts.json: `version` is that of `current`, `masks` a digest
of the SELECT that made the file, so a file never changes and is written once for all the releases that list it.
Written beside, then renamed; analysts may read them, so nothing that a mask hides is ever in them.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from pipelines import database, keys, masks
from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.rules import declared_hash
from pipelines.semantics import reference
from pipelines.settings import Lake, Project, WrongUse
from pipelines.sql import name, names, text

FORMAT = 1
_OWN_WORDS = {"_key": "主键摘要 — Digest of the key", "_file": "文件序号 — Number of the file in the batch",
              "_ordinal": "记录序号 — Ordinal of the record in its file"} | {n: f"{zh} — {en}" for n, _, zh, en in masks.LINEAGE}


def fingerprint(value: Any) -> str:
    """SHA-256 over the canonical JSON of `value`."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sha256(file: Path) -> str | None:
    """SHA-256 of a file's bytes, None when there is no such file."""
    if not file.exists():
        return None
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def dataset(con: duckdb.DuckDBPyConnection, lake: Lake, project: Project, plan: Plan, state: Current | None, written: list[str]) -> dict[str, Any]:
    d, columns = plan.dataset, masks.published(plan)
    select = _masked_select(con, plan, columns, state)
    made_by = [FORMAT, select.replace(str(lake.current), ""), keys.key_id(lake), (project.macros / "redact.sql").read_text("utf-8")]
    version = f"{state.facts['version'] if state else 'empty'}-{fingerprint(made_by)[:12]}"
    file, rows = _materialise(con, lake, f"{d.id}/{version}", select, written)
    facts = state.facts if state else {"rows": 0, "stale_rows": 0, "disagreements": {}, "as_of": None}
    as_of = facts["as_of"] or "尚无数据 no data yet"
    shown = [(r[0], r[1]) for r in con.execute("SELECT name, type FROM parquet_schema($1) WHERE num_children IS NULL", [str(lake.releases / file["path"])]).fetchall()]
    exposed = masks.exposed(plan, {n for n, _ in shown})
    if exposed or [n for n, _ in shown] != [c.name for c in columns]:
        raise WrongUse(f"{d.id}: the published file holds other columns than its masks allow: {', '.join(exposed) or 'order differs'}.")
    return {"kind": "dataset", "version": version, "rows": rows, "withheld_rows": facts["rows"] - rows, "stale_rows": facts["stale_rows"],
            "disagreements": sum(facts["disagreements"].values()), "as_of": facts["as_of"], "contract_version": d.version,
            "contract_hash": declared_hash(d, project), "files": [file], "comment": f"{d.name} — {d.grain}\n{d.purpose}\n数据截至 as of: {as_of}",
            "columns": [(c.name, c.type, c.comment) for c in columns]}


def _masked_select(con: duckdb.DuckDBPyConnection, plan: Plan, columns: tuple[masks.PublishedColumn, ...], state: Current | None) -> str:
    """The masked rows in the order of `current`; sorted anew where the key is only now made a pseudonym."""
    d = plan.dataset
    physical = [(n, t) for n, t in plan.physical() if n != "_op"] + [("_source", "VARCHAR"), ("_stale_since", "DATE")]
    rows = f"read_parquet({text(state.rows)})" if state else f"(SELECT {', '.join(f'NULL::{t} AS {name(n)}' for n, t in physical)} WHERE false)"
    listed = ", ".join(f"({c.sql})::{c.type} AS {name(c.name)}" for c in columns)
    where = f" WHERE coalesce(({d.publish_when}), false)" if d.publish_when else ""
    made_here = {c.source_column: c.name for c in columns if c.mask == "pseudonym" and "keyed_digest" in c.sql}
    given = {c.source_column: c.name for c in columns}
    order = f" ORDER BY {names(given[k] for k in d.key if k in given)}" if set(made_here) & set(d.key) else ""
    return f"SELECT {listed} FROM {rows}{where}{order}"


def _materialise(con: duckdb.DuckDBPyConnection, lake: Lake, place: str, select: str, written: list[str]) -> tuple[dict[str, Any], int]:
    """Write releases/data/<place>/rows.parquet unless it is there; returns its manifest entry and its rows."""
    final = lake.releases / "data" / place
    if not (final / "facts.json").exists():
        work = final.with_name(f"{final.name}.part")
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        _folders(work, lake.releases)
        con.execute(f"COPY ({select}) TO {text(work / 'rows.parquet')} (FORMAT parquet, COMPRESSION zstd)")
        (work / "facts.json").write_text(json.dumps(entry(con, work / "rows.parquet")))
        for file in work.iterdir():
            file.chmod(0o644)
        os.replace(work, final)
        written.append(place.partition("/")[0])
    facts = json.loads((final / "facts.json").read_text())
    return {"path": f"data/{place}/rows.parquet", **facts}, facts["rows"]


def entry(con: duckdb.DuckDBPyConnection, file: Path) -> dict[str, Any]:
    rows = con.execute("SELECT num_rows FROM parquet_file_metadata($1)", [str(file)]).fetchone()[0]
    return {"sha256": sha256(file), "bytes": file.stat().st_size, "rows": rows}


def _folders(path: Path, root: Path) -> None:
    """Make `path` under `root`, every level readable by analysts whatever the umask."""
    path.mkdir(parents=True)
    for level in [path, *path.parents]:
        if level == root:
            break
        level.chmod(0o755)


def lists(con: duckdb.DuckDBPyConnection, lake: Lake, project: Project) -> dict[str, Any]:
    """Every table of schema `reference` as a published file; one is written again only when its rows change."""
    words = _list_words(project)
    relations = {}
    for (table,) in con.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'reference' ORDER BY ALL").fetchall():
        columns = con.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'reference' AND table_name = $1 "
                              "ORDER BY column_index", [table]).fetchall()
        rows = con.execute(f"SELECT md5(string_agg(r::VARCHAR, chr(30) ORDER BY r::VARCHAR)) FROM reference.{name(table)} r").fetchone()[0]
        version = fingerprint([rows, columns])[:16]
        file, count = _materialise(con, lake, f"reference.{table}/{version}", f"FROM reference.{name(table)}", [])
        comment, described = words[table]
        relations[f"reference.{table}"] = {"kind": "reference", "version": version, "rows": count, "files": [file], "comment": comment,
                                           "columns": [(n, t, described[n]) for n, t in columns]}
    return relations


def _list_words(project: Project) -> dict[str, tuple[str, dict[str, str]]]:
    """Table of schema `reference` → its comment and the comments of its columns."""
    return {one.list: (f"{one.name} — {one.name_en} ({one.standard})", {c: f"{zh} — {en}" for c, (zh, en) in one.columns})
            for one in reference.lists(project)}


def restrict(lake: Lake, plans: dict[str, Plan], states: dict[str, Current], manifest: dict[str, Any]) -> None:
    """Make the pipeline account's database: unmasked views over `current/`, same schemas, beside the rows it shows."""
    relations = {v: r for v, r in manifest["relations"].items() if r["kind"] == "reference"}
    for dataset_id, state in states.items():
        plan = plans[dataset_id]
        words = {c.name: f"{c.zh} — {c.en}" for c in plan.dataset.columns} | _OWN_WORDS
        words |= {p: f"{plan.dataset.column(c).zh}（假名） — {plan.dataset.column(c).en} (pseudonym)" for c, p, _ in plan.pseudonyms}
        columns = [(n, t) for n, t in plan.physical() if n not in ("_op", "_batch")] + [(n, t) for n, t, _, _ in masks.LINEAGE]
        relations[dataset_id] = {"rows": state.facts["rows"], "files": [{"path": str(state.rows)}],
                                 "comment": f"{plan.dataset.name}（未脱敏，仅限流水线账户）— unmasked, for the pipeline's account only",
                                 "columns": [(n, t, words[n]) for n, t in columns]}
    content = {"relations": relations, "macros": manifest["macros"], "views": []}
    database.build(content, lake.releases, lake.restricted, mode=0o600)
