"""The page of one batch: reports/<dataset>/<batch_id>-r<revision>.html, part of the quality officer's site (`pipelines.site`).

It shows counts, codes and rule texts, never a value of a person; every text is escaped, nothing outside the site is referred to.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipelines import scores
from pipelines.gate import RuleResult
from pipelines.settings import Lake
from pipelines.site import batch_rows, marks, rendering

TOP_REGIONS = 12
TOP_FILES = 50
LINE_PARTS = (("header", "表头", "header"), ("trailer", "尾注", "trailer"), ("blank", "空行", "blank"),
              ("records", "记录", "records"), ("inner_line_ends", "值内换行", "line ends in values"),
              ("unparseable", "无法解析", "unparseable"))
RECORD_PARTS = (("accepted", "接收", "accepted"), ("copies", "完全重复", "identical copies"),
                ("superseded", "批内被替代", "superseded"), ("quarantined", "隔离", "quarantined"),
                ("deletes", "删除指令", "deletes"), ("cancelled", "报送方作废", "cancelled by the sender"))
STATES = {"accepted": ("pass", "已接收", "Accepted"), "held": ("fail", "暂缓入库", "Held"),
          "refused": ("fail", "拒读", "Refused"), "superseded": ("none", "已被更正批次替代", "Superseded"),
          "received": ("none", "已收到", "Received"), "staged": ("none", "待判定", "Staged"),
          "passed": ("none", "已通过，待入库", "Passed, waiting to be committed")}
PROBLEMS = ("warn", "已接收，有问题", "Accepted with problems")
NOTHING = ("none", "尚未报送", "Nothing yet")
_RESULT = tuple(field.name for field in fields(RuleResult))
_RANK = {"fail": 0, "pass": 1, "not_measured": 2}


def write_batch_report(lake: Lake, batch: dict[str, Any], results: Iterable[RuleResult | dict[str, Any]],
                       regions: Iterable[dict[str, Any]] = (), files: Sequence[dict[str, Any]] = (), unlisted: Sequence[dict[str, Any]] = (),
                       decisions: Sequence[dict[str, Any]] = ()) -> Path:
    """Write the page of one batch.

    Args:
        lake: where reports/ is.
        batch: a row of the ledger's `batches` together with name (the dataset's Chinese name) and department; from
            counts.json also header, trailer, blank, inner_line_ends and loss_budget, without which the equation
            over lines and the loss cannot be shown. Optional: previous ({rule: pass rate of the stream's batch
            before}, for 环比). A key that is absent or None is shown as "—".
        results: the verdict's rule results, or rows of the ledger's `rule_results`; empty when nothing was judged.
        regions: {region, rule, applicable, failed} per county and rule, as in counts.json; region '' = unknown.
        files: rows of the ledger's `files`.
        unlisted: its codes that no list holds, as `new_values.of_batches` gives them.
        decisions: what officers decided about it (decision, reason, decided_at), the oldest first.

    Returns:
        The page's path.
    """
    batch = _Row(batch)
    found = sorted((r if isinstance(r, RuleResult) else _result(r) for r in results),
                   key=lambda r: (_RANK[r.outcome], 1 if r.pass_rate is None else r.pass_rate, r.rule))
    previous, worst = batch["previous"] or {}, worst_regions(regions)
    return rendering.write(
        lake.reports, batch_page(lake, batch), "batch.html.j2", batch=batch, results=found, result_rows=batch_rows.of_results(found, previous), state=light(batch, found),
        reasons=(batch["reason"] or "").splitlines(), lost=_lost(batch), previous=previous,
        lines=equation("lines", LINE_PARTS, batch), records=equation("records", _record_parts(batch), batch),
        dimensions=dimensions(found, batch), regions=worst, region_rows=batch_rows.of_regions(worst["rows"], {r.rule: r.zh for r in found}),
        files=files[:TOP_FILES], more_files=max(0, len(files) - TOP_FILES), tally={outcome: sum(r.outcome == outcome for r in found) for outcome in marks.OUTCOMES},
        docs=_docs(lake, batch["dataset"]), unlisted=unlisted, decisions=decisions)


def _record_parts(batch: _Row) -> tuple[tuple[str, str, str], ...]:
    """In a batch that is not part of base no row is accepted: these rows only could be."""
    parts = tuple(p for p in RECORD_PARTS if p[0] != "cancelled" or batch["cancelled"])
    if batch["state"] in ("accepted", "superseded"):
        return parts
    return (("accepted", "可接收，未入库", "acceptable, not in base"), *parts[1:])


def batch_page(lake: Lake, batch: dict[str, Any]) -> Path:
    """Where the page of a batch is.

    Raises:
        ValueError: dataset or batch id is no plain file name.
    """
    parts = (batch["dataset"], f"{batch['batch_id']}-r{int(batch['revision'])}.html")
    if any("/" in p or "\\" in p or "\0" in p or p.startswith(".") for p in parts):
        raise ValueError("the dataset or the id of the batch is no plain file name")
    return lake.reports.joinpath(*parts)


def light(batch: dict[str, Any], results: Iterable[RuleResult] = ()) -> tuple[str, str, str]:
    """(look, Chinese, English) of a batch's state; an accepted batch with failing rules is amber."""
    if not batch.get("batch_id"):
        return NOTHING
    if batch["state"] == "accepted" and (batch.get("failing") or any(r.outcome == "fail" for r in results)):
        return PROBLEMS
    return STATES.get(batch["state"], ("none", batch["state"], batch["state"]))


