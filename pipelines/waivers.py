"""豁免: rows that fail a rule and may: rule × source (× part) (× single keys), with owner, document and day of expiry.

What is waived counts beside applicable and failed, and sends no row to quarantine. A waiver holds for batches dated up to its
day of expiry, whenever they are judged, and for problems until that day has passed; ended by an officer, for nothing any more.
Single keys are kept as base keeps them, keyed digests: `ledger_waiver_keys` holds no value. An accepted batch is
judged under another set of waivers by `backfill`; one that was held, by the next `ingest`.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import ledger_tables as tables
from pipelines.ledger import Ledger, now, today
from pipelines.settings import WrongUse

EXPIRED = "expired"
Keys = tuple[str, ...] | None


@dataclass(frozen=True)
class Cover:
    """The waivers for one batch: rule → its keys, or None where every row is covered. `ids`: which waivers these are."""

    rules: Mapping[str, Keys] = field(default_factory=dict)
    ids: tuple[int, ...] = ()

    @property
    def waived(self) -> dict[str, bool]:
        """Rule → whether only single keys are waived, as the compiler takes it."""
        return {rule: keys is not None for rule, keys in self.rules.items()}

    @property
    def hash(self) -> str | None:
        """What a batch was judged under; None without waivers."""
        return hashlib.sha256(json.dumps(sorted(self.rules.items())).encode()).hexdigest() if self.rules else None


UNCOVERED = Cover()


class Covers:
    """The waivers of one dataset, read once; `of` gives those for one batch."""

    def __init__(self, ledger: Ledger, dataset_id: str):
        w, k = tables.waivers, tables.waiver_keys
        self._waivers = ledger.rows(sa.select(w).where(w.c.dataset == dataset_id, w.c.ended_at.is_(None) | (w.c.ended_reason == EXPIRED)).order_by(w.c.id))
        keyed = [r["id"] for r in self._waivers if r["keys"]]
        self._keys: dict[int, list[str]] = {}
        for row in ledger.rows(sa.select(k).where(k.c.waiver.in_(keyed)).order_by(k.c.key)) if keyed else ():
            self._keys.setdefault(row["waiver"], []).append(row["key"])

    def of(self, batch: Mapping[str, Any]) -> Cover:
        """The cover of a batch: `source`, `part`, `batch_date`."""
        mine = [w for w in self._waivers if w["source"] == batch["source"] and w["part"] in (None, batch["part"]) and batch["batch_date"] <= w["expires_on"]]
        rules: dict[str, Keys] = {}
        for one in mine:
            keys = tuple(self._keys[one["id"]]) if one["keys"] else None
            before = rules.get(one["rule"], ())
            rules[one["rule"]] = None if keys is None or before is None else tuple(sorted({*before, *keys}))
        return Cover(rules, tuple(w["id"] for w in mine))


def grant(desk: Any, dataset_id: str, rule: str, source: str, owner: str, document: str, reason: str, until: str, by: str,
          part: str | None = None, keys: Path | None = None, day: str | None = None) -> dict[str, Any]:
    """Grant a waiver.

    Args:
        rule: a rule of the dataset that single rows can fail.
        source: slug, department name or USCC of whom it is for; `part` narrows it to one of its parts.
        owner: who answers for it. `document`: number of the decision. `reason`: why; analysts can read all three.
        until: the last batch date it holds for.
        keys: a file of record keys, one a line, several key columns separated by commas; without it every row is covered.

    Returns:
        The waiver's row.

    Raises:
        WrongUse: anything is missing or unknown, or the day is past.
    """
    from pipelines import problems
    from pipelines.locks import writer

    row, digests = examine(desk, dataset_id, rule, source, owner, document, reason, until, by, part, keys, day)
    with writer(desk.lake, row["dataset"]):
        with desk.ledger.transaction() as con:
            row["id"] = con.execute(tables.waivers.insert().values(**row)).inserted_primary_key[0]
            if digests:
                con.execute(tables.waiver_keys.insert(), [{"waiver": row["id"], "key": one} for one in digests])
        problems.note(desk, row["dataset"], [], day)
    return row


def examine(desk: Any, dataset_id: str, rule: str, source: str, owner: str, document: str, reason: str, until: str, by: str,
            part: str | None = None, keys: Path | None = None, day: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """What `grant` would enter: the waiver's row and the digests of its keys; nothing is changed. It raises what `grant` does."""
    from pipelines.contract import dataset as read_dataset

    found, day = read_dataset(dataset_id, desk.project), day or today()
    sender = found.source(source)
    for flag, value in (("--owner", owner), ("--document", document), ("--reason", reason), ("--by", by)):
        if not value.strip():
            raise WrongUse(f"A waiver needs {flag}. It stands in the ledger; owner, document and reason in governance.waivers too, so they name no person of the data.")
    _known_rule(desk, found.id, rule)
    _later(until, day)
    digests = _digests(desk, found.id, keys, until) if keys else []
    return {"dataset": found.id, "rule": rule, "source": sender.source, "part": part or None, "owner": owner, "document": document, "reason": reason,
            "granted_at": now(), "granted_by": by, "expires_on": until, "keys": len(digests) or None}, digests


def ask(asked: dict[str, str]) -> dict[str, str]:
    """What an officer is asked about a waiver that somebody proposes (a task of Airflow calls this): `subject` and `body`.

    Raises:
        WrongUse: it could not be granted.
    """
    from pipelines.desk import Desk

    row, _ = examine(Desk.open(), **asked, by="proposal")
    lines = [f"- {k}: {row[k]}" for k in ("dataset", "rule", "source", "part", "owner", "document", "reason", "expires_on") if row[k]]
    return {"subject": f"豁免？Grant this waiver? {row['dataset']} {row['rule']}", "body": "\n".join(lines)}


