"""The files of a grant: what its role was given, under its own key, in a folder that only its readers can open.

releases/grants/<id>/data/<dataset>/<version>/rows.parquet, grant.duckdb (views of the same names, comments and macros as lake.duckdb)
and, written last, manifest.json. Folder 0750, files 0640, group of the grant. Everything is made beside and renamed: a kill leaves the
old or the new one. Rows are sorted by the grant's own values, because the order of the default file would tell which row is which.
"""
from __future__ import annotations

import grp
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from pipelines import database, durable, keys, masks, objects, published
from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.grants import allowed, conditions
from pipelines.ledger import Ledger
from pipelines.masks import PublishedColumn
from pipelines.semantics import reference
from pipelines.settings import Lake, WrongUse
from pipelines.sql import name, names, text, texts

FORMAT = 1
FOLDER, FILE = 0o2750, 0o640      # files of a folder belong to its group
DIGEST = "grant_digest"


def place(lake: Lake, number: int) -> Path:
    """The folder of one grant."""
    return lake.releases / "grants" / str(number)


def write(engine: published.Engine, ledger: Ledger, grant: Mapping[str, Any], plans: Mapping[str, Plan], states: Mapping[str, Current], manifest: Mapping[str, Any]) -> bool:
    """Bring the files of one grant to the given states; returns whether anything changed.

    Args:
        grant: its ledger row.
        manifest: of the newest release, whose code lists the grant shows.

    Raises:
        WrongUse: the role may not be given these columns any more.
    """
    lake, folder = engine.lake, place(engine.lake, grant["id"])
    _make_folder(lake, folder, grant["reader_group"])
    keys.install(engine.con, keys.grant_key(lake, grant["id"]), DIGEST)
    content = _content(engine, grant, plans, states, manifest)
    before = _manifest(folder)
    if before and before["fingerprint"] == content["fingerprint"] and (folder / "grant.duckdb").exists():
        _tidy(engine.lake, ledger, folder, [before])
        return False
    database.build(content, lake, folder / "grant.duckdb", mode=FILE)
    durable.write(folder / "manifest.json", json.dumps(content, ensure_ascii=False, indent=1), FILE)
    _hand_over(folder, grant["reader_group"])
    # A reader who has the old database open goes on, unless it shows what was withdrawn since.
    kept = [content, before] if before and before["withdrawn"] == content["withdrawn"] else [content]
    _tidy(lake, ledger, folder, kept)
    objects.replace(lake, ledger, objects.lasting(folder))
    return True


def remove(lake: Lake, ledger: Ledger, number: int) -> None:
    """Take a grant's files away; nothing is left of them, also where an earlier try died."""
    folder = place(lake, number)
    gone = folder.with_name(f".{number}.part")
    if gone.exists():
        shutil.rmtree(gone)
    if folder.exists():
        os.replace(folder, gone)      # out of reach at once, then removed
        shutil.rmtree(gone)
    objects.forget(lake, ledger, [folder])


def numbers(lake: Lake) -> set[int]:
    """Grants that have files, those of which a removal died included."""
    return {int(p.name.strip(".").removesuffix(".part")) for p in (lake.releases / "grants").glob("*") if p.name.strip(".").removesuffix(".part").isdigit()}


def select(plan: Plan, columns: Sequence[PublishedColumn], condition: str | None, state: Current | None, withdrawn: Sequence[str]) -> str:
    """The granted rows: published columns stand beside the hidden ones as `p:<name>`, and only those can be asked for in a condition."""
    physical = [(n, t) for n, t in plan.physical() if n != "_op"] + [("_source", "VARCHAR"), ("_stale_since", "DATE")]
    rows = state.relation if state else f"(SELECT {', '.join(f'NULL::{t} AS {name(n)}' for n, t in physical)} WHERE false)"
    shown = masks.published(plan)
    inner = ", ".join(f"({c.sql})::{c.type} AS {name(f'p:{c.name}')}" for c in shown)
    kept = [f"coalesce(({plan.dataset.publish_when}), false)"] if plan.dataset.publish_when else []
    kept += [f"_key NOT IN (SELECT unnest({texts(withdrawn)}))"] if withdrawn else []
    where = f" WHERE {' AND '.join(kept)}" if kept else ""
    asked = ""
    if condition:
        tree = conditions.parse(condition, [c.name for c in shown], plan.dataset.id)
        asked = f" WHERE coalesce(({conditions.sql(tree, 'p:')}), false)"
    listed = ", ".join(f"({_granted(c)})::{c.type} AS {name(c.name)}" for c in columns)
    return f"SELECT {listed} FROM (SELECT *, {inner} FROM {rows}{where}){asked} ORDER BY {names(c.name for c in sorted(columns, key=lambda c: not allowed.is_pseudonym(c)))}"


