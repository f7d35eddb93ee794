"""问题单: one problem per (dataset, rule, department), opened by a failing result, verified by data that no longer fails.

`note` looks at what the ledger holds and brings the problems in step (`lifecycle` decides); it can be called at any time, so what a
death left undone the next call does. Officers change a problem through `act`; every change is an event. Problems hold counts,
rule names and batches, never a value. One writer at a time: the lock `problems`.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from pipelines import deadlines, ledger_tables as tables
from pipelines.batch import BatchId
from pipelines.contract import Dataset, dataset as read_dataset, datasets
from pipelines.desk import Desk
from pipelines.ledger import now, today
from pipelines.lifecycle import ACTIVE, FALSE_ALARM, IN_PROGRESS, LAKE, MENDED, OPEN, STATES, VERIFIED, WAIVED, Act, Place, Result, Standing, Waiver, standing
from pipelines.locks import writer
from pipelines.settings import WrongUse

HELD, REFUSED = "batch.held", "batch.refused"
BATCH_RULES = {HELD: ("报送批次未被扣留", "no batch is held"), REFUSED: ("报送批次可读取", "every batch can be read")}
_STATE_OF = {HELD: "held", REFUSED: "refused"}
Found = dict[tuple[str, str], list[tuple[Result, dict[str, Any]]]]


def note(desk: Desk, dataset_id: str, results: Iterable[dict[str, Any]] | None = None, day: str | None = None) -> list[dict[str, Any]]:
    """Bring the problems of a dataset in step with the results in the ledger; call it after results were recorded.

    Args:
        results: what was recorded now (`rule`, `outcome` of each): only these rules and those with a problem are looked at. None: all rules.
        day: today (ISO date, default: by the clock): when waivers end.

    Returns:
        The problems whose state changed, as they are now.
    """
    found, day = read_dataset(dataset_id, desk.project), day or today()
    with writer(desk.lake, "problems"):
        there = {(r["rule"], r["department"]): r for r in _rows(desk, tables.problems.c.dataset == dataset_id)}
        rules = None if results is None else {r["rule"] for r in results if r["outcome"] == "fail"} | {rule for rule, _ in there}
        measured = _measured(desk, found, rules)
        failing = {key for key, many in measured.items() if any(r.fails for r, _ in many)}
        changed = [_settle(desk, found, key, measured.get(key, []), there.get(key), day) for key in sorted({*failing, *there})]
    return [row for row in changed if row]


def note_checks(desk: Desk, dataset_ids: Collection[str], results: Iterable[dict[str, Any]], day: str | None = None) -> None:
    """`note` for the results of checks of many datasets: of those where nothing fails, no problem is known and no batch is held or refused, nothing is asked one by one."""
    failing: dict[str, list[dict[str, Any]]] = {}
    for row in results:
        if row["outcome"] == "fail":
            failing.setdefault(row["dataset"], []).append(row)
    p, b = tables.problems, tables.batches
    touched = {r["dataset"] for r in desk.ledger.rows(sa.select(p.c.dataset).distinct())} | failing.keys()
    touched |= {r["dataset"] for r in desk.ledger.rows(sa.select(b.c.dataset).where(b.c.state.in_(_STATE_OF.values())).distinct())}
    for dataset_id in dataset_ids:
        if dataset_id in touched:
            note(desk, dataset_id, failing.get(dataset_id, []), day)


def refresh(desk: Desk, day: str | None = None) -> list[dict[str, Any]]:
    """`note` for every dataset: what a death left undone, and what the day changed."""
    return [row for found in datasets(desk.project) for row in note(desk, found.id, day=day)]


def act(desk: Desk, number: int, state: str, by: str, why: str, day: str | None = None) -> dict[str, Any]:
    """An officer changes a problem.

    Args:
        state: in_progress (taken), mended, false_alarm, or open (re-opened).
        by: who; it stands in the ledger.
        why: what was done or found; analysts can read it, so it names no person.

    Returns:
        The problem as it is now.

    Raises:
        WrongUse: no such problem, nobody or no reason is named, or the problem is not in a state that allows this.
    """
    if not by.strip() or by == LAKE or not why.strip():
        raise WrongUse("Say who and why: --by NAME --note TEXT. Both stand in the ledger; the note names no person of the data.")
    with writer(desk.lake, "problems"):
        row = problem(desk, number)
        allowed = {IN_PROGRESS: (OPEN, MENDED), MENDED: (OPEN, IN_PROGRESS), FALSE_ALARM: ACTIVE, OPEN: (FALSE_ALARM, MENDED, IN_PROGRESS)}[state]
        if row["state"] not in allowed:
            raise WrongUse(f"Problem {number} is {row['state']} ({STATES[row['state']]}); this can be done where it is {' or '.join(allowed)}. "
                           f"Its story: python -m pipelines problem {number}")
        found = read_dataset(row["dataset"], desk.project)
        key = row["rule"], row["department"]
        measured = _measured(desk, found, {row["rule"]}).get(key, [])
        failing = {r.definition or "" for r, _ in measured if r.fails}
        with desk.ledger.transaction() as con:
            _event(con, row, state, by, why, ",".join(sorted(failing)))
            con.execute(tables.problems.update().where(tables.problems.c.id == number).values(state=state, changed_at=now(), changed_by=by, note=why))
        _settle(desk, found, key, measured, problem(desk, number), day or today())
        return problem(desk, number)


def problem(desk: Desk, number: int) -> dict[str, Any]:
    """One problem.

    Raises:
        WrongUse: there is none of this number.
    """
    found = _rows(desk, tables.problems.c.id == number)
    if not found:
        raise WrongUse(f"There is no problem {number}. All: python -m pipelines problems")
    return found[0]


def listing(desk: Desk, department: str | None = None, dataset_id: str | None = None, state: str | None = None, day: str | None = None) -> list[dict[str, Any]]:
    """Problems by their id, with `overdue` and the Chinese name of their state; without a state, those that are not closed.

    Raises:
        WrongUse: there is no such state or dataset.
    """
    t, named = tables.problems, {zh: s for s, zh in STATES.items()}
    state = named.get(state, state)
    if state not in (None, "all", *STATES):
        raise WrongUse(f"There is no state {state!r}. States: all, {', '.join(f'{s} {zh}' for s, zh in STATES.items())}.")
    wanted = [t.c.state.in_(ACTIVE) if state is None else sa.true() if state == "all" else t.c.state == state]
    wanted += [t.c.department == department] * bool(department) + [t.c.dataset == read_dataset(dataset_id, desk.project).id for _ in "1" if dataset_id]
    return [r | {"words": STATES[r["state"]], "overdue": overdue(r, day or today())} for r in _rows(desk, *wanted)]


def story(desk: Desk, number: int) -> dict[str, Any]:
    """A problem, its events and the waivers of its rule."""
    row, e, w = problem(desk, number), tables.problem_events, tables.waivers
    return {"problem": row | {"words": STATES[row["state"]], "overdue": overdue(row, today())},
            "events": desk.ledger.rows(sa.select(e).where(e.c.problem == number).order_by(e.c.id)),
            "waivers": desk.ledger.rows(sa.select(w).where(w.c.dataset == row["dataset"], w.c.rule == row["rule"]).order_by(w.c.id))}


def overdue(row: dict[str, Any], day: str) -> bool:
    """True when the legal time of a problem has run out and it is neither mended nor closed."""
    return row["state"] in (OPEN, IN_PROGRESS) and row["due_on"] < day


def department_of(found: Dataset, source: str, owner: str | None = None) -> str:
    """Who must mend what `source` sends; the rule's owner where the contract has no such source."""
    return next((s.department for s in found.sources if s.source == source), owner or source)


