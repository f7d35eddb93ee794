"""Commands of the quality officer: problems, waivers, approvals, checks, new codes, packs, pages and alerts. What they print holds counts, rule names and batches."""
from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import show
from pipelines.settings import WrongUse

DONE, HELD = 0, 1
ACTS = {"take": "in_progress", "mended": "mended", "false_alarm": "false_alarm", "reopen": "open"}
Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def register(command: Command) -> None:
    """Add these commands to the command line."""
    listed = command("problems", _problems, "问题单: what departments must mend, since when, until when")
    listed.add_argument("--department", help="only this department")
    listed.add_argument("--dataset", help="only this dataset")
    listed.add_argument("--state", help="open 待整改, in_progress 整改中, mended 已整改, verified 已核验, false_alarm 误报, waived 豁免, all (default: the first three)")
    one = command("problem", _problem, "the story of one problem, or change it")
    one.add_argument("id", type=int)
    act = one.add_mutually_exclusive_group()
    act.add_argument("--take", action="store_const", dest="act", const="take", help="整改中: work has begun")
    act.add_argument("--mended", action="store_const", dest="act", const="mended", help="已整改: the next batch will verify it")
    act.add_argument("--false-alarm", action="store_const", dest="act", const="false_alarm", help="误报: closed until the rule changes")
    act.add_argument("--reopen", action="store_const", dest="act", const="reopen", help="待整改: take the last step back")
    one.add_argument("--by", default="", help="who; it stands in the ledger")
    one.add_argument("--note", default="", help="what was found or done; analysts can read it")
    waive = command("waive", _waive, "豁免: let rows that fail a rule pass, for a reason and until a day; or end that")
    waive.add_argument("dataset", nargs="?")
    waive.add_argument("rule", nargs="?")
    for flag, about in (("source", "whose rows: slug, department name or USCC"), ("owner", "who answers for it"), ("document", "number of the decision"),
                        ("reason", "why; analysts can read it"), ("until", "last batch date it holds for, YYYY-MM-DD"), ("by", "who grants it")):
        waive.add_argument(f"--{flag}", default="", help=about)
    waive.add_argument("--part", help="only this part of the source")
    waive.add_argument("--keys", type=Path, metavar="FILE", help="only these records: one key a line, key columns separated by commas")
    waive.add_argument("--end", type=int, metavar="ID", help="instead: end this waiver, with --reason")
    command("waivers", _waivers, "every waiver, those in force first")
    approve = command("approve", _approve, "放行: release a batch that the gate holds, or confirm the hold")
    approve.add_argument("batch_id")
    approve.add_argument("--hold", action="store_true", help="维持扣留: it stays out")
    approve.add_argument("--by", default="", help="who decides")
    approve.add_argument("--reason", default="", help="why; analysts can read it")
    fresh = command("new-values", _new_values, "新值: codes that no list holds yet, and the command that accepts each")
    fresh.add_argument("dataset", nargs="?", help="default: all")
    alert = command("alert", _alert, "通知: tell departments what changed about their problems, once")
    alert.add_argument("--dry-run", action="store_true", help="print the messages; send and record nothing")
    look = command("checks", _checks, "what can only be seen beyond one batch: other datasets, earlier batches, delivery times, leads")
    look.add_argument("datasets", nargs="*", metavar="DATASET", help="default: all")
    look.add_argument("--as-of", metavar="DATE", help="day at which deliveries count as late (default: today)")
    taken = command("accept-value", _accept_value, "take a code into the list of a column, for this lake; held batches are judged again by ingest")
    taken.add_argument("dataset", nargs="?")
    taken.add_argument("column", nargs="?")
    taken.add_argument("value", nargs="?")
    taken.add_argument("--label", default="", help="what the code means")
    taken.add_argument("--document", default="", help="number of the document that introduces it")
    taken.add_argument("--by", default="", help="who decides")
    taken.add_argument("--revoke", type=int, metavar="ID", help="instead: take this acceptance back")
    feedback = command("feedback", _feedback, "make the pack of a batch's failing rows for its department, in outbox/")
    feedback.add_argument("batch_id")
    pages = command("site", _site, "bring the quality officer's pages up to date, those of all batches included")
    pages.add_argument("--today", metavar="DATE", help="by which day a source is late, YYYY-MM-DD (default: today)")
    health = command("health-check", _health_check, "write the monthly health checks 体检报告 of departments and divisions, as pages and PDF")
    health.add_argument("month", help="of batch dates, YYYY-MM")
    health.add_argument("--no-pdf", action="store_true", help="pages only")


def _print(options: argparse.Namespace, result: Any, as_text: Callable[[Any], str]) -> None:
    print(json.dumps(result, ensure_ascii=False, default=str) if options.json else as_text(result))


