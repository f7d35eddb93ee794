"""分级: what published relations are made of, back to contract columns, and the classification that follows (GB/T 43697-2024, 就高从严).

A view is as sensitive as the most sensitive column that it reads in any clause. `governance.lineage` says so column by column.
What analysts' files may not hold stops `check` and the release: a view over a sensitive column, and a form that cannot be followed.
"""
from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pipelines import governance, lineage, masks, themes
from pipelines.compiler import Plan, of_plan
from pipelines.contract import CLASSIFICATIONS
from pipelines.semantics import reference
from pipelines.settings import Project, WrongUse

FORMAT = 1
ANALYST_MOST = "personal"
_SHARED = {"reference": "public", "governance": "internal"}
_WORDS = {lineage.SELECT: "shows", lineage.FILTER: "filters on", lineage.JOIN: "joins on", lineage.GROUP: "groups by", lineage.ORDER: "orders by",
          lineage.WINDOW: "has a window over"}
Root = tuple[str, str, str, str]      # source view, source column, clause, classification
Reads = dict[str, dict[str | None, set[Root]]]      # view → column (None: every row) → what it is made of


def strictest(levels: Iterable[str]) -> str:
    """The most sensitive of these classifications; what reads no column is internal all the same."""
    return max(levels, key=CLASSIFICATIONS.index, default="internal")


def relations(project: Project, plans: Iterable[Plan]) -> dict[str, tuple[str, ...]]:
    """What views can read: relation → columns, without the views themselves."""
    found = {plan.dataset.id: tuple(c.name for c in masks.published(plan)) for plan in plans}
    found |= {f"governance.{table}": tuple(c for c, _ in declared.columns) for table, declared in governance.TABLES.items()}
    return found | {f"reference.{one.list}": tuple(c for c, _ in one.columns) for one in reference.lists(project)}


