"""授权: files with more than the default ones show, for a role, a purpose, a request and a time; every one stands in the ledger.

A grant is made by a command or by a task after an officer's approval, brought up to date by every release, and removed when its last day has
passed or when it is revoked. What a contract no longer lets the role have ends the grant. The ledger is written first: a death leaves a
grant without files (the next release, `maintain` or the same command makes them) or files without a grant (the same remove them).
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines import keys, ledger_tables as tables
from pipelines.compiler import Plan
from pipelines.current import Current
from pipelines.desk import Desk
from pipelines.grants import allowed, conditions, files
from pipelines.ledger import Ledger, now, today
from pipelines.settings import WrongUse

EXPIRED, DAYS, LONGEST_DAYS = "expired", 30, 366
_VALUES = {"VARCHAR": "''", "DATE": "'2000-01-01'", "TIMESTAMP": "'2000-01-01'", "BOOLEAN": "false"}
_WORDS = ("role", "datasets", "columns", "rows", "purpose", "request", "reader_group", "expires_on")


class NotKept(WrongUse):
    """The rows behind the newest release are gone; a release brings them back."""


def grant(desk: Desk, datasets: Sequence[str], role: str, purpose: str, request: str, columns: Sequence[str], until: str, by: str, rows: str | None = None,
          group: str | None = None, day: str | None = None) -> dict[str, Any]:
    """Make a grant and its files. Asked for again in the same words while it runs, it is the same grant.

    Args:
        datasets: their ids; persons join across them.
        role: one of `allowed.ROLES`.
        purpose, request: what for, and the number of the request; analysts can read both.
        columns: as the default view or the role's list calls them; `domain.dataset.column` for one dataset alone.
        until: its last day, YYYY-MM-DD; empty: 30 days from today.
        by: who grants it.
        rows: a condition over columns that every dataset publishes.
        group: the group of accounts that may read it (default: LAKE_GRANT_GROUP; without either only this account).

    Returns:
        The ledger's row, with `database`.

    Raises:
        WrongUse: anything is missing or unknown, or the role may not be given it.
    """
    from pipelines.locks import writer

    row, _ = examine(desk, datasets, role, purpose, request, columns, until, by, rows, group, day)
    g = tables.grants
    with writer(desk.lake, "release"), desk.ledger.step("grants", "grant") as detail:
        _newest(desk)
        same = desk.ledger.rows(sa.select(g).where(g.c.revoked_at.is_(None), *(g.c[w] == row[w] if row[w] is not None else g.c[w].is_(None) for w in _WORDS)))
        if same:
            row = same[0]
        else:
            with desk.ledger.transaction() as con:
                row["id"] = con.execute(g.insert().values(**row)).inserted_primary_key[0]
                row["key_id"] = keys.key_id(desk.lake, keys.grant_key(desk.lake, row["id"]))
                con.execute(g.update().where(g.c.id == row["id"]).values(key_id=row["key_id"]))
        renew(desk, day=day, only=row["id"])
        detail |= {"grant": row["id"]}
    return listing(desk, row["id"])[0]


def examine(desk: Desk, datasets: Sequence[str], role: str, purpose: str, request: str, columns: Sequence[str], until: str, by: str, rows: str | None = None,
            group: str | None = None, day: str | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What `grant` would enter, and what it would show: (ledger row, [{"dataset", "columns"}]); nothing is changed. It raises what `grant` does."""
    if role not in allowed.ROLES:
        raise WrongUse(f"There is no role {role!r}. Roles: " + "; ".join(f"{r} ({one.en})" for r, one in allowed.ROLES.items()))
    for flag, value in (("--purpose", purpose), ("--request", request), ("--by", by)):
        if not value.strip():
            raise WrongUse(f"A grant needs {flag}. It stands in the ledger; purpose and request in governance.grants too, so they name no person of the data.")
    until = _last_day(until, day or today())
    ids, wanted = list(dict.fromkeys(datasets)), list(dict.fromkeys(c.strip() for one in columns for c in one.split(",") if c.strip()))
    if not ids or not wanted:
        raise WrongUse("Name at least one dataset and its columns: python -m pipelines grant DATASET --columns person_id,name …")
    plans = [desk.plan(i) for i in ids]
    chosen = allowed.chosen_of(plans, role, wanted)
    for plan in plans:
        _judge_rows(plan, role, rows)
    group = group or os.environ.get("LAKE_GRANT_GROUP") or None
    if group:
        files.known_group(group)
    row = {"role": role, "datasets": ", ".join(ids), "columns": ", ".join(wanted), "rows": rows or None, "purpose": purpose, "request": request, "reader_group": group,
           "granted_by": by, "granted_at": now(), "expires_on": until, "revoked_at": None, "reason": None, "key_id": None}
    allowed.judge([allowed.known_positions(p, c) for p, c in zip(plans, chosen)] + _others(desk, row))
    return row, [{"dataset": p.dataset.id, "columns": [c.name for c in found]} for p, found in zip(plans, chosen)]


