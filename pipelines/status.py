"""Answers from the ledger and the publication: `status`, `why`, `query`."""
from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from pipelines import ledger_tables as tables, problems, release as publication
from pipelines.batch import BatchId
from pipelines.contract import dataset as read_dataset, datasets
from pipelines.desk import Desk
from pipelines.settings import WrongUse
from pipelines.sql import connect
from pipelines.standing import CLOSING, FOLDING, UNSOUND
from pipelines.trouble import let_pass

REMEDY = {
    "received": "It waits. Run: python -m pipelines ingest {dataset}",
    "staged": "It waits for the gate. Run: python -m pipelines ingest {dataset}",
    "passed": "It passed the gate and waits to be committed. Run: python -m pipelines ingest {dataset}",
    "accepted": "Nothing: it is part of base. {pack} A whole corrected file comes in with: "
                "python -m pipelines receive {dataset} FILE --source {source} --batch-date {batch_date} --correct",
    "held": "Return it to {department} with the report {report}. {pack} A whole corrected file comes in with: python -m pipelines receive "
            "{dataset} FILE --source {source} --batch-date {batch_date} --correct. If a threshold is wrong, change the contract or "
            "expectations/{rules}.yaml and run: python -m pipelines ingest {dataset}. To take it in as it is: python -m pipelines approve "
            "'{batch_id}' --by NAME --reason TEXT. What the department has to mend: python -m pipelines problems --dataset {dataset}",
    "stage": "Its header does not fit the contract. Add the spelling to the contract and run: python -m pipelines ingest {dataset}; or return it to "
             "{department}: python -m pipelines receive {dataset} FILE --source {source} --batch-date {batch_date} --correct",
    "unsound": "As said above: stage it again (python -m pipelines ingest {dataset}); if it stays, report it as a defect. Nobody can approve what could not be judged.",
    "closing": "As said above: re-open the month, or ask {department} to send it again under a batch date of the next one.",
    "folding": "As said above: unfold with rebuild, then ingest; or leave it out.",
    "refused": "The file does not fit the contract. Ask {department} for a readable file, or add the spelling to the contract; then: "
               "python -m pipelines receive {dataset} FILE --source {source} --batch-date {batch_date} --correct, "
               "or, after a change of the contract: python -m pipelines ingest {dataset}",
    "superseded": "Nothing: a later revision replaced it.",
}
_BY_HAND = re.compile(r"python -m pipelines receive \{dataset\} FILE --source \{source\} --batch-date \{batch_date\} --correct")
_EXTRACT = "python -m pipelines extract {dataset} --source {source} --batch-date {batch_date} --again"


def status(desk: Desk | None = None) -> dict[str, Any]:
    """Per dataset the sums over its latest accepted batch of every stream, batches that are held, and the release."""
    desk = desk or Desk.open()
    t, r, d = tables.batches, tables.releases, tables.release_datasets
    rows = desk.ledger.rows(sa.select(t).order_by(t.c.batch_date, t.c.sequence, t.c.revision))
    newest = desk.ledger.rows(sa.select(r).where(r.c.state == "published").order_by(r.c.release_id.desc()).limit(1))
    published = desk.ledger.rows(sa.select(d).where(d.c.release_id == newest[0]["release_id"])) if newest else []
    pins = {p["dataset"]: p for p in published}
    seconds = _seconds(desk)
    return {"datasets": [_dataset_status(one.id, rows, seconds, pins.get(one.id)) for one in datasets(desk.project)],
            "release": newest[0] if newest else None, "database": str(desk.lake.database),
            "reports": str(desk.lake.reports / "index.html"), "inbox": _inbox(desk), "problems": _problems(desk)}


def _problems(desk: Desk) -> dict[str, int]:
    """How many problems departments have to mend, and how many of them are overdue."""
    rows = problems.listing(desk)
    return {"open": len(rows), "overdue": sum(r["overdue"] for r in rows)}


def _inbox(desk: Desk) -> list[dict[str, Any]]:
    """Per dataset and code, how many files are left in the inbox since somebody last looked."""
    t = tables.inbox
    return desk.ledger.rows(sa.select(t.c.dataset, t.c.code, sa.func.sum(t.c.files).label("files")).group_by(t.c.dataset, t.c.code).order_by(
        t.c.dataset, t.c.code))


def _seconds(desk: Desk) -> dict[str, float]:
    s = tables.steps
    rows = desk.ledger.rows(sa.select(s.c.subject, sa.func.sum(s.c.seconds).label("seconds")).group_by(s.c.subject))
    return {row["subject"]: row["seconds"] or 0.0 for row in rows}