def equation(whole: str, parts: Iterable[tuple[str, str, str]], batch: dict[str, Any]) -> dict[str, Any] | None:
    """A conservation equation: its terms (none when they were not recorded), or None when nothing was counted."""
    if batch.get(whole) is None:
        return None
    terms = [{"key": key, "zh": zh, "en": en, "count": batch.get(key)} for key, zh, en in parts]
    if any(t["count"] is None for t in terms):
        return {"whole": batch[whole], "terms": [], "total": None, "closes": None}
    total = sum(t["count"] for t in terms)
    return {"whole": batch[whole], "terms": terms, "total": total, "closes": total == batch[whole]}


def dimensions(results: list[RuleResult], batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Score of every measured dimension, the mean of its indicators, and how many rules are behind it."""
    if not results:
        return []
    measured: dict[str, list[float]] = defaultdict(list)
    for code, value in scores.indicators([vars(r) for r in results], batch).items():
        measured[code[:2]].append(value)
    rules = Counter(r.indicator[:2] for r in results if r.applicable)
    return [{"code": code, "name": marks.indicators().get(f"{code}01", {}).get("dimension", code),
             "score": sum(found) / len(found), "rules": rules[code]} for code, found in sorted(measured.items())]


def worst_regions(regions: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The counties with most failing checks, each with the rules that fail most; and how many more there are."""
    failed: Counter[str] = Counter()
    applicable: Counter[str] = Counter()
    checks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in regions:
        code = one["region"] or ""
        applicable[code] += one["applicable"]
        if one["failed"]:
            failed[code] += one["failed"]
            checks[code].append(one)
    first = sorted(failed, key=lambda code: (-failed[code], code))[:TOP_REGIONS]
    rows = [{"code": code, "name": rendering.divisions().get(code), "failed": failed[code], "applicable": applicable[code],
             "worst": sorted(checks[code], key=lambda c: (-c["failed"], c["rule"]))[:3]} for code in first]
    return {"rows": rows, "more": len(failed) - len(rows), "regions": len(applicable)}


def _result(row: dict[str, Any]) -> RuleResult:
    return RuleResult(**{name: row[name] for name in _RESULT})


def _lost(batch: dict[str, Any]) -> float | None:
    """The share of rows that were not loaded, which the loss budget bounds."""
    if None in (batch["quarantined"], batch["unparseable"], batch["records"], batch["loss_budget"]):
        return None
    total = batch["records"] + batch["unparseable"]
    return (batch["quarantined"] + batch["unparseable"]) / total if total else None


class _Row(dict):
    """A row whose absent keys are None: not every batch got as far as having them."""

    def __missing__(self, key: str) -> None:
        return None


def _docs(lake: Lake, dataset: str) -> str | None:
    page = Path("gx") / dataset / "docs" / "index.html"
    return f"../{page.as_posix()}" if (lake.reports / page).is_file() else None