def ask(asked: Mapping[str, str]) -> dict[str, str]:
    """What an officer is asked about a grant that somebody requests (a task of Airflow calls this): `subject` and `body`.

    Raises:
        WrongUse: it could not be granted.
    """
    desk = Desk.open()
    row, shows = examine(desk, **_requested(asked), by="request")
    lines = [f"- {k}: {row[k]}" for k in ("role", "purpose", "request", "rows", "reader_group", "expires_on") if row[k]]
    lines += [f"- {one['dataset']}: {', '.join(one['columns'])}" for one in shows]
    return {"subject": f"授权？Grant this? {row['request']} {row['role']} {row['datasets']}", "body": "\n".join(lines)}


def answer(asked: Mapping[str, str], granted: bool, by: str) -> int | None:
    """Grant what was requested, or leave it; returns the grant's id."""
    return grant(Desk.open(), **_requested(asked), by=by)["id"] if granted else None


def revoke(desk: Desk, number: int, reason: str) -> dict[str, Any]:
    """End a grant now and remove its files.

    Raises:
        WrongUse: no reason, or no such grant in force.
    """
    from pipelines.locks import writer

    if not reason.strip():
        raise WrongUse("Give a reason: --reason TEXT. Analysts can read it, so it names no person of the data.")
    with writer(desk.lake, "release"), desk.ledger.step("grants", "revoke") as detail:
        found = [g for g in in_force(desk.ledger) if g["id"] == number]
        if not found:
            raise WrongUse(f"There is no grant {number} in force. All: python -m pipelines grants")
        _end(desk.ledger, number, reason)
        files.remove(desk.lake, desk.ledger, number)
        detail |= {"grant": number}
    return listing(desk, number)[0]


def expire(desk: Desk | None = None, day: str | None = None) -> list[int]:
    """End the grants whose last day has passed and remove all files without a grant; returns the ended ones. The caller holds no lock."""
    from pipelines.locks import writer

    desk = desk or Desk.open()
    with writer(desk.lake, "release"):
        return sweep(desk, day)


def sweep(desk: Desk, day: str | None = None) -> list[int]:
    """`expire` for a caller that holds the lock `release`."""
    past = [g["id"] for g in in_force(desk.ledger) if g["expires_on"] < (day or today())]
    for number in past:
        _end(desk.ledger, number, EXPIRED)
    for number in files.numbers(desk.lake) - {g["id"] for g in in_force(desk.ledger)}:
        files.remove(desk.lake, desk.ledger, number)
    return past


def renew(desk: Desk, plans: Mapping[str, Plan] | None = None, states: Mapping[str, Current] | None = None, day: str | None = None, only: int | None = None) -> dict[str, list[int]]:
    """Bring grants to what the newest release shows. The caller holds the lock `release`.

    Args:
        plans, states: what was just published; without them, what the newest release pins.
        only: this grant alone; what keeps it from being made is raised instead of ending it.

    Returns:
        {"renewed": ids whose files changed, "ended": ids that expired or that contracts no longer allow}.
    """
    from pipelines import published, withdrawal

    ended, renewed = sweep(desk, day), []
    wanted = [g for g in in_force(desk.ledger) if only in (None, g["id"])]
    manifest = _newest(desk) if wanted else {}
    engine = published.Engine(desk.lake, desk.project, withdrawal.withdrawn(desk.ledger))
    try:
        for one in wanted:
            ids = one["datasets"].split(", ")
            try:
                mine = {i: (plans or {}).get(i) or desk.plan(i) for i in ids}
                known = states if states is not None else _pinned(desk, ids, manifest)
                _judge_again(desk, one, mine)
                if files.write(engine, desk.ledger, one, mine, known, manifest):
                    renewed.append(one["id"])
            except NotKept:
                files.remove(desk.lake, desk.ledger, one["id"])      # what it showed may be out of date; the next release makes it again
                if only is not None:
                    raise
            except WrongUse as wrong:
                _end(desk.ledger, one["id"], f"cannot be given any more: {wrong}")
                files.remove(desk.lake, desk.ledger, one["id"])
                if only is not None:
                    raise
                ended.append(one["id"])
    finally:
        engine.close()
    return {"renewed": renewed, "ended": ended}


def in_force(ledger: Ledger) -> list[dict[str, Any]]:
    """The grants that were neither revoked nor ended."""
    g = tables.grants
    return ledger.rows(sa.select(g).where(g.c.revoked_at.is_(None)).order_by(g.c.id))


def listing(desk: Desk, number: int | None = None) -> list[dict[str, Any]]:
    """Every grant with where its database is, those in force first."""
    g = tables.grants
    found = desk.ledger.rows(sa.select(g).where(g.c.id == number if number else sa.true()).order_by(g.c.revoked_at.is_not(None), g.c.id))
    return [one | {"database": None if one["revoked_at"] else str(files.place(desk.lake, one["id"]) / "grant.duckdb")} for one in found]


