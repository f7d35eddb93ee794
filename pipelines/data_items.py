"""数据项: what `governance.columns` and `governance.usage_notes` say beyond the contracts: who answers, how full, how good, how new, and what to know.

Everything is read off what a release has anyway: footers of the current files (no row is scanned), results in the ledger, headers of the theme views.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from pipelines import masks
from pipelines.compiler import Plan
from pipelines.contract import CLASSIFICATIONS
from pipelines.current import Current
from pipelines.languages import two_languages
from pipelines.lifecycle import ACTIVE, STATES
from pipelines.sql import text, texts

Row = dict[str, Any]
Item = tuple[str, str]      # dataset or view, column
_INNERMOST = re.compile(r"\((\s*select\b)?[^()]*\)", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z_]\w*")

# The newest accepted batch of every stream, and the newest run of every check across datasets: added up before they are divided.
_SCORES = """
    WITH newest AS (
        SELECT batch_id, revision, dataset FROM read_parquet({batches}) WHERE state = 'accepted'
        QUALIFY row_number() OVER (PARTITION BY dataset, source, part ORDER BY batch_date DESC, sequence DESC, revision DESC) = 1
    ),
    measured AS (
        SELECT n.dataset, r.rule, r.applicable, r.failed FROM read_parquet({rule_results}) r JOIN newest n USING (batch_id, revision)
        UNION ALL
        SELECT dataset, rule, applicable, failed FROM read_parquet({checks}) WHERE kind = 'across'
        QUALIFY row_number() OVER (PARTITION BY dataset, rule, source ORDER BY as_of DESC) = 1
    )
    SELECT c.dataset, c.column, 1 - sum(m.failed) / sum(m.applicable) FROM measured m JOIN rule_columns c ON c.dataset = m.dataset AND c.rule = m.rule
    WHERE m.applicable > 0 GROUP BY ALL"""
_PROBLEMS = """
    SELECT p.dataset, c.column, p.id, p.zh, p.en, p.department, p.state, p.failed, p.applicable, left(p.opened_at, 10) AS since
    FROM read_parquet({problems}) p LEFT JOIN rule_columns c ON c.dataset = p.dataset AND c.rule = p.rule
    WHERE p.state IN (SELECT unnest({active})) ORDER BY p.dataset, p.id, c.column"""
_WAIVERS = """
    SELECT w.dataset, c.column, r.zh, r.en, w.rule, w.source, w.document, w.expires_on, w.keys, left(w.granted_at, 10) AS since
    FROM read_parquet({waivers}) w LEFT JOIN read_parquet({rules}) r ON r.dataset = w.dataset AND r.rule = w.rule
    LEFT JOIN rule_columns c ON c.dataset = w.dataset AND c.rule = w.rule
    WHERE w.ended_at IS NULL ORDER BY w.dataset, w.rule, w.source, c.column"""


def rule_columns(plan: Plan) -> Iterator[Row]:
    """Which columns of the dataset each of its rules judges: {dataset, rule, column}."""
    own = {c.name for c in plan.dataset.columns}
    declared = {r.rule: f"{r.holds} {r.when or ''}" for r in (*plan.business, *plan.across)}
    for rule in (*plan.rules, *plan.across):
        single = getattr(rule, "column", None)
        for column in [single] if single else sorted(_read(declared.get(rule.rule, "")) & own):
            yield {"dataset": plan.dataset.id, "rule": rule.rule, "column": column}


def _read(sql: str) -> set[str]:
    """Names of the dataset's own row in a condition: those outside sub-selects, and those written `own.…`."""
    sql = re.sub(r"'[^']*'", "", sql)
    named = set(re.findall(r"\bown\.(\w+)", sql))
    while sql != (outside := _INNERMOST.sub(lambda m: "" if m[1] else f" {m[0][1:-1]} ", sql)):
        sql = outside
    return named | set(_WORDS.findall(sql))


def fill_rates(con: duckdb.DuckDBPyConnection, states: dict[str, Current]) -> dict[Item, float]:
    """(dataset, column) → share of rows that have a value, from the footers of the current files, rows that later ones supersede among them."""
    from pipelines.governance import arrow

    files = {str(f): dataset for dataset, state in states.items() for f in state.files}
    if not files:
        return {}
    con.register("current_file", arrow([{"file": f, "dataset": d} for f, d in files.items()], "file, dataset"))
    try:
        rows = con.execute("SELECT dataset, path_in_schema, sum(stats_null_count), sum(num_values) FROM parquet_metadata($1) JOIN current_file ON file = file_name "
                           "WHERE NOT contains(path_in_schema, ',') GROUP BY ALL HAVING count(stats_null_count) = count(*)", [list(files)]).fetchall()
    finally:
        con.unregister("current_file")
    return {(dataset, column): 1 - float(nulls / values) for dataset, column, nulls, values in rows if values}