def _problems(options: argparse.Namespace) -> int:
    from pipelines import problems
    from pipelines.desk import Desk

    _print(options, problems.listing(Desk.open(), options.department, options.dataset, options.state), problems_text)
    return DONE


def _problem(options: argparse.Namespace) -> int:
    from pipelines import problems
    from pipelines.desk import Desk

    desk = Desk.open()
    if options.act:
        problems.act(desk, options.id, ACTS[options.act], options.by, options.note)
    _print(options, problems.story(desk, options.id), problem_text)
    return DONE


def _waive(options: argparse.Namespace) -> int:
    from pipelines import waivers
    from pipelines.desk import Desk
    desk = Desk.open()
    if options.end is not None:
        _print(options, waivers.end(desk, options.end, options.reason), lambda w: f"Waiver {w['id']} of {w['rule']} has ended. {_again(w)}")
        return DONE
    if not options.dataset or not options.rule:
        raise WrongUse("Name dataset and rule: python -m pipelines waive DATASET RULE --source S --owner … --document … --reason … --until DATE --by …")
    given = {k: getattr(options, k) for k in ("source", "owner", "document", "reason", "until", "by", "part", "keys")}
    _print(options, waivers.grant(desk, options.dataset, options.rule, **given), granted_text)
    return DONE


def _waivers(options: argparse.Namespace) -> int:
    from pipelines import waivers
    from pipelines.desk import Desk

    _print(options, waivers.listing(Desk.open()), waivers_text)
    return DONE


def _approve(options: argparse.Namespace) -> int:
    from pipelines import approvals
    from pipelines.desk import Desk

    decision = approvals.HOLD if options.hold else approvals.RELEASE
    _print(options, approvals.decide(Desk.open(), options.batch_id, decision, options.by, options.reason), approved_text)
    return DONE


def approved_text(row: dict[str, Any]) -> str:
    """What became of the batch and how it goes on."""
    name = f"{row['batch_id']} r{row['revision']}"
    if row["state"] == "held":
        return f"{name} stays held. A corrected file replaces it."
    return f"{name} is released. Commit it: python -m pipelines ingest {row['dataset']}, then python -m pipelines release"


def _new_values(options: argparse.Namespace) -> int:
    from pipelines import new_values
    from pipelines.desk import Desk

    _print(options, new_values.listing(Desk.open(), options.dataset), new_values.text)
    return DONE


def _alert(options: argparse.Namespace) -> int:
    from pipelines import alerts
    from pipelines.desk import Desk

    done = alerts.send(Desk.open(), dry=options.dry_run)
    _print(options, done, alerts_text)
    return HELD if any(one["outcome"].startswith(alerts.FAILED) for one in done) else DONE


def alerts_text(done: list[dict[str, Any]]) -> str:
    """One line per message, and the message itself in a dry run."""
    lines = []
    for one in done:
        lines.append(f"{one['subject']}  {one['channel'] or ''} {one['outcome']}".rstrip())
        lines += [f"  {line}" for line in one.get("text", "").splitlines()]
    if any(one["outcome"] == "no channel" for one in done):
        lines.append("Departments without a channel hear nothing: set LAKE_SMTP or LAKE_ALERT_WEBHOOK_DEFAULT, see docs/problems.md.")
    if any(one["outcome"].startswith("failed") for one in done):
        lines.append("What was not sent is sent by the next run of: python -m pipelines alert")
    return "\n".join(lines) or "Nothing changed: nobody has to be told."


def granted_text(w: dict[str, Any]) -> str:
    """What a waiver covers and what makes it take effect."""
    what = f"{w['keys']:,} records" if w["keys"] else "every row"
    return f"Waiver {w['id']}: {what} of {w['dataset']} from {w['source']} {w['part'] or ''} may fail {w['rule']} in batches dated up to {w['expires_on']}. {_again(w)}"


def _again(w: dict[str, Any]) -> str:
    return (f"Held batches are judged again by: python -m pipelines ingest {w['dataset']}; accepted ones by: python -m pipelines backfill {w['dataset']} "
            "--from DATE --to DATE")


def waivers_text(rows: list[dict[str, Any]]) -> str:
    """One line per waiver."""
    columns = ["id", "dataset", "rule", "source", "part", "records", "until", "document", "owner", "ended"]
    shown = [[str(w["id"]), w["dataset"], w["rule"], w["source"], w["part"] or "all", w["keys"] or "all", w["expires_on"], w["document"], w["owner"], w["ended_reason"]] for w in rows]
    return show.table({"columns": columns, "rows": shown, "count": False}) if rows else "There is no waiver."


