"""通知: what changed about a department's problems, in one message per department, channel and run; nothing when nothing changed.

Told once: that a problem was opened, opened again, verified, or that its waiver expired. A department hears of its own problems, the
supervisor of what is overdue. What was told stands in `ledger_alert_items`; what failed to be sent is told by the next run, as it is
then. A run that died while it sent sends that message again, with the same Message-ID: nothing is lost, and after success nothing comes twice.
"""
from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa

from pipelines import channels, ledger_tables as tables, problems, waivers
from pipelines.channels import Message, NotSent, Office
from pipelines.contract import datasets
from pipelines.desk import Desk
from pipelines.ledger import now, today
from pipelines.lifecycle import ACTIVE, LAKE, OPEN, VERIFIED
from pipelines.locks import writer

OPENED, REOPENED, MENDED, OVERDUE, ENDED = "opened", "reopened", "verified", "overdue", "ended"
WORDS = {OPENED: ("新增", "opened"), REOPENED: ("重开", "opened again"), MENDED: ("核验通过", "verified"), OVERDUE: ("逾期", "overdue"), ENDED: ("豁免到期", "waiver expired")}
SENDING, SENT, FAILED, UNKNOWN = "sending", "sent", "failed", "unknown"
LINES = 20


class Item(NamedTuple):
    """One thing to tell. `openings`: how often the problem had been opened by then."""

    subject: str
    change: str
    openings: int
    row: dict[str, Any]


def send(desk: Desk | None = None, day: str | None = None, dry: bool = False) -> list[dict[str, Any]]:
    """Tell every department what changed since it was told last.

    Args:
        day: today, ISO date (default: by the clock).
        dry: send and record nothing, end no waiver; the messages are in the result.

    Returns:
        Per message: department, channel (None where none is set up), outcome, subject, counts by change; `text` when dry.
    """
    desk, day = desk or Desk.open(), day or today()
    if dry:
        return [_told(office, None, "dry", items, message) | {"text": message.text} for office, items, message in _messages(desk, day, None)]
    with writer(desk.lake, "alerts"):
        _note_dead(desk)
        waivers.expire(desk, day)
        problems.refresh(desk, day)
        done = []
        for channel in ("mail", "webhook"):
            for office, items, message in _messages(desk, day, channel):
                if way := channels.of(office).get(channel):
                    done.append(_told(office, channel, _send_one(desk, office, channel, way, items, message), items, message))
        unheard = {o.department: (o, items, m) for o, items, m in _messages(desk, day, None) if not channels.of(o)}
    return done + [_told(o, None, "no channel", items, m) for o, items, m in unheard.values()]


def _messages(desk: Desk, day: str, channel: str | None) -> Iterable[tuple[Office, list[Item], Message]]:
    """Whom to tell what, over one channel; without a channel, all that stands open."""
    offices, supervisor = channels.offices(desk.project)
    rows, told = problems.listing(desk, state="all", day=day), _already(desk, channel)
    openings, names = _openings(desk), {d.id: d.name for d in datasets(desk.project)}
    ended = _ended(desk)
    for department in sorted({r["department"] for r in rows} | {w["department"] for w in ended}):
        mine = [r for r in rows if r["department"] == department]
        items = [i for r in mine if (i := _change(r, openings.get(r["id"], 0), told.get((department, f"problem:{r['id']}"), [])))]
        items += [Item(f"waiver:{w['id']}", ENDED, 0, w) for w in ended if w["department"] == department and (department, f"waiver:{w['id']}") not in told]
        if items:
            late = sum(r["overdue"] for r in mine)
            yield _pair(offices.get(department, Office(department)), items, late, names)
    if supervisor:
        late = [Item(f"problem:{r['id']}", OVERDUE, openings.get(r["id"], 0), r) for r in rows if r["overdue"]]
        items = [i for i in late if (OVERDUE, i.openings) not in told.get((supervisor.department, i.subject), [])]
        if items:
            yield _pair(supervisor, items, len(late), names)


def _change(row: dict[str, Any], openings: int, told: list[tuple[str, int]]) -> Item | None:
    """What is new about one problem since its department was told."""
    last = next((t for t in reversed(told) if t[0] in (OPENED, REOPENED, MENDED)), None)
    change = None
    if row["state"] in ACTIVE:
        change = OPENED if last is None else REOPENED if last[0] == MENDED or openings > last[1] else None
    elif row["state"] == VERIFIED and last and last[0] != MENDED:
        change = MENDED
    return Item(f"problem:{row['id']}", change, openings, row) if change else None