def complete(con: duckdb.DuckDBPyConnection, plans: dict[str, Plan], states: dict[str, Current], declared: list[Row], views: list[Row],
             relations: dict[str, Row], files: dict[str, Path], lineage: Iterable[Row] = ()) -> tuple[list[Row], list[Row]]:
    """The rows of `governance.columns` and of `governance.usage_notes`.

    Args:
        con: may read `files` and the current files.
        declared: what the contracts say of their columns.
        views: the theme views of the manifest.
        relations: dataset → its entry in the manifest.
        files: governance tables that are written already: batches, rule_results, checks, problems, waivers, rules.
        lineage: rows of `governance.lineage`; without them columns of views have no classification, standard and score.
    """
    from pipelines.governance import arrow

    con.register("rule_columns", arrow((row for plan in plans.values() for row in rule_columns(plan)), "dataset, rule, column"))
    try:
        places = {table: text(file) for table, file in files.items()} | {"active": texts(ACTIVE)}
        scores = {(d, c): s for d, c, s in con.execute(_SCORES.format(**places)).fetchall()}
        notes = [*_problem_notes(_rows(con, _PROBLEMS.format(**places))), *_waiver_notes(_rows(con, _WAIVERS.format(**places)))]
    finally:
        con.unregister("rule_columns")
    fills = fill_rates(con, states)
    own = [row | {"owner": _departments(plans, [row["dataset"]]), "fill_rate": fills.get((row["dataset"], row["column"])),
                  "score": scores.get((row["dataset"], row["column"])), "last_update": relations[row["dataset"]]["as_of"]} for row in declared]
    return own + list(_view_columns(plans, own, views, relations, lineage)), notes + list(_caveats(plans, views, relations))


def _rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    found = con.execute(sql)
    names = [c[0] for c in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _departments(plans: dict[str, Plan], datasets: Iterable[str]) -> str | None:
    return "、".join(dict.fromkeys(s.department for d in datasets if d in plans for s in plans[d].dataset.sources)) or None


def _view_columns(plans: dict[str, Plan], own: list[Row], views: list[Row], relations: dict[str, Row], lineage: Iterable[Row]) -> Iterator[Row]:
    """Columns of theme views; what lineage tells of their sources is the strictest, the lowest, and what all sources share."""
    known = {(row["dataset"], row["column"]): row for row in own}
    published = {(d, c.name): known.get((d, c.source_column)) for d, plan in plans.items() for c in masks.published(plan)}
    sources: dict[Item, list[Row]] = defaultdict(list)
    for edge in lineage:
        found = published.get((edge["source_view"], edge["source_column"]))
        if found and edge["clause"] == "select":
            sources[edge["view"], edge["column"]].append(found)
    for view in views:
        id_ = f"{view['schema']}.{view['name']}"
        days = [relations[d]["as_of"] for d in view["needs"] if d in plans and relations[d]["as_of"]]
        for column, words in view["columns"]:
            zh, _, en = words.partition(" — ")
            read = sources[id_, column]
            yield {"dataset": id_, "column": column, "zh": zh, "en": en, "owner": _departments(plans, view["needs"]), "last_update": max(days, default=None),
                   "classification": max((r["classification"] for r in read), key=CLASSIFICATIONS.index, default=None),
                   "score": min((r["score"] for r in read if r["score"] is not None), default=None),
                   **{key: _shared(r[key] for r in read) for key in ("semantic_type", "code_list", "standard")}}


def _shared(values: Iterable[Any]) -> Any:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _problem_notes(rows: list[Row]) -> Iterator[Row]:
    for r in rows:
        counted = r["applicable"] is not None and r["failed"] is not None
        zh = f"：{r['applicable']:,} 条中 {r['failed']:,} 条不成立" if counted else ""
        en = f": fails on {r['failed']:,} of {r['applicable']:,} records" if counted else ""
        yield {"dataset": r["dataset"], "column": r["column"], "kind": "problem", "since": r["since"],
               "zh": f"{r['zh']}{zh}（问题单 {r['id']}，{r['department']}，{STATES[r['state']]}）",
               "en": f"{r['en']}{en} (problem {r['id']}, {r['department']}, {r['state'].replace('_', ' ')})"}


def _waiver_notes(rows: list[Row]) -> Iterator[Row]:
    for r in rows:
        zh, en = (f"{r['keys']:,} 条记录", f"{r['keys']:,} records") if r["keys"] else ("全部记录", "all records")
        yield {"dataset": r["dataset"], "column": r["column"], "kind": "waiver", "since": r["since"],
               "zh": f"豁免“{r['zh'] or r['rule']}”：{r['source']} 的{zh}，至 {r['expires_on']}，依据 {r['document']}",
               "en": f"Waived: {r['en'] or r['rule']}; {en} of {r['source']} until {r['expires_on']}, document {r['document']}"}


def _caveats(plans: dict[str, Plan], views: list[Row], relations: dict[str, Row]) -> Iterator[Row]:
    """Limits that contracts and views declare, and what a release does with rows that are in doubt."""
    for dataset, plan in plans.items():
        relation = relations[dataset]
        given = [two_languages(plan.dataset.limitations)] if plan.dataset.limitations else []
        for key, zh, en in (("withheld_rows", "{:,} 行依法不予发布", "{:,} rows are barred from publication"),
                            ("stale_rows", "{:,} 行的更正仍在隔离区，显示此前的值（见 _stale_since）", "{:,} rows show what stood before: their corrections are in quarantine (_stale_since)"),
                            ("disagreements", "数源部门之间有 {:,} 处取值不一致，取权威顺序在前者", "sources disagree on {:,} values; the one higher in authority is shown")):
            given += [(zh.format(relation[key]), en.format(relation[key]))] if relation[key] else []
        yield from ({"dataset": dataset, "kind": "caveat", "zh": zh, "en": en} for zh, en in given)
    for view in views:
        left = re.search(r"^未含 left out: (.*)$", view["comment"], re.MULTILINE)
        if left:
            zh, _, en = left[1].partition(" — ")
            yield {"dataset": f"{view['schema']}.{view['name']}", "kind": "caveat", "zh": f"未含：{zh}", "en": f"Left out: {en or zh}"}