def problems_text(rows: list[dict[str, Any]]) -> str:
    """One line per problem."""
    columns = ["id", "state", "department", "dataset", "rule", "zh", "failed", "of", "since", "due", "reopened"]
    shown = [[r["id"], r["words"], r["department"], r["dataset"], r["rule"], r["zh"], r["failed"], r["applicable"], r["opened_at"][:10],
              r["due_on"] + (" 逾期 overdue" if r["overdue"] else ""), r["reopened"]] for r in rows]
    table = show.table({"columns": columns, "rows": [[str(v) if c in ("id", "reopened") else v for c, v in zip(columns, row)] for row in shown], "count": False})
    return (table if rows else "No such problem.") + "\nOne of them: python -m pipelines problem ID"


def problem_text(found: dict[str, Any]) -> str:
    """The story of a problem and what can be done."""
    p = found["problem"]
    rate = "" if p["pass_rate"] is None else f", pass rate {p['pass_rate']:.4f} of at least {p['at_least']:g}"
    lines = [f"Problem {p['id']}: {p['words']} {p['state']}", f"{p['department']} · {p['dataset']} · {p['rule']} — {p['zh']} ({p['en']}), {p['severity']}",
             f"{p['failed'] or 0:,} of {p['applicable'] or 0:,} rows fail{rate}; last result: {p['batch_id'] or p['batch_date']}",
             f"open since {p['opened_at']}, due {p['due_on']}{' (逾期 overdue)' if p['overdue'] else ''}, re-opened {p['reopened']} times"]
    lines += [f"{e['at']}  {e['state']:<11}  {e['by']}  {e['note'] or ''}{'  ' + e['batch_id'] if e['batch_id'] else ''}" for e in found["events"]]
    lines += [f"waiver {w['id']}: {w['source']} {w['part'] or ''}, {w['document']}, until {w['expires_on']}" + (f", ended: {w['ended_reason']}" if w["ended_at"] else "")
              for w in found["waivers"]]
    return "\n".join([*lines, f"What to do: {_remedy(p)}"])


def _remedy(p: dict[str, Any]) -> str:
    if p["state"] in ("verified", "waived"):
        return "nothing."
    change = f"python -m pipelines problem {p['id']} --by NAME --note TEXT"
    if p["state"] == "false_alarm":
        return f"nothing, until the rule changes. If it is none: {change} --reopen"
    why = f" Where and why: python -m pipelines why '{p['batch_id']}'." if p["batch_id"] else ""
    free = f" To release it as it is: python -m pipelines approve '{p['batch_id']}' --by NAME --reason TEXT." if p["rule"] == "batch.held" else ""
    return (f"{p['department']} sends a corrected or a later batch, which verifies it.{why}{free} Say how it goes: {change} --take, --mended or --false-alarm; "
            f"lawful exceptions: python -m pipelines waive {p['dataset']} {p['rule']} --help")


def _checks(options: argparse.Namespace) -> int:
    from pipelines import checks

    _print(options, checks.run(None, options.datasets, options.as_of), show.checks)
    return DONE


def _accept_value(options: argparse.Namespace) -> int:
    from pipelines import accepting

    if options.revoke is not None:
        _print(options, accepting.revoke(options.revoke), lambda r: f"{r['value']} is out of the list {r['list']} again. Rows accepted with it stay until: "
                                                                    f"python -m pipelines rebuild {r['dataset']}")
    elif not (options.dataset and options.column and options.value):
        raise WrongUse("Name the dataset, the column and the value: python -m pipelines accept-value DATASET COLUMN VALUE --label … --document … --by …")
    else:
        found = accepting.accept(options.dataset, options.column, options.value, options.label, options.document, options.by)
        _print(options, found, lambda r: f"{r['value']} ({r['label']}) is in the list {r['list']} as acceptance {r['id']}. Batches held because of it: "
                                         f"python -m pipelines ingest {r['dataset']}")
    return DONE


def _feedback(options: argparse.Namespace) -> int:
    from pipelines.feedback.pack import make

    _print(options, make(options.batch_id), show.fed_back)
    return DONE


def _site(options: argparse.Namespace) -> int:
    from pipelines import pages, site
    from pipelines.batch import batch_date
    from pipelines.desk import Desk

    desk = Desk.open()
    pages.write_all(desk)
    _print(options, site.build(desk, today=batch_date(options.today) if options.today else None), lambda r: f"{r['pages']:,} pages. Open: {r['index']}")
    return DONE


def _health_check(options: argparse.Namespace) -> int:
    from pipelines.desk import Desk
    from pipelines.site import health

    _print(options, health.write(Desk.open(), options.month, not options.no_pdf), show.health_check)
    return DONE
