"""放行与维持扣留: an officer decides about a batch that the gate holds; the ledger says who, when and why.

A release makes the batch `passed`, and the next `ingest` commits it; a hold confirms what the gate said. Nobody can release what a closed
month or a baseline keeps out, what could not be read, or what the gate could not judge. A decision is about one revision as it was judged:
judged again under another contract or other waivers, the batch is held again. A replay of an accepted batch honours its release.
"""
from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipelines import ledger_tables as tables, new_values, pages, problems, staged_batches
from pipelines.batch import split_key
from pipelines.contract import dataset as read_dataset
from pipelines.desk import Desk
from pipelines.ledger import Ledger, now
from pipelines.locks import writer
from pipelines.settings import WrongUse

RELEASE, HOLD, APPROVAL = "release", "hold", "approval"


def decide(desk: Desk, batch_id: str, decision: str, by: str, reason: str, revision: int | None = None) -> dict[str, Any]:
    """Release a held batch, or confirm that it is held.

    Args:
        decision: `release` or `hold`.
        by, reason: who and why; they stand in the ledger, and name no person of the data.
        revision: which one (default: the latest); a decision about one that was corrected meanwhile is refused.

    Returns:
        The batch's row.

    Raises:
        WrongUse: nobody or no reason is named, the batch is not held, or it cannot be released; the message says what can be done.
    """
    if not by.strip() or not reason.strip():
        raise WrongUse("Say who and why: --by NAME --reason TEXT. Both stand in the ledger, the reason in governance.approvals too, so it names no person of the data.")
    row = desk.ledger.batch(batch_id)
    if row is None:
        raise WrongUse(f"The ledger knows no batch {batch_id!r}. Held ones: python -m pipelines problems")
    with writer(desk.lake, row["dataset"]):
        row = desk.ledger.batch(batch_id)
        if decision == RELEASE and row["decided_by"] == APPROVAL and row["state"] in ("passed", "accepted") and revision in (None, row["revision"]):
            return row      # it was released already: by a run of this command that died after the decision
        _refuse(desk, row, revision, decision)
        b, a = tables.batches, tables.approvals
        with desk.ledger.transaction() as con:
            con.execute(a.insert().values(batch_id=batch_id, revision=row["revision"], decision=decision, decided_by=by, reason=reason, decided_at=now()))
            if decision == RELEASE:
                con.execute(b.update().where(b.c.batch_id == batch_id, b.c.revision == row["revision"]).values(state="passed", decided_by=APPROVAL, decided_at=now()))
        problems.note(desk, row["dataset"], [])
        pages.write(desk, read_dataset(row["dataset"], desk.project), [(batch_id, row["revision"])])
        return desk.ledger.batch(batch_id)


def released(ledger: Ledger, batch_id: str, revision: int) -> bool:
    """True when an officer's last word on this revision was to release it."""
    a = tables.approvals
    last = ledger.rows(sa.select(a.c.decision).where(a.c.batch_id == batch_id, a.c.revision == revision).order_by(a.c.id.desc()).limit(1))
    return bool(last) and last[0]["decision"] == RELEASE


def awaiting(batch_keys: list[str], desk: Desk | None = None) -> list[str]:
    """Which of these batches an officer may decide about: held by the gate, staged and soundly judged."""
    desk = desk or Desk.open()
    return [key for key in batch_keys if question(desk, *split_key(key))]


def ask(batch_key: str, desk: Desk | None = None) -> dict[str, str]:
    """`question` for a task of Airflow; empty when there is nothing to decide any more."""
    return question(desk or Desk.open(), *split_key(batch_key)) or {}


def answer(batch_key: str, release: bool, by: str, reason: str, desk: Desk | None = None) -> dict[str, Any]:
    """`decide` for a task of Airflow; what was decided otherwise meanwhile stays as it is.

    Returns:
        The state of the batch, its dataset and its batch date.
    """
    desk, (batch_id, revision) = desk or Desk.open(), split_key(batch_key)
    if not question(desk, batch_id, revision):
        row = desk.ledger.batch(batch_id)
    else:
        row = decide(desk, batch_id, RELEASE if release else HOLD, by, reason.strip() or "在 Airflow 中裁定，未写理由 decided in Airflow, no reason given", revision)
    return {k: row[k] for k in ("state", "dataset", "batch_date")}


