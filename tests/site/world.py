"""A ledger of fifty datasets and twenty-four months without any data behind it: what pages are made from, made in a second.

Thirty-second dataset: held in the newest month, with two codes that its list does not hold. Third: a rule far below its limit. The tenth is late. No value of a person exists here.
"""
from __future__ import annotations

import random
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from pipelines import ledger_tables as tables, pages, region_counts
from pipelines.desk import Desk
from tests.support import RESIDENCE, desk, project

DATASETS, MONTHS = 50, 24
DEPARTMENTS = ("公安局", "民政局", "人力资源和社会保障局", "市场监督管理局", "自然资源局", "卫生健康委员会")
COUNTIES = ("640104", "640105", "640106", "640181")
NAMES = ("出租房屋", "流动人口", "低保对象", "从业人员", "不动产权", "医疗机构", "学校学生", "养老机构", "车辆登记", "残疾人证")
NEW_VALUES = (("8X", 31), ("9Y", 2))
HELD, BAD, LATE, TODAY = 32, 3, 10, "2026-11-20"


def months(count: int = MONTHS) -> list[str]:
    """The months, ending with 2026-11."""
    return [f"{(2026 * 12 + 10 - n) // 12}-{(2026 * 12 + 10 - n) % 12 + 1:02d}" for n in range(count - 1, -1, -1)]


def contracts(count: int) -> dict[str, str]:
    """File name → contract."""
    found = {}
    for n in range(count):
        text = RESIDENCE.replace("LOAD", "upsert").replace("population.residence", f"population.d{n:02}").replace("name: residence", f"name: d{n:02}")
        text = text.replace("name: 流动人口居住登记", f"name: {NAMES[n % 10]}信息{n + 1}").replace("网格中心", DEPARTMENTS[n % 6]).replace("公安局", DEPARTMENTS[(n + 1) % 6])
        found[f"population__d{n:02}"] = text.replace("State, semanticType: text", "State, semanticType: code(insurance_status)") if n == HELD else text
    return found


def world(root: Path, count: int = DATASETS) -> Desk:
    """A lake whose ledger holds `count` datasets of twenty-four months, and the pages of two batches."""
    at, chance = desk(root, project(root / "project", **contracts(count))), random.Random(7)
    batches, results, counts = [], [], []
    for n in range(count):
        plan = at.plan(f"population.d{n:02}")
        for month in months() if n != LATE else months()[:-3]:
            batches.append(_batch(plan.dataset.id, month, n))
            key = {"batch_id": batches[-1]["batch_id"], "revision": 1}
            for r in plan.rules:
                one = _result(r, n, month, chance)
                results.append(key | one)
                if month >= "2026-10" and n < 12:
                    counts += [key | {"region": c, "rule": r.rule, "applicable": one["applicable"] // 4, "failed": one["failed"] // 4, "repaired": 0} for c in COUNTIES]
    failing = [r for r in results if r["outcome"] == "fail" and "~2026-11-01~" in r["batch_id"]]
    with at.ledger.transaction() as con:
        packed = [dict(zip(("batch_id", "revision"), key)) | {"counts": region_counts.pack(mine)}
                  for key, mine in groupby(counts, itemgetter("batch_id", "revision"))]
        for table, rows in ((tables.batches, batches), (tables.rule_results, results), (tables.region_counts, packed), (tables.problems, list(_problems(at, failing)))):
            if rows:
                con.execute(table.insert(), rows)
    held = at.plan(f"population.d{HELD % count:02}").dataset
    fresh = [{"batch_id": one["batch_id"], "revision": 1, "column": "status", "value": value, "rows": rows}
             for one in [b for b in batches if b["dataset"] == held.id][-2:] for value, rows in NEW_VALUES]
    with at.ledger.transaction() as con:
        con.execute(tables.new_values.insert(), fresh)
    pages.write(at, held, [(b["batch_id"], 1) for b in batches if b["dataset"] == held.id][-2:])
    return at


def _batch(dataset: str, month: str, n: int) -> dict:
    held = n == HELD and month == "2026-11"
    return {"batch_id": f"{dataset}~police~640100~{month}-01~1", "revision": 1, "dataset": dataset, "source": "police", "part": "640100", "batch_date": f"{month}-01", "sequence": 1,
            "state": "held" if held else "accepted", "reason": "120 of 1,000 rows (12.0 %) fail name.required, at least 20 % must hold." if held else None,
            "received_at": f"{month}-03T01:00:00Z", "decided_at": f"{month}-03T01:05:00Z", "decided_by": "gate", "files": 1, "bytes": 90_000, "lines": 1_001, "header": 1, "trailer": 0,
            "blank": 0, "inner_line_ends": 0, "records": 1_000, "accepted": 990, "copies": 2, "superseded": 0, "quarantined": 8, "deletes": 0, "unparseable": 0, "repaired": 11,
            "reading": "records", "loss_budget": 0.05, "unmapped_columns": 0, "score": 0.99}


def _result(rule, n: int, month: str, chance: random.Random) -> dict:
    applicable = 0 if rule.rule.endswith("future") and n % 5 == 0 else 1_000
    failed = min(applicable, int(chance.expovariate(0.2)) + (30 if n == BAD and month >= "2026-10" and "name" in rule.rule else 0) + (40 if chance.random() < 0.01 else 0))
    at_least = 0.98
    outcome = "not_measured" if not applicable else "fail" if applicable - failed < at_least * applicable else "pass"
    known = {k: v for k, v in rule.public().items() if k in tables.rule_results.c}
    return known | {"at_least": at_least, "applicable": applicable, "failed": failed, "repaired": 0, "outcome": outcome,
                    "pass_rate": (applicable - failed) / applicable if applicable else None}


def _problems(at: Desk, failing: list[dict]):
    states = ("open", "open", "in_progress", "mended", "verified", "waived", "false_alarm")
    for number, row in enumerate(failing, 1):
        dataset = row["batch_id"].partition("~")[0]
        yield {"id": number, "dataset": dataset, "rule": row["rule"], "department": at.plan(dataset).dataset.source("police").department, "source": "police",
               "state": states[number % 7], "opened_at": "2026-10-03T02:00:00Z" if number % 3 else "2026-11-03T01:05:00Z", "opened_batch": row["batch_id"], "batch_id": row["batch_id"],
               "batch_date": "2026-11-01", "severity": row["severity"], "failed": row["failed"], "applicable": row["applicable"], "pass_rate": row["pass_rate"],
               "at_least": row["at_least"], "reopened": number % 4 // 3, "changed_at": "2026-11-04T00:00:00Z", "changed_by": "质量专员", "note": None}
