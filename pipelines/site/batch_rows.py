"""The rows of the two long tables on the page of a batch. Functions, not template: a page has some fifty rows of rules and a dozen of regions, and a
thousand batches have a thousand pages; Jinja takes four times as long for the same text."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup, escape

from pipelines.site import marks
from pipelines.site.rendering import change, number, rate


def of_results(results: Iterable[Any], previous: Mapping[str, float | None]) -> Markup:
    """A row per rule.

    Args:
        previous: rule → pass rate of the batch before; empty where the table has no column for the change.
    """
    return Markup("".join(_of_result(r, f'    <td class="n">{change(r.pass_rate, previous.get(r.rule))}</td>' if previous else "") for r in results))


def _of_result(r: Any, moved: str) -> str:
    kind = "warnfail" if r.outcome == "fail" and r.severity == "warn" else r.outcome
    return (f'  <tr class="{kind}">\n    {marks.rule_cells(r.zh, r.en, r.rule, r.owner, r.indicator, r.severity)}\n'
            f'    <td class="n">{number(r.applicable)}</td><td class="n">{number(r.failed)}</td><td class="n">{number(r.repaired)}</td>\n'
            f'    <td class="n">{rate(r.pass_rate)}</td><td class="n">{rate(r.at_least)}</td>\n{moved}    {marks.outcome_cell(r.outcome, r.severity)}\n  </tr>\n')


def of_regions(regions: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Markup:
    """A row per region, as `reports.worst_regions` gives them.

    Args:
        names: rule → its Chinese name.
    """
    return Markup("".join(_of_region(region, names) for region in regions))


def _of_region(region: Mapping[str, Any], names: Mapping[str, str]) -> str:
    shown = escape(region["name"] or region["code"] or "地区不明 unknown")
    below = f'<span class="sub id">{escape(region["code"])}</span>' if region["name"] else ""
    applicable, failed = region["applicable"], region["failed"]
    worst = "、".join(f'<bdi>{escape(names.get(w["rule"], w["rule"]))}</bdi> {w["failed"]:,}' for w in region["worst"])
    return (f'  <tr><th scope="row"><span class="what"><bdi>{shown}</bdi></span>{below}</th>\n'
            f'    <td class="n">{applicable:,}</td><td class="n">{failed:,}</td><td class="n">{rate((applicable - failed) / applicable if applicable else None)}</td>\n'
            f'    <td>{worst}</td></tr>\n')