def _dataset_status(dataset_id: str, rows: list[dict], seconds: dict[str, float], pin: dict | None) -> dict[str, Any]:
    mine = [r for r in rows if r["dataset"] == dataset_id]
    latest = {BatchId.parse(r["batch_id"]).stream: r for r in mine if r["state"] == "accepted"}.values()

    def total(*names: str) -> int:
        return sum(r[n] or 0 for r in latest for n in names)

    scored = [r for r in latest if r["score"] is not None]
    weight = sum(r["records"] for r in scored)
    return {
        "dataset": dataset_id, "read": total("records", "unparseable"), "accepted": total("accepted"), "repaired": total("repaired"),
        "duplicates": total("copies", "superseded"), "quarantined": total("quarantined", "unparseable"), "deletes": total("deletes"),
        "score": round(sum(r["score"] * r["records"] for r in scored) / weight, 4) if weight else None,
        "seconds": round(sum(seconds.get(r["batch_id"], 0.0) for r in latest), 1),
        "held": sum(r["state"] in ("held", "refused") for r in mine),
        "current": pin["rows"] if pin else None, "as of": pin["as_of"] if pin else None,
    }


def why(batch_id: str, desk: Desk | None = None) -> dict[str, Any]:
    """The ledger's story of the latest revision of a batch.

    Raises:
        WrongUse: the ledger knows no such batch; the message lists the nearest.
    """
    desk = desk or Desk.open()
    batch = desk.ledger.batch(batch_id)
    if batch is None:
        t = tables.batches
        known = [r["batch_id"] for r in desk.ledger.rows(sa.select(t.c.batch_id).distinct())]
        same = [k for k in known if k.startswith(batch_id.partition("~")[0])] or known
        raise WrongUse(f"The ledger knows no batch {batch_id!r}. It knows {len(known)}" + (f", such as {same[-1]}." if known else "."))
    found = read_dataset(batch["dataset"], desk.project)
    rules, log = tables.rule_results, tables.steps
    failing = desk.ledger.rows(sa.select(rules).where(
        rules.c.batch_id == batch_id, rules.c.revision == batch["revision"], rules.c.failed > 0).order_by(rules.c.outcome, rules.c.failed.desc()))
    story = desk.ledger.rows(sa.select(log).where(log.c.subject == batch_id, log.c.revision == batch["revision"]).order_by(log.c.id))
    a = tables.approvals
    approvals = desk.ledger.rows(sa.select(a).where(a.c.batch_id == batch_id, a.c.revision == batch["revision"]).order_by(a.c.id))
    files = desk.ledger.rows(sa.select(tables.files).where(
        tables.files.c.batch_id == batch_id, tables.files.c.revision == batch["revision"]).order_by(tables.files.c.file))
    sender = found.source(batch["source"])
    department = sender.department
    report = desk.lake.reports / found.id / f"{batch_id}-r{batch['revision']}.html"
    case = _case(batch)
    remedy = (_BY_HAND.sub(_EXTRACT, REMEDY[case]) if sender.database else REMEDY[case]).format(
        **batch, department=department, report=report, rules=found.id.replace(".", "/"), pack=_pack(desk, batch, department))
    return {"batch": batch, "name": found.name, "department": department, "failing": failing, "files": files, "steps": story, "remedy": remedy, "approvals": approvals,
            "problems": [{"id": p["id"], "rule": p["rule"], "state": p["state"]} for p in problems.listing(desk, department, found.id)]}


def _case(batch: dict[str, Any]) -> str:
    """Which remedy fits: a held batch has one by what holds it."""
    if batch["state"] != "held":
        return batch["state"]
    return UNSOUND if batch["code"] == UNSOUND else batch["decided_by"] if batch["decided_by"] in (CLOSING, FOLDING, "stage") else "held"


def _pack(desk: Desk, batch: dict[str, Any], department: str) -> str:
    """What is said of the batch's feedback pack."""
    f = tables.feedback
    made = desk.ledger.rows(sa.select(f).where(f.c.batch_id == batch["batch_id"], f.c.revision == batch["revision"]))
    if not made and not (batch["quarantined"] or 0) + (batch["unparseable"] or 0):
        return "No row is in quarantine."
    place = f"inbox/{batch['dataset']}/{batch['source']}/{batch['batch_date']}/更正/"
    where = f"its rows lie for {department} in {made[0]['path']}" if made else f"make it for {department}: python -m pipelines feedback {batch['batch_id']}"
    return f"Feedback pack: {where}; corrected rows come back with their tickets in {place}."


def query(sql: str, desk: Desk | None = None, release: int | None = None) -> dict[str, Any]:
    """Columns and rows of one query on the published database, opened read-only.

    Args:
        release: ask this kept release instead of the one shown.

    Raises:
        WrongUse: nothing is published, the release is not kept, or the query is not accepted by the engine.
    """
    import duckdb

    desk = desk or Desk.open()
    if not desk.lake.database.exists():
        raise WrongUse("Nothing is published yet. Run: python -m pipelines release")
    if release is not None and release not in (kept := [m["release_id"] for m in publication.kept(desk.lake)]):
        raise WrongUse(f"Release {release} is not kept. Kept releases: {', '.join(map(str, kept))}.")
    con = connect(desk.lake.database if release is None else publication.folder(desk.lake, release) / "lake.duckdb", read_only=True)
    try:
        found = con.execute(sql)
        return {"columns": [c[0] for c in found.description], "rows": [list(row) for row in found.fetchall()]}
    except duckdb.Error as error:
        let_pass(error)
        raise WrongUse(str(error)) from None
    finally:
        con.close()
