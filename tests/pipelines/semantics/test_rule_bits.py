"""The masks are the same whether or not cells are told at the first look to be right: it saves time and decides nothing."""
from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pipelines import compiler, rule_bits
from pipelines.compiler import Plan
from pipelines.contract import datasets
from pipelines.settings import Project
from pipelines.sql import name, text
from tests.support import REPOSITORY

PROJECT = Project(REPOSITORY)
ROWS = 300
PLAIN = ["银川市金凤区北京中路一号院", "ABC123456", "640104", "2020-06-18"]


def _plan(dataset) -> Plan:
    """Only the rules of columns: those between columns read final values, whatever told them."""
    made = compiler.plan(dataset, ())
    return replace(made, rules=tuple(r for r in made.rules if r.column))


def _rows(con, plan: Plan, rng: random.Random) -> str:
    """A table of cells: rows that are right as they stand, and rows with every example of what is not, missing cells, deletions."""
    columns, right, other = [c.name for c in plan.dataset.columns], {}, {}
    for c in columns:
        kind = plan.type(c)
        sent = [one for one, _ in kind.must_pass] + PLAIN + con.execute("SELECT _aliases($1)", [kind.parameter or ""]).fetchone()[0]
        right[c] = [one for one, in con.execute(f"SELECT x FROM (SELECT unnest($1::VARCHAR[]) AS x, DATE '2026-11-01' AS day) WHERE {kind.plain('x', 'day')}", [sent]).fetchall()] or sent
        other[c] = [None, "", *kind.must_miss, *(check.must_fail for check in kind.checks), *sent[:20], *(f" {one}" for one in sent[:20])]
    values = []
    for i in range(ROWS):
        wrong = rng.choice([0.0, 0.0, 0.05, 0.3, 0.8])
        cells = [rng.choice(other[c] if rng.random() < wrong else right[c]) for c in columns]
        values.append(f"({', '.join('NULL' if x is None else f'{text(x)}::VARCHAR' for x in [*cells, rng.choice(['U', 'U', 'U', 'D'])])}, {i})")
    return f"(VALUES {', '.join(values)}) AS v({', '.join(map(name, [*columns, 'how', 'line']))})"


def _standard(plan: Plan, rows: str) -> str:
    return compiler.standardise(plan, {c.name: name(c.name) for c in plan.dataset.columns}, "how", rows, "DATE '2026-11-01'", "line")


def _masks(con, plan: Plan, rows: str, waived: dict[str, bool]) -> list[tuple]:
    judged = compiler.judge(plan, _standard(plan, rows), keyed=False, waived=waived)
    kinds = ("failed", "applied", "repaired", *(["waived"] if waived else []))
    return con.execute(f"SELECT _line, {', '.join(f'_{kind}_{i}' for i in range(plan.masks) for kind in kinds)} FROM ({judged}) ORDER BY _line").fetchall()


@pytest.mark.parametrize("dataset", datasets(PROJECT), ids=lambda d: d.id)
def test_the_first_look_changes_no_mask(staging_con, dataset):
    plan, rng = _plan(dataset), random.Random(dataset.id)
    slow = replace(plan, types=tuple((c, replace(kind, plain_sql=None)) for c, kind in plan.types))
    rows = _rows(staging_con, plan, rng)
    waived = {r.rule: False for r in plan.rules if rng.random() < 0.2 and r.reason != "form"}
    for spared in ({}, waived):
        found = _masks(staging_con, plan, rows, spared)
        assert found == _masks(staging_con, slow, rows, spared)
        assert len({one[1:] for one in found}) > ROWS / 10
    for group in rule_bits.groups(plan):
        assert staging_con.execute(f"SELECT bool_or({group.name}), bool_and({group.name}) FROM (SELECT {group.right} FROM ({_standard(plan, rows)}))").fetchone() == (True, False)


def test_most_columns_are_told_at_the_first_look():
    """Otherwise the test above compares one way with itself."""
    for dataset in datasets(PROJECT):
        plan = _plan(dataset)
        told = [c for group in rule_bits.groups(plan) for c in group.columns]
        assert len(told) == len(set(told)) and len(told) > 0.5 * len(dataset.columns), dataset.id
