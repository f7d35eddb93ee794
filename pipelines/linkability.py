"""可链接性: how many people share what the analysts' file tells of one person, per dataset about persons (GB/T 37964-2019 group sizes).

A group is one combination of county, year of birth, sex and personal codes, counted in persons. Of many rows only some groups are counted,
chosen by a digest of the combination: the groups that are counted are counted whole, and what is said of all is scaled up. Made at a release
for the datasets whose files are new; counts only, never a combination.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import masks, parts, published
from pipelines.compiler import Plan
from pipelines.sql import name, names

FORMAT = 1
ROWS = 2_000_000      # about so many are grouped: under a second on two cores
SMALL = 5


def measured(engine: published.Engine, plans: Mapping[str, Plan], manifest: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Dataset → its rows of `governance.reidentification`.

    Args:
        manifest: the release being made.
        before: an earlier manifest; datasets of the same version are taken from it.
    """
    found = {}
    for dataset_id, plan in plans.items():
        version = manifest["relations"][dataset_id]["version"]
        known = (before or {}).get("reidentification", {}).get(dataset_id)
        same = known is not None and before["relations"].get(dataset_id, {}).get("version") == version and before.get("reidentification_format") == FORMAT
        combinations = _combinations(plan)
        if combinations:
            found[dataset_id] = known if same else [_measure(engine, plan, manifest["relations"][dataset_id], columns) for columns in combinations]
    return found


def quasi_identifiers(plan: Plan) -> tuple[list[str], list[str]]:
    """(county, year of birth and sex; personal codes) among the published columns of a dataset."""
    basic, codes = [], []
    for column in masks.published(plan):
        about = masks.subject(plan, column.source_column)
        if about in ("region", "birth", "sex"):
            basic.append(column.name)
        elif column.source_column and column.mask == "keep" and column.classification == "personal" and plan.type(column.source_column).name == "code":
            codes.append(column.name)
    return basic, codes


def _combinations(plan: Plan) -> list[list[str]]:
    """What is measured: the basic columns, and with the codes; nothing where no person is in a row."""
    basic, codes = quasi_identifiers(plan)
    if not plan.pseudonyms or not (basic or codes):
        return []
    return [c for c in ([*basic], [*basic, *codes]) if c] if codes and basic else [[*basic, *codes]]


def _measure(engine: published.Engine, plan: Plan, relation: Mapping[str, Any], columns: list[str]) -> dict[str, Any]:
    """Groups of one combination. Distinct persons are counted where one may have several rows."""
    files, superseded = ([engine.lake.releases / f["path"] for f in relation.get(which, ())] for which in ("files", "superseded"))
    shown = {c for c, *_ in relation["columns"]}
    person = next((p for _, p, _ in plan.pseudonyms if p in shown), None)
    one_row = relation["record_key"] == person
    share = max(1, -(-relation["rows"] // ROWS))
    chosen = f" WHERE hash({names(columns)}) % {share} = 0" if share > 1 else ""
    persons = "count(*)" if one_row or person is None else f"count(DISTINCT {name(person)})"
    groups, smallest, small = engine.con.execute(
        f"SELECT count(*), min(persons), coalesce(sum(rows) FILTER (persons < {SMALL}), 0)::BIGINT FROM (SELECT {persons} AS persons, count(*) AS rows "
        f"FROM {parts.relation(files, superseded)}{chosen} GROUP BY {names(columns)}) WHERE persons > 0").fetchone()
    return {"dataset": plan.dataset.id, "columns": ", ".join(columns), "groups": groups * share, "smallest": smallest, "rows_in_small_groups": small * share,
            "rows": relation["rows"], "counted_share": 1 / share}