def judged(project: Project, plans: Sequence[Plan], views: Iterable[themes.Theme], before: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """The views' facts with what each reads and its classification, as they stand in a manifest.

    Args:
        before: the views of an earlier manifest; what has not changed since is not parsed again.

    Raises:
        WrongUse: a dataset or a view may not be published so, or cannot be followed; every error is listed.
    """
    made, errors = [], [e for plan in plans for e in _dataset_errors(plan)]
    known, macros = relations(project, plans), reference.macros(project)
    earlier = {v["lineage_key"]: v["reads"] for v in before if "lineage_key" in v}
    for view in views:
        key = _key(view.sql, known, macros)
        try:
            reads = earlier.get(key) or [list(e) for e in lineage.edges(view.sql, _read_by(view.sql, known), macros)]
        except lineage.Unresolved as unresolved:
            what = "does not bind" if isinstance(unresolved, lineage.Unbound) else "cannot be followed"
            errors.append(f"theme view {view.id} {_hidden(view.sql, known, plans) or f'{what}: {unresolved}'}.")
            continue
        made.append(view.facts() | {"lineage_key": key, "reads": reads})
        known[view.id] = tuple(c for c, _ in view.columns)
    found = composed(plans, made)
    for view in made:
        id_ = f"{view['schema']}.{view['name']}"
        view["classification"] = strictest(root[3] for roots in found[id_].values() for root in roots)
        errors += _view_errors(id_, found[id_])
    if errors:
        raise WrongUse("\n".join(errors))
    return made


def check(project: Project, plans: Sequence[Plan]) -> list[str]:
    """Every error of `judged` over the views whose datasets are declared."""
    known = {plan.dataset.id for plan in plans}
    try:
        judged(project, plans, [t for t in themes.themes(project) if set(t.needs) <= known])
    except WrongUse as wrong:
        return str(wrong).splitlines()
    return []


def composed(plans: Iterable[Plan], views: Iterable[Mapping[str, Any]]) -> Reads:
    """View → column → the contract columns (or columns of governance and code lists) that it is made of.

    Args:
        views: as `judged` returns them, each after the views it reads.
    """
    found: Reads = {plan.dataset.id: _of_dataset(plan) for plan in plans}
    for view in views:
        id_ = f"{view['schema']}.{view['name']}"
        mine: dict[str | None, set[Root]] = {column: set() for column, _ in view["columns"]}
        for column, source, source_column, clause in view["reads"]:
            made = found.get(source)
            roots = made.get(source_column, set()) if made else {(source, source_column, lineage.SELECT, _SHARED.get(source.partition(".")[0], "internal"))}
            mine.setdefault(column, set()).update((v, c, clause if clause != lineage.SELECT else k, level) for v, c, k, level in roots)
            mine.setdefault(None, set()).update((made or {}).get(None, ()))
        found[id_] = mine
    return found


def rows(plans: Iterable[Plan], views: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `governance.lineage`."""
    names = ("source_view", "source_column", "clause", "classification")
    return [{"view": view, "column": column} | dict(zip(names, root)) for view, columns in sorted(composed(plans, views).items())
            for column, roots in sorted(columns.items(), key=lambda pair: pair[0] or "") for root in sorted(roots)]


def view_rows(plans: Iterable[Plan], views: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `governance.views`: every published view with its classification and the columns that raise it to that."""
    listed, found = list(views), []
    for view, columns in sorted(composed(plans, listed).items()):
        roots = {root for made in columns.values() for root in made}
        level = strictest(root[3] for root in roots)
        raised = sorted({f"{v}.{c}" for v, c, _, one in roots if one == level})
        found.append({"view": view, "classification": level, "raised_by": ", ".join(raised) or None})
    return found


def changes(before: Mapping[str, Any] | None, content: Mapping[str, Any]) -> list[str]:
    """Which views of an earlier manifest read what a contract has since taken away or changed, one sentence each."""
    if not before:
        return []
    said = []
    for view in before["views"]:
        for source, column in sorted({(e[1], e[2]) for e in view.get("reads", ())}):
            old, new = before["relations"].get(source), content["relations"].get(source)
            if not old or not new or old["kind"] != "dataset":
                continue
            was, now = ({c[0]: c[1] for c in one["columns"]} for one in (old, new))
            what = "was removed" if column not in now else f"became {now[column]} (it was {was.get(column)})" if now[column] != was.get(column) else None
            if what:
                since = f"in contract version {new['contract_version']}; release {before['release_id']} has it from version {old['contract_version']}"
                said.append(f"View {view['schema']}.{view['name']} reads column {column} of dataset {source}, which {what} {since}. "
                            "Change the view, or publish the column again.")
    return said


def _read_by(sql: str, known: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """Those relations that a SELECT reads: making a schema of all takes longer than following it. All where it reads none of them: nothing resolves over no schema."""
    return {view: known[view] for view in sorted(themes.reads(sql)) if view in known} or known


def _key(sql: str, known: Mapping[str, tuple[str, ...]], macros: Sequence[str]) -> str:
    """What a view's edges follow from: its text, the columns of what it reads, the macros and this program's way of reading."""
    read = {view: known.get(view) for view in sorted(themes.reads(sql))}
    return hashlib.sha256(json.dumps([FORMAT, sql, read, sorted(lineage.reading_macros(tuple(macros)).items())], ensure_ascii=False).encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _columns_of(sql: str) -> frozenset[str]:
    """The columns that an expression over one relation names."""
    import sqlglot
    from sqlglot import exp

    return frozenset(c.name for c in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Column))


@of_plan
def _of_dataset(plan: Plan) -> dict[str | None, set[Root]]:
    d = plan.dataset
    level = {c.name: c.strictest for c in d.columns}
    made_of = {p: (c,) for c, p, _ in plan.pseudonyms} | {"_key": d.key}
    found: dict[str | None, set[Root]] = {}
    for one in masks.published(plan):
        named = {c for n in _columns_of(one.sql) for c in made_of.get(n, (n,)) if c in level}
        found[one.name] = {(d.id, c, lineage.SELECT, level[c]) for c in named}
    if d.publish_when:
        found[None] = {(d.id, c, lineage.FILTER, level[c]) for c in _columns_of(d.publish_when) if c in level}
    return found


def _dataset_errors(plan: Plan) -> list[str]:
    d = plan.dataset
    hidden = [c for _, c, _, level in _of_dataset(plan).get(None, ()) if CLASSIFICATIONS.index(level) > CLASSIFICATIONS.index(ANALYST_MOST)]
    return [f"{d.id}: publish_when filters on {c}, which is sensitive: which rows are published would tell it. Use another column." for c in sorted(hidden)]


def _view_errors(view: str, columns: Mapping[str | None, set[Root]]) -> list[str]:
    above = {root for made in columns.values() for root in made if CLASSIFICATIONS.index(root[3]) > CLASSIFICATIONS.index(ANALYST_MOST)}
    return [f"theme view {view} {_WORDS[clause]} {source}.{column}, which is {level}; the analysts' file holds {ANALYST_MOST} columns at most."
            for source, column, clause, level in sorted(above)]


def _hidden(sql: str, known: Mapping[str, tuple[str, ...]], plans: Iterable[Plan]) -> str | None:
    """What a view reads that its dataset holds and does not publish; None when that is not what is wrong with it."""
    unpublished = {plan.dataset.id: {c.name: c.strictest for c in plan.dataset.columns if c.name not in known[plan.dataset.id]} for plan in plans}
    try:
        found = lineage.edges(sql, {**known, **{d: (*known[d], *columns) for d, columns in unpublished.items()}})
    except lineage.Unresolved:
        return None
    read = sorted({(_WORDS[e.clause], f"{e.source_view}.{e.source_column}", unpublished[e.source_view][e.source_column]) for e in found
                   if e.source_column in unpublished.get(e.source_view, ()) and re.search(rf"\b{e.source_column}\b", sql, re.IGNORECASE)})
    return ", ".join(f"{words} {column}, which is {level} and in no analyst's file" for words, column, level in read) or None
