"""`check`: everything declared is read by an engine, and every rule is proved, before any data comes.

Contracts, rules, semantic types, code lists, masks and theme views are tried against empty tables in memory; all
errors of all files are gathered. Tests and the command line call this; DAG parsing does not.
"""
from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import duckdb
import yaml

from pipelines import channels, classification, compiler, deadlines, keys, masks, proofs, themes
from pipelines.compiler import Plan
from pipelines.contract import ContractError, Dataset, dataset as read_dataset
from pipelines.declared import nearest
from pipelines.history import judge as judge_history
from pipelines.proof import Asked, bind, prove, prove_across
from pipelines.rules import history, published, rules
from pipelines.semantics import reference
from pipelines.settings import Project, WrongUse
from pipelines.sql import connect, name


def check(project: Project | None = None, known: proofs.Proofs | None = None) -> dict[str, Any]:
    """Try everything the project declares.

    Args:
        known: what was proved before and need not be proved again, because nothing that it rests on has changed; what is proved now is
            added. Without it everything is proved.

    Returns:
        datasets, columns, rules, lists, views: counts of what was tried; errors: every error, empty when all is well.
    """
    project = project or Project.open()
    errors: list[str] = []
    plans: list[Plan] = []
    for path in sorted(project.contracts.glob("*/*.yaml")):
        plan = _plan(f"{path.parent.name}.{path.stem}", project, errors)
        if plan:
            plans.append(plan)
    errors += _connections(plans)
    known = known or proofs.Proofs(project)
    try:
        lists = {one.list for one in reference.lists(project)}
        for plan in plans:
            errors += _dataset_errors(plan, lists)
        errors += _proofs(project, plans, known, errors)
    except (WrongUse, duckdb.Error) as error:
        errors.append(str(error))
    known.keep()
    declared = {f"{p.dataset.domain}/{p.dataset.id.partition('.')[2]}" for p in plans}
    errors += _departments(project, plans)
    orphans = [p for p in sorted(project.expectations.glob("*/*.yaml")) if f"{p.parent.name}/{p.stem}" not in declared]
    errors += [f"{p.parent.name}/{p.name}: rules of a dataset that has no contract" for p in orphans if not errors]
    return {"datasets": len(plans), "columns": sum(len(p.dataset.columns) for p in plans),
            "rules": sum(len(p.rules) + len(p.across) for p in plans), "lists": len(reference.lists(project)),
            "views": len(list(project.views.rglob("*.sql"))), "errors": errors}


def _plan(dataset_id: str, project: Project, errors: list[str]) -> Plan | None:
    try:
        found = read_dataset(dataset_id, project)
    except ContractError as error:
        errors += str(error).splitlines()
        return None
    try:
        made = compiler.plan(found, rules(found, project))
        history(found, project)
        asked = published(found, project)
        if asked:
            deadlines.limit(project, asked["deadline"])
    except WrongUse as error:
        errors += str(error).splitlines()
        return None
    errors += [f"{dataset_id}: {e}" for e in conformance(found)]
    return made


def conformance(found: Dataset) -> list[str]:
    """What the published ODCS v3.1 model says against the contract file: names and types of its own keys."""
    import pydantic
    from open_data_contract_standard.model import OpenDataContractStandard

    raw = yaml.load(found.path.read_bytes(), Loader=yaml.CSafeLoader)  # noqa: S506 - a safe loader
    try:
        OpenDataContractStandard.model_validate(raw)
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, e['loc']))}: not as in ODCS v3.1: {e['msg']}" for e in error.errors()]
    return []


def _departments(project: Project, plans: list[Plan]) -> list[str]:
    """Who is told about problems: the file is well formed, and every department it lists sends data."""
    try:
        listed, supervisor = channels.offices(project)
    except WrongUse as error:
        return str(error).splitlines()
    known = sorted({s.department for p in plans for s in p.dataset.sources})
    return [f"expectations/departments.yaml: no contract has department {one!r}. {nearest(one, known)}" for one, office in listed.items()
            if one not in known and office != supervisor and known]