def _requested(asked: Mapping[str, str]) -> dict[str, Any]:
    return {**asked, "datasets": asked["datasets"].replace(",", " ").split(), "columns": [asked["columns"]], "rows": asked.get("rows") or None,
            "group": asked.get("group") or None}


def _last_day(until: str, day: str) -> str:
    """The day given, or 30 days from `day`."""
    if not until:
        return (date.fromisoformat(day) + timedelta(days=DAYS)).isoformat()
    try:
        given = date.fromisoformat(until)
    except ValueError:
        raise WrongUse(f"{until!r} is no day; give the last day of the grant: --until YYYY-MM-DD.") from None
    if not 0 <= (given - date.fromisoformat(day)).days <= LONGEST_DAYS:
        raise WrongUse(f"--until {given} is not between today and {LONGEST_DAYS} days from now. What is needed longer is asked for again.")
    return until


def _judge_rows(plan: Plan, role: str, rows: str | None) -> None:
    from pipelines import masks
    from pipelines.sql import connect, name

    shown = masks.published(plan)
    tree = conditions.parse(rows, [c.name for c in shown], plan.dataset.id) if rows else None
    if tree is not None:
        import duckdb

        # A row that holds something: over NULLs the engine never finds that a text is no number.
        typed = ", ".join(f"{_VALUES.get(c.type, '0')}::{c.type} AS {name(c.name)}" for c in shown)
        with connect() as con:
            try:
                kind = con.execute(f"SELECT typeof(asked), asked FROM (SELECT {conditions.sql(tree)} AS asked FROM (SELECT {typed}))").fetchone()[0]
            except duckdb.Error as error:
                raise WrongUse(f"--rows does not fit {plan.dataset.id}: {type(error).__name__}. Compare columns with values of their own type.") from None
        if kind != "BOOLEAN":
            raise WrongUse(f"--rows is a value of type {kind}, not a condition.")
    if allowed.ROLES[role].persons_only:
        named = conditions.named_persons(tree, {c.name for c in shown if allowed.is_pseudonym(c)}) if tree is not None else None
        if named is None or named > allowed.PERSONS_OF_A_CASE:
            raise WrongUse(f"The role {role} is for cases: --rows must name at most {allowed.PERSONS_OF_A_CASE} persons by pseudonym, such as \"person_id in ('…', '…')\".")


def _others(desk: Desk, row: Mapping[str, Any]) -> list[frozenset[int]]:
    """What other grants in force tell the same readers: those of its request, and of its group."""
    found = []
    for one in in_force(desk.ledger):
        if one["id"] != row.get("id") and (one["request"] == row["request"] or (row["reader_group"] and one["reader_group"] == row["reader_group"])):
            for dataset_id in one["datasets"].split(", "):
                plan = desk.plan(dataset_id)
                found.append(allowed.known_positions(plan, allowed.chosen(plan, one["role"], one["columns"].split(", "))))
    return found


def _judge_again(desk: Desk, row: Mapping[str, Any], plans: Mapping[str, Plan]) -> None:
    """Contracts may have changed since."""
    chosen = allowed.chosen_of(list(plans.values()), row["role"], row["columns"].split(", "))
    for plan in plans.values():
        _judge_rows(plan, row["role"], row["rows"])
    allowed.judge([allowed.known_positions(plan, found) for plan, found in zip(plans.values(), chosen)])


def _end(ledger: Ledger, number: int, reason: str) -> None:
    g = tables.grants
    with ledger.transaction() as con:
        con.execute(g.update().where(g.c.id == number, g.c.revoked_at.is_(None)).values(revoked_at=now(), reason=reason))


def _newest(desk: Desk) -> dict[str, Any]:
    from pipelines import release

    newest = release.last(desk.lake)
    if newest is None:
        raise WrongUse("Nothing is published yet, so there is nothing to grant. Run: python -m pipelines release")
    return newest


def _pinned(desk: Desk, dataset_ids: Iterable[str], manifest: Mapping[str, Any]) -> dict[str, Current]:
    """The states that the newest release shows.

    Raises:
        NotKept: one of them is not kept any more.
    """
    import json

    found = {}
    for dataset_id in dataset_ids:
        version = manifest["relations"][dataset_id]["version"].rpartition("-")[0] if dataset_id in manifest["relations"] else "empty"
        folder = desk.lake.current / dataset_id / version
        if version != "empty":
            if not (folder / "current.json").exists():
                raise NotKept(f"The rows behind release {manifest['release_id']} of {dataset_id} are not kept. Run: python -m pipelines release")
            found[dataset_id] = Current(folder, json.loads((folder / "current.json").read_text("utf-8")))
    return found