def question(desk: Desk, batch_id: str, revision: int) -> dict[str, str] | None:
    """What an officer is asked about a held batch: `subject` and `body` (Markdown) with counts and rules; None when there is nothing to decide."""
    row = desk.ledger.batch(batch_id)
    try:
        _refuse(desk, row, revision, RELEASE)
    except WrongUse:
        return None
    from pipelines.contract import dataset as read_dataset

    found, t = read_dataset(row["dataset"], desk.project), tables.rule_results
    failing = desk.ledger.rows(sa.select(t).where(t.c.batch_id == batch_id, t.c.revision == revision, t.c.outcome == "fail").order_by(t.c.severity, t.c.rule))
    department = problems.department_of(found, row["source"])
    lines = [f"{found.name} {row['dataset']} · {department} · {row['batch_date']} · {row['part']}", "",
             f"读取 records {row['records']:,}，可入库 acceptable {row['accepted']:,}，隔离 quarantined {row['quarantined']:,}，无法解析 unparseable {row['unparseable']:,}", "",
             "| 规则 rule | 说明 what must hold | 不合格 failed | 适用 applicable | 合格率 pass rate | 下限 at least |", "|---|---|---|---|---|---|"]
    lines += [f"| {r['rule']} | {r['zh']} | {r['failed']:,} | {r['applicable']:,} | {r['pass_rate']:.4f} | {r['at_least']:g} |" for r in failing]
    fresh = new_values.of_batches(desk, found, [(batch_id, revision)])[batch_id, revision]
    if fresh:
        lines += ["", "新值：代码表之外的代码，可认定后重新判定 codes that their list does not hold; accepted (DAG accept_value), the batch is judged again:", ""]
        lines += [f"- {one['column']} {one['value']}: {one['rows']:,} 行 rows" for one in fresh]
    lines += ["", f"reports/{row['dataset']}/{batch_id}-r{revision}.html", "", "放行后下次运行入库；维持扣留则由部门更正后重报。Released, it is committed by the next run; held, the department sends a correction."]
    return {"subject": f"放行？Release? {batch_id} r{revision}", "body": "\n".join(lines)}


def _refuse(desk: Desk, row: dict[str, Any] | None, revision: int | None, decision: str) -> None:
    """Raise WrongUse when there is nothing to decide, or when a batch cannot be released."""
    from pipelines.standing import CLOSING, FOLDING, UNSOUND

    if row is None or (revision is not None and row["revision"] != revision):
        raise WrongUse("This revision was replaced by a correction; the decision would be about data that is gone. See: python -m pipelines why BATCH")
    why, name = f"See: python -m pipelines why '{row['batch_id']}'", f"{row['batch_id']} r{row['revision']}"
    if row["state"] != "held":
        raise WrongUse(f"{name} is {row['state']}, not held; there is nothing to decide. {why}")
    if decision == HOLD:
        return
    closing = desk.ledger.closing(row["dataset"], row["batch_date"][:7])
    if row["decided_by"] == CLOSING or closing:
        raise WrongUse(f"{name}: its month is closed, and no approval opens it. Run: python -m pipelines reopen {row['batch_date'][:7]} {row['dataset']} --reason TEXT")
    if row["decided_by"] == FOLDING:
        raise WrongUse(f"{name} is dated before the baseline that old batches were folded into. Run: python -m pipelines rebuild {row['dataset']}, then ingest")
    if row["decided_by"] == "stage":
        raise WrongUse(f"{name} was not read: its header does not fit the contract, so there is nothing to release. {why}")
    if row["code"] == UNSOUND or not desk.ledger.rows(sa.select(tables.rule_results.c.rule).where(
            tables.rule_results.c.batch_id == row["batch_id"], tables.rule_results.c.revision == row["revision"]).limit(1)):
        raise WrongUse(f"{name} could not be judged: the pipeline is at fault, and nobody knows what it holds. Stage it again: python -m pipelines ingest "
                       f"{row['dataset']}; if it stays, report it as a defect.")
    if staged_batches.read(desk.lake, row["batch_id"], row["revision"]) is None:
        raise WrongUse(f"{name} is not staged any more. Have it judged again: python -m pipelines backfill {row['dataset']} --from {row['batch_date']} "
                       f"--to {row['batch_date']}, then approve it.")