def _connections(plans: list[Plan]) -> list[str]:
    """Contracts that share a source database must agree on how many connections it admits and what it is."""
    found: dict[str, dict[tuple[str, int], list[str]]] = {}
    for plan in plans:
        for source in (s for s in plan.dataset.sources if s.database):
            said = source.database.dialect, source.database.connections
            found.setdefault(source.database.connection, {}).setdefault(said, []).append(plan.dataset.id)
    return [f"connection {one!r} is declared differently: " + "; ".join(f"{kind} with connections {n} by {', '.join(ids)}" for (kind, n), ids in said.items())
            for one, said in found.items() if len(said) > 1]


def _proofs(project: Project, plans: list[Plan], known: proofs.Proofs, before: list[str]) -> list[str]:
    """Push what is declared through the engine; it starts only when something is not known to hold."""
    by_id = {p.dataset.id: p for p in plans}
    waiting = [p for p in plans if not known.holds(p.dataset.id, known.of_dataset(p, by_id))]
    views = known.of_views(plans)
    if not waiting and known.holds("views", views):
        return []
    errors: list[str] = []
    with closing(connect()) as con:
        reference.load(con, project)
        reference.load_macros(con, project)
        keys.install(con, bytes(32))  # only the SQL is tried: no lake is opened, no real key used
        asked: Asked = {}
        for plan in waiting:
            wrong = _engine_errors(con, plan, asked) + _across_errors(con, plan, plans)
            errors += wrong
            if not wrong:
                known.add(plan.dataset.id, known.of_dataset(plan, by_id))
        if not before and not errors:
            errors += classification.check(project, plans) or [e for _, e in themes.check(con, project, plans) if e]
            if not errors:
                known.add("views", views)
    return errors


def _dataset_errors(plan: Plan, lists: set[str]) -> list[str]:
    found = plan.dataset
    errors = []
    for column in found.columns:
        listed = re.fullmatch(r"code\((\w+)\)", column.type)
        if listed and listed[1] not in lists:
            errors.append(f"column {column.name} uses code list {listed[1]!r}, which warehouse/reference/lists.yaml does not have")
        if column.primary_key and column.severity != "reject":
            errors.append(f"key column {column.name} has severity {column.severity!r}; a row without its key cannot be kept, so it must be reject")
    try:
        masks.judge(plan)
        judge_history(plan)
    except WrongUse as error:
        errors.append(str(error))
    return [f"{found.id}: {e}" for e in errors]


def _engine_errors(con: duckdb.DuckDBPyConnection, plan: Plan, asked: Asked) -> list[str]:
    errors = []
    try:
        bind(con, plan, asked)
        prove(con, plan, asked)
    except WrongUse as error:
        errors += [line.removeprefix(f"{plan.dataset.id}: ") for line in str(error).splitlines()]
    except duckdb.Error as error:
        errors.append(f"its compiled SQL is refused: {str(error).splitlines()[0]}")
    return [f"{plan.dataset.id}: {e}" for e in errors + _conditions(con, plan)]


def _across_errors(con: duckdb.DuckDBPyConnection, plan: Plan, plans: list[Plan]) -> list[str]:
    try:
        prove_across(con, plan, {p.dataset.id: p for p in plans})
    except WrongUse as error:
        return str(error).splitlines()
    return []


def _conditions(con: duckdb.DuckDBPyConnection, plan: Plan) -> list[str]:
    """`publish_when` and `classified.when` are SQL over base columns: they must bind."""
    found = plan.dataset
    typed = ", ".join(f"NULL::{t} AS {name(n)}" for n, t in plan.physical())
    conditions = [("publish_when", found.publish_when)] + [(f"classified of {c.name}", c.classified_when) for c in found.columns]
    errors = []
    for where, sql in conditions:
        if sql:
            try:
                con.execute(f"SELECT 1 FROM (SELECT {typed}) WHERE {sql}")
            except duckdb.Error as error:
                errors.append(f"{where}: {str(error).splitlines()[0]}")
    return errors