def _rows(desk: Desk, *wanted: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    return desk.ledger.rows(sa.select(tables.problems).where(*wanted).order_by(tables.problems.c.id))


def _measured(desk: Desk, found: Dataset, rules: set[str] | None) -> Found:
    """(rule, department) → every result of it in the ledger, with its row."""
    taken: Found = defaultdict(list)
    for result, row in (*_history(desk, found), *_of_batches(desk, found, rules), *_of_checks(desk, found, rules), *_of_states(desk, found)):
        taken[row["rule"], department_of(found, row["source"], row.get("owner"))].append((result, row))
    return {key: _still_there(key[0], many) for key, many in taken.items() if rules is None or key[0] in rules or key[0] in BATCH_RULES}


def _still_there(rule: str, many: list[tuple[Result, dict[str, Any]]]) -> list[tuple[Result, dict[str, Any]]]:
    """Without the past failures of batches that this rule no longer judges."""
    places = {r.place for r, row in many if not row.get("past")}
    return [one for one in many if rule in BATCH_RULES or one[0].place in places]


def _of_batches(desk: Desk, found: Dataset, rules: set[str] | None) -> Iterable[tuple[Result, dict[str, Any]]]:
    r, b = tables.rule_results, tables.batches
    failing = sa.select(r.c.rule).join(b, (b.c.batch_id == r.c.batch_id) & (b.c.revision == r.c.revision)).where(b.c.dataset == found.id, (r.c.outcome == "fail") | (r.c.waived > 0))
    query = sa.select(r, b.c.source, b.c.part, b.c.batch_date, b.c.sequence).join(b, (b.c.batch_id == r.c.batch_id) & (b.c.revision == r.c.revision)).where(
        b.c.dataset == found.id, r.c.rule.in_(failing) if rules is None else r.c.rule.in_(rules))
    for row in desk.ledger.rows(query):
        yield Result((row["batch_date"], row["sequence"], row["batch_id"], row["revision"]), (row["source"], row["part"]), row["outcome"],
                     row["applicable"], row["failed"], row["waived"] or 0, row["at_least"], row["definition"]), row


def _of_checks(desk: Desk, found: Dataset, rules: set[str] | None) -> Iterable[tuple[Result, dict[str, Any]]]:
    """Checks that read a whole dataset or several belong to a source and a day, and to no batch."""
    c = tables.checks
    failing = sa.select(c.c.rule).where(c.c.dataset == found.id, c.c.outcome == "fail")
    for row in desk.ledger.rows(sa.select(c).where(c.c.dataset == found.id, c.c.rule.in_(failing) if rules is None else c.c.rule.in_(rules))):
        yield Result((row["as_of"], 0, "", 0), (row["source"], ""), row["outcome"], row["applicable"] or 0, row["failed"] or 0, 0,
                     row["at_least"] or 0.0), row | {"batch_id": None, "revision": None, "batch_date": row["as_of"]}


def _of_states(desk: Desk, found: Dataset) -> Iterable[tuple[Result, dict[str, Any]]]:
    """Whether a batch is held or refused, as a result of the two rules about batches: each batch is a stream of its own."""
    b = tables.batches
    latest = {r["batch_id"]: r for r in desk.ledger.rows(sa.select(b).where(b.c.dataset == found.id).order_by(b.c.revision))}
    for row in latest.values():
        for rule, (zh, en) in BATCH_RULES.items():
            bad, decided = row["state"] == _STATE_OF[rule], row["state"] not in ("received", "staged")
            yield Result((row["batch_date"], row["sequence"], row["batch_id"], row["revision"]), (row["batch_id"], ""),
                         "fail" if bad else "pass" if decided else "not_measured", 1, int(bad), 0, 1.0), row | {
                "rule": rule, "zh": zh, "en": en, "severity": "block", "at_least": 1.0}


def _history(desk: Desk, found: Dataset) -> Iterable[tuple[Result, dict[str, Any]]]:
    """The failures that opened problems: the ledger's results and states are replaced when a batch is judged again."""
    e, p = tables.problem_events, tables.problems
    query = sa.select(e, p.c.rule, p.c.department).join(p, p.c.id == e.c.problem).where(
        p.c.dataset == found.id, e.c.state == OPEN, e.c.by == LAKE, e.c.batch_id.is_not(None)).order_by(e.c.id)
    for row in desk.ledger.rows(query):
        batch = BatchId.parse(row["batch_id"])
        stream = (row["batch_id"], "") if row["rule"] in BATCH_RULES else (batch.source, batch.part)
        yield Result((batch.batch_date, batch.sequence, row["batch_id"], row["revision"]), stream, "fail", 1, 1, 0, 1.0, row["definition"]), row | {
            "source": batch.source, "past": True}


def _settle(desk: Desk, found: Dataset, key: tuple[str, str], measured: list[tuple[Result, dict[str, Any]]], row: dict[str, Any] | None,
            day: str) -> dict[str, Any] | None:
    """Bring one problem in step, in one transaction; returns it when its state changed."""
    stands = standing([r for r, _ in measured], _acts(desk, row), _waivers(desk, found, key, day))
    if stands is None:
        if row is None or row["state"] == VERIFIED:
            return None
        values, state = {}, VERIFIED
    else:
        first = next(one for r, one in measured if r.place == stands.opened)
        values, state = _counts(stands, {(r.place, r.stream): one for r, one in measured}) | {"opened_batch": first.get("batch_id")}, stands.state
    fresh, before = row is None, row and row["state"]
    with desk.ledger.transaction() as con:
        if row is None:
            row = {"dataset": found.id, "rule": key[0], "department": key[1], "state": state, "opened_at": now(), "changed_at": now(), "changed_by": LAKE,
                   "due_on": deadlines.due(desk.project, day), **values}
            row["id"] = con.execute(tables.problems.insert().values(**row)).inserted_primary_key[0]
        if fresh or state != before:
            values |= {"state": state, "changed_at": now(), "changed_by": LAKE, "note": _said(state, before)}
            values |= {"due_on": deadlines.due(desk.project, day)} if state == OPEN else {}
            _event(con, row | values, state, LAKE, values["note"], ",".join(sorted({r.definition or "" for r in stands.shown})) if stands else None)
        if changes := {k: v for k, v in values.items() if row.get(k) != v}:
            con.execute(tables.problems.update().where(tables.problems.c.id == row["id"]).values(**changes))
    return row | values if fresh or state != before else None


def _counts(stands: Standing, rows: dict[tuple[Place, tuple[str, str]], dict[str, Any]]) -> dict[str, Any]:
    """What a problem shows: the sums over the streams that fail now, or over all when none does, and the newest of these."""
    newest, shown = rows[stands.shown[-1].place, stands.shown[-1].stream], stands.shown
    applicable, failed, waived = (sum(getattr(r, k) for r in shown) for k in ("applicable", "failed", "waived"))
    return {"applicable": applicable, "failed": failed, "waived": waived, "pass_rate": (applicable - failed) / applicable if applicable else None,
            "reopened": stands.reopened, **{k: newest.get(k) for k in ("batch_id", "revision", "batch_date", "source", "severity", "at_least", "zh", "en")}}


def _acts(desk: Desk, row: dict[str, Any] | None) -> list[Act]:
    """What officers did with a problem, oldest first."""
    e = tables.problem_events
    if row is None:
        return []
    done = desk.ledger.rows(sa.select(e).where(e.c.problem == row["id"], e.c.by != LAKE).order_by(e.c.id))
    return [Act((a["batch_date"], BatchId.parse(a["batch_id"]).sequence if a["batch_id"] else 0, a["batch_id"] or "", a["revision"] or 0),
                a["state"], a["definition"]) for a in done]


def _waivers(desk: Desk, found: Dataset, key: tuple[str, str], day: str) -> list[Waiver]:
    w = tables.waivers
    rows = desk.ledger.rows(sa.select(w).where(w.c.dataset == found.id, w.c.rule == key[0], w.c.ended_at.is_(None), w.c.expires_on >= day))
    return [Waiver(r["source"], r["part"] or "", r["expires_on"], bool(r["keys"])) for r in rows if department_of(found, r["source"]) == key[1]]


def _said(state: str, before: str | None) -> str | None:
    """Why the lake changed a problem, for its story."""
    if state == OPEN:
        return {None: "it fails", WAIVED: "its waiver has ended and it still fails", FALSE_ALARM: "the rule has changed and still fails"}.get(before, "it fails again")
    return {VERIFIED: "the data no longer fails", WAIVED: "a waiver covers it"}.get(state, "as it stood before")


def _event(con: sa.Connection, row: dict[str, Any], state: str, by: str, note: str | None, definition: str | None) -> None:
    con.execute(tables.problem_events.insert().values(problem=row["id"], at=now(), state=state, by=by, note=note, definition=definition,
                                                      **{k: row.get(k) for k in ("batch_id", "revision", "batch_date")}))