def _granted(column: PublishedColumn) -> str:
    if column.mask == "grant":
        return column.sql
    return f"{DIGEST}({name(f'p:{column.name}')})" if allowed.is_pseudonym(column) else name(f"p:{column.name}")


def _content(engine: published.Engine, grant: Mapping[str, Any], plans: Mapping[str, Plan], states: Mapping[str, Current], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the grant, its rows written where they are new."""
    said = f"授权 grant {grant['id']}（{grant['request']}，{grant['role']}，至 until {grant['expires_on']}）: {grant['purpose']}"
    relations = {view: r for view, r in manifest["relations"].items() if r["kind"] == "reference"}
    withdrawn = {d: engine.withdrawn.get(d, []) for d in grant["datasets"].split(", ")}
    for dataset_id, gone in withdrawn.items():
        plan, state = plans[dataset_id], states.get(dataset_id)
        columns = allowed.chosen(plan, grant["role"], grant["columns"].split(", "))
        sql = select(plan, columns, grant["rows"], state, gone)
        file, rows = _materialise(engine, grant, dataset_id, sql)
        relations[dataset_id] = {"kind": "dataset", "rows": rows, "as_of": state.facts["as_of"] if state else None, "files": [file],
                                 "comment": f"{plan.dataset.name} — {plan.dataset.grain}\n{said}\n数据截至 as of: {state.facts['as_of'] if state else '尚无数据 no data yet'}",
                                 "columns": [[c.name, c.type, c.comment] for c in columns]}
    content = {"grant": grant["id"], "relations": relations, "macros": reference.macros(engine.project), "views": [],
               "withdrawn": published.fingerprint(withdrawn), "pseudonym": {"scheme": keys.SCHEME, "key_id": grant["key_id"]}, "format": FORMAT}
    return content | {"fingerprint": published.fingerprint(content)}


def _materialise(engine: published.Engine, grant: Mapping[str, Any], dataset_id: str, sql: str) -> tuple[dict[str, Any], int]:
    """Write the rows of one dataset unless they are there; returns their file's manifest entry and how many there are."""
    lake = engine.lake
    made_by = [FORMAT, sql.replace(str(lake.home), ""), grant["key_id"], (engine.project.macros / "redact.sql").read_text("utf-8"), (engine.project.macros / "masks.sql").read_text("utf-8")]
    final = place(lake, grant["id"]) / "data" / dataset_id / published.fingerprint(made_by)[:16]
    rows = final / "rows.parquet"
    if not rows.exists():
        work = final.with_name(f"{final.name}.part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            engine.con.execute(f"COPY ({sql}) TO {text(work / 'rows.parquet')} (FORMAT parquet, COMPRESSION zstd)")
        except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException):
            raise WrongUse(f"--rows does not fit the rows of {dataset_id}: compare columns with values of their own type.") from None
        _hand_over(place(lake, grant["id"]), grant["reader_group"])
        durable.replace(work, final)
    entry = published.entry(rows)
    return {"path": str(rows.relative_to(lake.releases)), **entry}, entry["rows"]


def _make_folder(lake: Lake, folder: Path, group: str | None) -> None:
    """The folder, closed to everybody until it has its group."""
    folder.parent.mkdir(exist_ok=True)
    folder.parent.chmod(0o711)
    folder.mkdir(mode=0o700, exist_ok=True)
    _hand_over(folder, group)


def known_group(group: str) -> None:
    """Raise WrongUse where this machine has no such group."""
    try:
        grp.getgrnam(group)
    except KeyError:
        raise WrongUse(f"This machine knows no group {group!r}. Make it, or name another one: --group NAME (default: LAKE_GRANT_GROUP).") from None


def _hand_over(folder: Path, group: str | None) -> None:
    """Give a folder and all that is in it to the grant's readers, and to nobody else.

    Raises:
        WrongUse: there is no such group, or this account may not give files to it.
    """
    if group:
        known_group(group)
    for path in (folder, *sorted(folder.rglob("*"))):
        try:
            if group:
                shutil.chown(path, group=group)
            path.chmod(FOLDER if path.is_dir() else FILE)
        except PermissionError:
            raise WrongUse(f"This account may not give files to the group {group!r}: it must be a member of it.") from None


def _manifest(folder: Path) -> dict[str, Any] | None:
    file = folder / "manifest.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def _tidy(lake: Lake, ledger: Ledger, folder: Path, manifests: Sequence[Mapping[str, Any]]) -> None:
    """Remove the data that these manifests do not list, and what a kill left."""
    listed = {(lake.releases / f["path"]).parent for m in manifests for r in m["relations"].values() for f in r["files"]}
    gone = [version for version in folder.glob("data/*/*") if version not in listed]
    for version in gone:
        durable.remove(version, "facts.json")
    database.unfinished(folder / "grant.duckdb")
    if gone:
        objects.forget(lake, ledger, gone)
