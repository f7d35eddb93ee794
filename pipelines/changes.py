"""What changed between two releases: records inserted, updated (in which columns) and deleted, told by their published key.

One SQL for three uses: the view `<dataset>_changes` (a release against the one shown before it), the table macro `<dataset>_since` (against any attached
release) and the command `changes` (any two kept releases). Nothing is computed at release. Files that both releases list hold the same rows and are
left out; what a view reads of the earlier release stays as long as the release that has the view, and withdrawals cut it like everything else.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from pipelines import parts
from pipelines.settings import Lake, WrongUse
from pipelines.sql import connect, name, names, text
from pipelines.trouble import let_pass

# A row sent again unchanged comes from another batch: that is no change of the record.
NOT_COMPARED = ("_batch",)
_OWN = (("_change", "变更：inserted 新增、updated 修改、deleted 删除 — Change: inserted, updated or deleted"),
        ("_changed_columns", "修改的字段 — Columns that differ, of an update"))
_BEFORE = ("_before", "变更前的整行（新增为空） — The whole row before, NULL when inserted")


def facts(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a manifest says about its changes: dataset → sides and columns.

    Args:
        before: the manifest to compare with; None: there is none, so that everything is inserted.
        after: the manifest of the later release.
    """
    return {d: _sides(d, before, after) for d, relation in after["relations"].items() if relation["kind"] == "dataset"}


