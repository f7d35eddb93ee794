"""新值认定: codes that an officer accepted for this lake, beyond what the published code lists hold.

A department starts to use a code before the list is published anew; its batches are held meanwhile. An accepted code is in the
list of its column from then on, for every column with that list. The digest of the lists changes with it, so held batches are
judged again by `ingest`. Revoked, it leaves the list; rows accepted with it stay until the dataset is rebuilt.
"""
from __future__ import annotations

import csv
import re
from typing import Any

import sqlalchemy as sa

from pipelines import ledger_tables as tables, new_values
from pipelines.contract import dataset as read_dataset
from pipelines.desk import Desk
from pipelines.ledger import now
from pipelines.semantics import reference, semantic_type
from pipelines.settings import WrongUse

_CODE = re.compile(r"[0-9A-Z]{1,8}")


def accept(dataset_id: str, column: str, value: str, label: str, document: str, by: str, desk: Desk | None = None) -> dict[str, Any]:
    """Take a code into the list of a column.

    Args:
        value: the code as it is sent: at most eight letters and digits.
        label: what it means.
        document: number of the document that introduces it.
        by: who decides.

    Raises:
        WrongUse: the column has no code list, the value is none or known already, or something is not stated.
    """
    desk = desk or Desk.open()
    row = examine(desk, dataset_id, column, value, label, document, by)
    with desk.ledger.transaction() as con:
        made = con.execute(tables.accepted_values.insert().values(**row)).inserted_primary_key[0]
    return {"id": made, **row}


def examine(desk: Desk, dataset_id: str, column: str, value: str, label: str, document: str, by: str) -> dict[str, Any]:
    """The row that `accept` would enter; nothing is changed. It raises what `accept` does."""
    found = read_dataset(dataset_id, desk.project)
    if column not in {c.name for c in found.columns}:
        raise WrongUse(f"{dataset_id} has no column {column!r}. Its columns are: {', '.join(c.name for c in found.columns)}.")
    kind, code = semantic_type(found.column(column).type), value.strip().upper()
    if kind.name != "code":
        raise WrongUse(f"{dataset_id}.{column} is of type {found.column(column).type}; only columns of a type code(list) have a list to accept values into.")
    missing = [name for name, given in (("--label", label), ("--document", document), ("--by", by)) if not given.strip()]
    if missing:
        raise WrongUse(f"An accepted value needs {', '.join(missing)}: {new_values.command(dataset_id, column, 'VALUE')}")
    if not _CODE.fullmatch(code):
        raise WrongUse("A code has at most eight letters and digits; other text is never accepted. Ask the department for the code.")
    if code in listed(desk, kind.parameter):
        raise WrongUse(f"{code} is in the list {kind.parameter} already. Run: python -m pipelines ingest {dataset_id}")
    return {"dataset": dataset_id, "column": column, "list": kind.parameter, "value": code, "label": label.strip(), "document": document.strip(),
            "accepted_by": by.strip(), "accepted_at": now()}


def ask(asked: dict[str, str], desk: Desk | None = None) -> dict[str, str]:
    """What an officer is asked about a code that somebody proposes (a task of Airflow calls this): `subject` and `body`.

    Raises:
        WrongUse: it could not be accepted.
    """
    desk = desk or Desk.open()
    row = examine(desk, **asked, by="proposal")
    known = [one for one in new_values.listing(desk) if (one["list"], one["value"]) == (row["list"], row["value"])]
    lines = [f"- {k}: {row[k]}" for k in ("dataset", "column", "list", "value", "label", "document")]
    lines += [f"- {one['dataset']} {one['column']}: {one['rows']:,} 行 rows, {one['batches']} 批 batches, {one['held']} 批扣留 held" for one in known]
    return {"subject": f"认定新值？Accept this code? {row['dataset']} {row['column']} {row['value']}", "body": "\n".join(lines)}


def answer(asked: dict[str, str], accepted: bool, by: str, desk: Desk | None = None) -> dict[str, Any] | None:
    """Accept the code that was proposed, or leave it.

    Returns:
        The acceptance's id, and which held batches wait for it: dataset → batch dates; None where it is left.
    """
    if not accepted:
        return None
    desk, t = desk or Desk.open(), tables.accepted_values
    code = asked["value"].strip().upper()
    before = desk.ledger.rows(sa.select(t.c.id, t.c.list, t.c.value).where(      # entered by a run of this task that died after it
        t.c.dataset == asked["dataset_id"], t.c.column == asked["column"], t.c.value == code, t.c.document == asked["document"].strip(), t.c.revoked_at.is_(None)))
    row = before[0] if before else accept(**asked, by=by, desk=desk)
    return {"id": row["id"], "waiting": new_values.waiting(desk, row["list"], row["value"])}


def revoke(number: int, desk: Desk | None = None) -> dict[str, Any]:
    """Take an accepted code out of its list again.

    Raises:
        WrongUse: no such acceptance is in force; the message lists those that are.
    """
    desk, t = desk or Desk.open(), tables.accepted_values
    force = {r["id"]: r for r in desk.ledger.rows(sa.select(t).where(t.c.revoked_at.is_(None)))}
    if number not in force:
        known = "; ".join(f"{n}: {r['value']} in {r['list']}" for n, r in force.items()) or "none"
        raise WrongUse(f"No acceptance {number} is in force. In force: {known}.")
    with desk.ledger.transaction() as con:
        con.execute(t.update().where(t.c.id == number).values(revoked_at=now()))
    return force[number] | {"revoked_at": now()}


def listed(desk: Desk, name: str) -> set[str]:
    """The codes of a list: those that its file holds, and those accepted for this lake."""
    added = {value for one, value, _ in desk.ledger.added_codes() if one == name}
    one = next(one for one in reference.declared(desk.project) if one.list == name)
    with (desk.project.reference / one.file).open(encoding="utf-8", newline="") as lines:
        return added | {row[one.code] for row in csv.DictReader(lines)}