def answer(asked: dict[str, str], granted: bool, by: str) -> int | None:
    """Grant what was proposed, or leave it; returns the waiver's id."""
    from pipelines.desk import Desk

    return grant(Desk.open(), **asked, by=by)["id"] if granted else None


def end(desk: Any, number: int, reason: str, day: str | None = None) -> dict[str, Any]:
    """End a waiver before its day: from now on it holds for nothing.

    Raises:
        WrongUse: no reason, or no such waiver in force.
    """
    from pipelines import problems
    from pipelines.locks import writer

    if not reason.strip() or reason == EXPIRED:
        raise WrongUse("Give a reason: --reason TEXT. It stands in the ledger.")
    w = tables.waivers
    found = desk.ledger.rows(sa.select(w).where(w.c.id == number, w.c.ended_at.is_(None)))
    if not found:
        raise WrongUse(f"There is no waiver {number} in force. All: python -m pipelines waivers")
    with writer(desk.lake, found[0]["dataset"]):
        with desk.ledger.transaction() as con:
            con.execute(w.update().where(w.c.id == number, w.c.ended_at.is_(None)).values(ended_at=now(), ended_reason=reason))
        problems.note(desk, found[0]["dataset"], [], day)
    return listing(desk, number=number)[0]


def expire(desk: Any, day: str | None = None) -> list[dict[str, Any]]:
    """Close the waivers whose day has passed, and open again what still fails; returns these waivers."""
    from pipelines import problems

    w, day = tables.waivers, day or today()
    past = desk.ledger.rows(sa.select(w).where(w.c.ended_at.is_(None), w.c.expires_on < day).order_by(w.c.id))
    if past:
        with desk.ledger.transaction() as con:
            con.execute(w.update().where(w.c.id.in_([r["id"] for r in past]), w.c.ended_at.is_(None)).values(ended_at=now(), ended_reason=EXPIRED))
        for dataset_id in sorted({r["dataset"] for r in past}):
            problems.note(desk, dataset_id, [], day)
    return past


def listing(desk: Any, number: int | None = None) -> list[dict[str, Any]]:
    """Every waiver, those in force first."""
    w = tables.waivers
    wanted = w.c.id == number if number else sa.true()
    return desk.ledger.rows(sa.select(w).where(wanted).order_by(w.c.ended_at.is_not(None), w.c.dataset, w.c.rule, w.c.id))


def _known_rule(desk: Any, dataset_id: str, rule: str) -> None:
    from pipelines.compiler import CONFLICT

    checks = tables.checks
    known = [r.rule for r in desk.plan(dataset_id).rules if r.rule != CONFLICT]
    known += [r["rule"] for r in desk.ledger.rows(sa.select(checks.c.rule).where(checks.c.dataset == dataset_id).distinct())]
    if rule == CONFLICT:
        raise WrongUse(f"{CONFLICT} cannot be waived: of rows that have one key and differ only one can be true.")
    if rule not in known:
        raise WrongUse(f"{dataset_id} has no rule {rule!r}. Its rules: {', '.join(sorted(set(known)))}.")


def _later(until: str, day: str) -> None:
    try:
        given = date.fromisoformat(until).isoformat()
    except ValueError:
        raise WrongUse(f"{until!r} is no day; give the last batch date it holds for: --until YYYY-MM-DD.") from None
    if given < day:
        raise WrongUse(f"--until {given} has passed. A waiver without an end is a change of the rule: make that in the contract or in expectations/.")


def _digests(desk: Any, dataset_id: str, keys: Path, as_of: str) -> list[str]:
    """The record keys in a file, normalised as staging does and digested as base keeps them; no value stays anywhere."""
    from pipelines import compiler, keys as pseudonyms
    from pipelines.semantics import reference
    from pipelines.sql import connect, name, text

    plan = desk.plan(dataset_id)
    columns, kinds = plan.dataset.key, dict(plan.types)
    if not keys.is_file():
        raise WrongUse("--keys names no file. Write one record key a line; several key columns separated by commas.")
    cleaned = ", ".join(f"{kinds[c].clean(name(c), plan.dataset.column(c).keep_words)} AS {name(c)}" for c in columns)
    meant = {c: f"try_cast({kinds[c].value(name(c), '_day')} AS {kinds[c].physical})" for c in columns}
    with connect(temp=desk.lake.staging) as con:
        reference.ready(con, desk.project, desk.lake.staging, desk.ledger.added_codes())
        pseudonyms.install(con, pseudonyms.pseudonym_key(desk.lake))
        typed = "{" + ", ".join(f"{text(c)}: 'VARCHAR'" for c in columns) + "}"
        lines = f"read_csv({text(keys)}, header = false, columns = {typed}, delim = ',', quote = '\"', escape = '\"', auto_detect = false, strict_mode = false, null_padding = true)"
        cells = f"SELECT {cleaned}, DATE {text(as_of)} AS _day FROM {lines}"
        found = [key for key, in con.execute(f"SELECT {compiler.key_digest(plan, meant)} FROM ({cells})").fetchall()]
    if not found or None in found:
        raise WrongUse(f"--keys: {found.count(None)} of {len(found)} lines are no key of {dataset_id} ({', '.join(columns)}). One key a line, without a header.")
    return sorted(set(found))