def _already(desk: Desk, channel: str | None) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """(department, subject) → what it was told over this channel, oldest first."""
    a, i, found = tables.alerts, tables.alert_items, {}
    query = sa.select(a.c.department, i.c.subject, i.c.change, i.c.openings).join(i, i.c.alert == a.c.id).where(
        a.c.outcome == SENT, a.c.channel == channel if channel else sa.true()).order_by(a.c.id)
    for row in desk.ledger.rows(query):
        found.setdefault((row["department"], row["subject"]), []).append((row["change"], row["openings"]))
    return found


def _openings(desk: Desk) -> dict[int, int]:
    e = tables.problem_events
    query = sa.select(e.c.problem, sa.func.count().label("n")).where(e.c.state == OPEN, e.c.by == LAKE).group_by(e.c.problem)
    return {r["problem"]: r["n"] for r in desk.ledger.rows(query)}


def _ended(desk: Desk) -> list[dict[str, Any]]:
    """Waivers that expired by themselves; what an officer ended he knows."""
    found = {d.id: d for d in datasets(desk.project)}
    rows = [w for w in waivers.listing(desk) if w["ended_reason"] == waivers.EXPIRED and w["dataset"] in found]
    return [w | {"department": problems.department_of(found[w["dataset"]], w["source"])} for w in rows]


def _pair(office: Office, items: list[Item], late: int, names: dict[str, str]) -> tuple[Office, list[Item], Message]:
    items = sorted(items, key=lambda i: (list(WORDS).index(i.change), i.row["dataset"], i.row["rule"]))
    counts = Counter(i.change for i in items)
    subject = f"【数据体检】{office.department}：" + "，".join(f"{WORDS[c][0]} {n}" for c, n in counts.items())
    where = (os.environ.get("LAKE_REPORTS_URL") or "reports").rstrip("/")
    lines = [_line(i, names, where) for i in items[:LINES]] + ([f"…另有 {len(items) - LINES} 项 and {len(items) - LINES} more"] if len(items) > LINES else [])
    lines += [f"目前逾期 {late} 项。{late} overdue now."] if late else []
    lines += ["", f"请于期限前更正数据重报，或说明情况；逐行清单见反馈包。Send corrected data before the day given, or say why not. 页面 pages: {where}/index.html",
              "python -m pipelines problems"]
    text = "\n".join(lines)
    return office, items, Message(subject, text, hashlib.sha256("\x1f".join((subject, text, *(f"{i.subject}{i.change}{i.openings}" for i in items))).encode()).hexdigest())


def _line(item: Item, names: dict[str, str], where: str) -> str:
    r, (zh, en) = item.row, WORDS[item.change]
    name = f"{names.get(r['dataset'], '')} {r['dataset']}".strip()
    if item.change == ENDED:
        return f"{zh} {en} · {name} · {r['rule']} · 豁免 waiver {r['id']}（{r['document']}），截止 {r['expires_on']}"
    counts = f"{r['failed'] or 0:,}/{r['applicable'] or 0:,} 不合格 fail，期限 due {r['due_on']}" if item.change != MENDED else "已合格 holds"
    page = f" · {where}/{r['dataset']}/{r['batch_id']}-r{r['revision']}.html" if r["batch_id"] else ""
    owner = f"{r['department']} · " if item.change == OVERDUE else ""
    return f"{zh} {en} · {owner}{name} · {r['rule']} {r['zh'] or ''}：{counts} · 问题单 problem {r['id']}{page}"


def _send_one(desk: Desk, office: Office, channel: str, way: Any, items: list[Item], message: Message) -> str:
    """Record that a message is being sent, send it, record what came of it."""
    a, counts = tables.alerts, Counter(i.change for i in items)
    with desk.ledger.transaction() as con:
        number = con.execute(a.insert().values(department=office.department, channel=channel, sent_at=now(), digest=message.digest, outcome=SENDING,
                                               **{c: counts.get(c, 0) for c in WORDS})).inserted_primary_key[0]
        con.execute(tables.alert_items.insert(), [{"alert": number, "subject": i.subject, "change": i.change, "openings": i.openings} for i in items])
    try:
        way(message)
        outcome = SENT
    except NotSent as error:
        outcome = f"{FAILED}: {error}"
    with desk.ledger.transaction() as con:
        con.execute(a.update().where(a.c.id == number).values(outcome=outcome, sent_at=now()))
    return outcome


def _note_dead(desk: Desk) -> None:
    """Of a message that was being sent by a run that died nobody knows whether it arrived: it is told again."""
    a = tables.alerts
    with desk.ledger.transaction() as con:
        con.execute(a.update().where(a.c.outcome == SENDING).values(outcome=UNKNOWN))


def _told(office: Office, channel: str | None, outcome: str, items: list[Item], message: Message) -> dict[str, Any]:
    counts = Counter(i.change for i in items)
    return {"department": office.department, "channel": channel, "outcome": outcome, "subject": message.subject, **{c: counts.get(c, 0) for c in WORDS}}
