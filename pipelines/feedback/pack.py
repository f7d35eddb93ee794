"""Making a feedback pack 反馈包: the failing rows of one batch, as their department submitted them, with what to correct.

Rows are read from landing by address, corrections that came before put in. Two lists: 待更正 (in quarantine, and lines that could not be
read) and 提示 (accepted, failing a rule that warns). A workbook and CSV files, or the encrypted workbook alone. Made in staging/, put into
the outbox by a rename, then entered in the ledger; making it again gives the same pack. Logs and the ledger get counts and the path.
"""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import committing, ledger_tables as tables, staged_batches
from pipelines.compiler import Plan
from pipelines.desk import Desk
from pipelines.feedback import lists, outbox, tickets, workbook
from pipelines.locks import writer
from pipelines.settings import WrongUse
from pipelines.sql import connect

AUTOMATIC = 100_000  # rows up to which a pack is made without being asked for
_JUDGED = ("accepted", "held")


def make(batch_id: str, desk: Desk | None = None) -> dict[str, Any]:
    """Make the pack of a batch's newest judged revision.

    Returns:
        {"batch_id", "revision", "department", "rows", "warned", "path" (None: no row fails), "encrypted", "files"}.

    Raises:
        WrongUse: the ledger knows no such batch, it is not judged or was refused, or its encryption has no key.
    """
    desk = desk or Desk.open()
    row = _judged(desk, batch_id)
    plan = desk.plan(row["dataset"])
    source = plan.dataset.source(row["source"])
    with writer(desk.lake, plan.dataset.id), desk.ledger.step(batch_id, "feedback", row["revision"]) as detail:
        password = workbook.key(source.source) if source.encrypt_feedback else None
        made = _make(desk, plan, row, password)
        detail |= {k: made[k] for k in ("rows", "warned", "encrypted")}
    return made


def make_waiting(dataset_id: str, desk: Desk | None = None) -> list[dict[str, Any]]:
    """Make the packs that no one has made: of the newest revisions that were accepted or held with rows in quarantine or lines not read.

    Returns:
        What `make` returns; for one that could not be made {"batch_id", "revision", "trouble"} instead.
    """
    desk, found = desk or Desk.open(), []
    t, f = tables.batches, tables.feedback
    newest = sa.select(t.c.batch_id, sa.func.max(t.c.revision).label("revision")).where(t.c.dataset == dataset_id).group_by(t.c.batch_id).subquery()
    query = sa.select(t).join(newest, (newest.c.batch_id == t.c.batch_id) & (newest.c.revision == t.c.revision)).outerjoin(
        f, (f.c.batch_id == t.c.batch_id) & (f.c.revision == t.c.revision)).where(
        t.c.state.in_(_JUDGED), f.c.id.is_(None), sa.func.coalesce(t.c.quarantined, 0) + sa.func.coalesce(t.c.unparseable, 0) > 0).order_by(t.c.batch_id)
    for row in desk.ledger.rows(query):
        lost = (row["quarantined"] or 0) + (row["unparseable"] or 0)
        if lost > AUTOMATIC or not tickets.file(desk.lake, row["batch_id"], row["revision"]).exists():      # of an earlier program: not all at once
            continue
        try:
            found.append(make(row["batch_id"], desk))
        except WrongUse as error:
            found.append({"batch_id": row["batch_id"], "revision": row["revision"], "trouble": str(error)})
    return found


def _judged(desk: Desk, batch_id: str) -> dict[str, Any]:
    """The newest revision's ledger row."""
    row = desk.ledger.batch(batch_id)
    if row is None:
        raise WrongUse(f"The ledger knows no batch {batch_id!r}. See: python -m pipelines status")
    if row["state"] == "refused":
        raise WrongUse(f"{batch_id} r{row['revision']} was refused: none of its rows was read. See: python -m pipelines why {batch_id}")
    if row["state"] not in _JUDGED:
        raise WrongUse(f"{batch_id} r{row['revision']} is not judged yet. Run: python -m pipelines ingest {row['dataset']}")
    return row