def _sides(dataset_id: str, before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    new = after["relations"][dataset_id]
    old = (before or {"relations": {}})["relations"].get(dataset_id, {"files": [], "columns": [], "record_key": None})
    shared = [f["path"] for f, g in zip(old["files"], new["files"]) if f["path"] == g["path"]]      # deltas stand on the same first parts
    positions = {f["path"] for f in old.get("superseded", ())}, {f["path"] for f in new.get("superseded", ())}
    sides = {"from": before["release_id"] if before else None, "to": after["release_id"], "before": old["files"][len(shared):],
             "after": [f["path"] for f in new["files"][len(shared):]], "key": [old["record_key"], new["record_key"]],
             "before_columns": [c[:2] for c in old["columns"]], "columns": [list(c) for c in new["columns"]]}
    if positions[0] | positions[1]:
        sides |= {"shared": shared, "before_superseded": [f for f in old.get("superseded", ()) if f["path"] not in positions[1]],
                  "after_superseded": [f["path"] for f in new.get("superseded", ()) if f["path"] not in positions[0]],
                  "shared_superseded": sorted(positions[0] & positions[1])}
    return sides


def view(dataset_id: str, sides: dict[str, Any], root: Path) -> dict[str, Any]:
    """The view `<dataset>_changes` as `themes.create` takes it.

    Args:
        root: folder that the file paths start from.
    """
    schema, _, table = dataset_id.partition(".")
    gone = [c for c, _ in sides["before_columns"] if c not in {k for k, _, _ in sides["columns"]}]
    fresh = [c for c, _, _ in sides["columns"] if sides["before_columns"] and c not in {k for k, _ in sides["before_columns"]}]
    known = [f"{words} {', '.join(columns)}" for words, columns in (("新增字段 new columns:", fresh), ("取消字段 columns that went:", gone)) if columns]
    since = f"发布 {sides['from']} → {sides['to']}" if sides["from"] is not None else f"发布 {sides['to']} 之前无发布 (no release before)"
    comment = (f"与此前发布相比的变更 — What changed against the release shown before: {since}\n粒度 grain: 一条变更记录一行 — one row per changed record\n"
               f"识别 identified by: {sides['key'][1]}\n比较 compared: 除 _batch 外的各发布字段；已撤回的记录不出现 — every published column but _batch; withdrawn records "
               f"do not appear\n{'；'.join(known) or '字段未变 the same columns'}")
    return {"schema": schema, "name": f"{table}_changes", "comment": comment, "columns": described(sides["columns"]), "sql": select(sides, root)}


def described(columns: Iterable[list[str]]) -> list[tuple[str, str]]:
    """The columns of changes and their words."""
    return [*_OWN, *((c, words) for c, _, words in columns), _BEFORE]


def select(sides: dict[str, Any], root: Path) -> str:
    """The SELECT of one dataset's changes, over the files that only one of the releases lists."""
    after = [(c, kind) for c, kind, _ in sides["columns"]]
    before = [tuple(c) for c in sides["before_columns"]] or after
    own = [[f["path"] for f in sides.get("before_superseded", ())], sides.get("after_superseded", [])]
    rows = [_files(root, sides, files, own[i], own[1 - i], columns) for i, (files, columns) in enumerate((([f["path"] for f in sides["before"]], before), (sides["after"], after)))]
    return _compare(*rows, sides["key"][0] or sides["key"][1], sides["key"][1], dict(before), after)


def macro(dataset_id: str, relation: dict[str, Any]) -> list[str]:
    """Statements that make the table macro `<dataset>_since(attached)`: this release against the same view of an attached database."""
    schema, _, table = dataset_id.partition(".")
    columns = [(c, kind) for c, kind, _ in relation["columns"]]
    quoted, typed = f"{name(schema)}.{name(f'{table}_since')}", ", ".join(f"NULL::{kind} AS {name(c)}" for c, kind in columns)
    # The earlier release may lack columns: the empty branch brings them.
    old = f"FROM (FROM query_table(attached || {text('.' + dataset_id)}) UNION ALL BY NAME SELECT {typed} WHERE false)"
    sql = _compare(f"SELECT {names(c for c, _ in columns)} {old}", f"SELECT {names(c for c, _ in columns)} FROM {name(schema)}.{name(table)}",
                   relation["record_key"], relation["record_key"], dict(columns), columns)
    words = (f"与已附加的另一发布相比的变更（列同 {table}_changes）。What changed since an attached release: ATTACH '…/releases/r000001/lake.duckdb' AS old (READ_ONLY); "
             f"FROM {schema}.{table}_since('old')")
    return [f"CREATE MACRO {quoted}(attached) AS TABLE {sql}", f"COMMENT ON MACRO TABLE {quoted} IS {text(words)}"]


def _files(root: Path, sides: dict[str, Any], paths: list[str], own: list[str], others: list[str], columns: list[tuple[str, str]]) -> str:
    """The rows of one side that the other side may not show: of its own files, and of shared ones those that only the other side supersedes.

    Args:
        own, others: files of positions that only this side, or only the other, has.
    """
    shared, listed = [root / p for p in sides.get("shared", ())], names(c for c, _ in columns)
    found = [parts.select([root / p for p in paths], [root / p for p in (*sides.get("shared_superseded", ()), *own)], listed, len(shared))] if paths else []
    if shared and others:
        found.append(parts.only(shared, [root / p for p in others], [root / p for p in (*sides["shared_superseded"], *own)], listed))
    return " UNION ALL ".join(found) or "SELECT " + ", ".join(f"NULL::{kind} AS {name(c)}" for c, kind in columns) + " WHERE false"


def _compare(before: str, after: str, before_key: str, after_key: str, had: dict[str, str], columns: list[tuple[str, str]]) -> str:
    """Rows of two SELECTs matched by key; those that are the same on both sides are left out."""
    old_key, new_key = f"b.{name(before_key)}", f"a.{name(after_key)}"
    compared = [c for c, _ in columns if c in had and c not in (*NOT_COMPARED, after_key)]
    differ = {c: _differ(c, had[c], kind) for c, kind in columns if c in compared}
    listed = ", ".join(f"CASE WHEN {sql} THEN {text(c)} END" for c, sql in differ.items())
    shown = ", ".join(f"CASE WHEN {new_key} IS NULL THEN {_as(c, had.get(c), kind)} ELSE a.{name(c)} END AS {name(c)}" for c, kind in columns)
    row = ", ".join(f"{name(c)} := {_as(c, had.get(c), kind)}" for c, kind in columns)
    changed = f"string_split(concat_ws(',', {listed}), ',')" if listed else "[]::VARCHAR[]"
    return (f"SELECT CASE WHEN {old_key} IS NULL THEN 'inserted' WHEN {new_key} IS NULL THEN 'deleted' ELSE 'updated' END AS _change, "
            f"CASE WHEN {old_key} IS NOT NULL AND {new_key} IS NOT NULL THEN {changed} END AS _changed_columns, {shown}, "
            f"CASE WHEN {old_key} IS NOT NULL THEN struct_pack({row}) END AS _before "
            f"FROM ({before}) b FULL JOIN ({after}) a ON {old_key} = {new_key} "
            f"WHERE {old_key} IS NULL OR {new_key} IS NULL" + "".join(f" OR {sql}" for sql in differ.values()))


def _differ(column: str, had: str, kind: str) -> str:
    quoted = name(column)
    return f"a.{quoted} IS DISTINCT FROM b.{quoted}" if had == kind else f"a.{quoted}::VARCHAR IS DISTINCT FROM b.{quoted}::VARCHAR"


def _as(column: str, had: str | None, kind: str) -> str:
    """A column of the earlier row in the type of today."""
    if had is None:
        return f"NULL::{kind}"
    return f"b.{name(column)}" if had == kind else f"TRY_CAST(b.{name(column)} AS {kind})"


def between(lake: Lake, manifests: list[dict[str, Any]], dataset_id: str, first: int | None = None, last: int | None = None) -> dict[str, Any]:
    """Counts of what changed in a dataset between two kept releases; nothing is written.

    Args:
        manifests: those of all kept releases.
        first, last: numbers of the releases; without them, the newest kept one and the kept one before it.

    Returns:
        dataset, from, to, key (column that tells a record), inserted, updated, deleted, unchanged, columns: {column: records in which it differs}.

    Raises:
        WrongUse: a release is not kept, or does not have the dataset.
    """
    kept = {m["release_id"]: m for m in manifests}
    last = max(kept, default=None) if last is None else last
    first = max((n for n in kept if last is not None and n < last), default=None) if first is None else first
    for number in (first, last):
        if number not in kept:
            what = "There is no release to compare with" if number is None else f"Release {number} is not kept"
            raise WrongUse(f"{what}. Kept releases: {', '.join(map(str, kept)) or 'none'}.")
    if dataset_id not in kept[last]["relations"] or kept[last]["relations"][dataset_id]["kind"] != "dataset":
        shown = sorted(d for d, r in kept[last]["relations"].items() if r["kind"] == "dataset")
        raise WrongUse(f"Release {last} has no dataset {dataset_id!r}. It has: {', '.join(shown)}.")
    sides = _sides(dataset_id, kept[first], kept[last])
    columns = [c for c, _, _ in sides["columns"]]
    with connect(temp=lake.staging) as con:
        try:
            con.execute(f"CREATE TEMP TABLE found AS SELECT _change, _changed_columns, count(*) AS rows FROM ({select(sides, lake.releases)}) GROUP BY ALL")
            counts = dict(con.execute("SELECT _change, sum(rows)::BIGINT FROM found GROUP BY ALL").fetchall())
            differ = dict(con.execute("SELECT c, sum(rows)::BIGINT FROM (SELECT unnest(_changed_columns) AS c, rows FROM found) GROUP BY ALL").fetchall())
        except duckdb.IOException as error:
            let_pass(error)
            raise WrongUse(f"A file of release {first} or {last} cannot be read. Run: python -m pipelines verify") from None
    rows = kept[last]["relations"][dataset_id]["rows"]
    found = {kind: counts.get(kind, 0) for kind in ("inserted", "updated", "deleted")}
    return {"dataset": dataset_id, "from": first, "to": last, "key": sides["key"][1], **found, "unchanged": rows - found["inserted"] - found["updated"],
            "columns": {c: differ[c] for c in columns if c in differ}}


def listed(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every Parquet file that a release stands on: of its views, and of the release before it for what changed."""
    for relation in manifest["relations"].values():
        yield from relation["files"]
        yield from relation.get("superseded", ())
    for sides in manifest.get("changes", {}).values():
        yield from sides["before"]
        yield from sides.get("before_superseded", ())


def of_records(manifest: dict[str, Any], dataset_id: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The files of a release that hold records of a dataset, each with the column that tells a record."""
    for relation in (manifest["relations"].get(one) for one in (dataset_id, f"{dataset_id}_versions")):
        if relation and relation.get("record_key"):
            yield from ((file, relation["record_key"]) for file in relation["files"])
    sides = manifest.get("changes", {}).get(dataset_id)
    if sides and sides["key"][0]:
        yield from ((file, sides["key"][0]) for file in sides["before"])