def _make(desk: Desk, plan: Plan, row: dict[str, Any], password: str | None) -> dict[str, Any]:
    batch_id, revision = row["batch_id"], row["revision"]
    source = plan.dataset.source(row["source"])
    told = {"batch_id": batch_id, "revision": revision, "department": source.department, "encrypted": bool(password)}
    given = _tickets(desk, batch_id, revision)
    work = desk.lake.staging / f".feedback-{plan.dataset.id}"
    shutil.rmtree(work, ignore_errors=True)
    (work / "pack").mkdir(parents=True, mode=0o700)
    (work / "scratch").mkdir()
    con = connect(temp=work / "scratch")
    try:
        rows, warned = lists.gather(con, desk, plan, row, given, work / "scratch")
        if not rows + warned:
            return told | {"rows": 0, "warned": 0, "path": None, "files": []}
        stem = f"{plan.dataset.id}_{row['part']}_{row['batch_date']}" if row["part"] != "all" else f"{plan.dataset.id}_{row['batch_date']}"
        digest = lists.write(con, work / "pack", stem, desk.project, plan, row, _notes(desk, plan, row, (rows, warned)))
        if password:
            _encrypt(work / "pack", password)
    finally:
        con.close()
    final = outbox.pack_folder(desk.lake, source.department, batch_id, revision)
    outbox.place(desk.lake, source.department, work / "pack", final)
    shutil.rmtree(work, ignore_errors=True)
    path = str(final.relative_to(desk.lake.home))
    desk.ledger.add_feedback(batch_id=batch_id, revision=revision, department=source.department, rows=rows, path=path, sha256=digest,
                             encrypted=int(bool(password)))
    return told | {"rows": rows, "warned": warned, "path": path, "files": sorted(p.name for p in final.iterdir())}


def _tickets(desk: Desk, batch_id: str, revision: int) -> Path | None:
    """The tickets of a batch; made from what is left of it where it was judged by an earlier program."""
    path = tickets.file(desk.lake, batch_id, revision)
    staged, quarantined = staged_batches.folder(desk.lake, batch_id, revision), committing.quarantine_file(desk.lake, batch_id, revision)
    left = next((p for p in (staged, quarantined) if p.exists()), None)
    if not path.exists() and left is not None:
        tickets.enter(desk, {(batch_id, revision): left})
    return path if path.exists() else None


def _notes(desk: Desk, plan: Plan, row: dict[str, Any], counts: tuple[int, int]) -> list[tuple[str, str]]:
    """The sheet 填报说明: what this is, what to do, where to put it."""
    d, r = plan.dataset, tables.rule_results
    source, mine = d.source(row["source"]), (r.c.batch_id == row["batch_id"]) & (r.c.revision == row["revision"])
    forms = desk.ledger.rows(sa.select(r.c.zh, r.c.failed).where(mine, r.c.reason == tickets.FORM, r.c.failed > 0).order_by(r.c.failed.desc(), r.c.zh))
    return [
        ("反馈包 Feedback pack", f"{source.department}　{d.name}（{d.id}）　报送日期 {row['batch_date']}"),
        ("报送批次 Batch", f"{row['batch_id']} 第 {row['revision']} 次"),
        ("待更正 To correct", f"{counts[0]:,} 行未入库，请逐行更正后退回。{counts[0]:,} rows are not in the lake: correct and return them."),
        ("提示 Please check", f"{counts[1]:,} 行已入库但有疑问，核对后可同样退回。{counts[1]:,} rows are in the lake and look doubtful; correct them in the same way."
                            + (f"只列出前 {lists.WARNED:,} 行。" if counts[1] >= lists.WARNED else "")),
        *((("另 Also", f"“{one['zh']}”有 {one['failed']:,} 行不符，已按标准形式转换，不必逐行更正，请改进导出。")) for one in forms),
        ("怎样更正 How", "只改数据列，改成正确的值；“回执”一列不要改动、不要删除，它说明该行是哪一行。Change the data columns only; keep the column 回执."),
        ("", "“待更正”中无法读取的行（有“原文”列）请按各列填写完整。Fill in a line that could not be read column by column."),
        ("", "不应报送的行，在“处理”列填“删除”。Write 删除 under 处理 for a row that should not have been sent."),
        ("", "暂时改不了的行，可从表中删去，以后再退。Rows may be left out and returned later."),
        ("退回 Return", f"存为 xlsx 或 csv，放入 inbox/{d.id}/{source.source}/{row['batch_date']}/更正/ ，文件名任意。Save as xlsx or csv and put it there; any name will do."),
        ("注意 Note", "本文件含本部门报送的原始数据，请按原数据的密级保管。It holds what your department submitted: keep it as you keep that."),
    ]


def _encrypt(folder: Path, password: str) -> None:
    """Leave the encrypted workbook alone in the folder: a CSV file cannot be encrypted."""
    for file in list(folder.iterdir()):
        if file.suffix == ".xlsx":
            plain = folder.with_name("plain.xlsx")
            file.rename(plain)
            workbook.encrypt(plain, file, password)
            plain.unlink()
        else:
            file.unlink()
