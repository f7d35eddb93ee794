"""The command line, `python -m pipelines`. Exit codes: 0 done, 1 held, refused or not now, 2 wrong use or contract, 3 fault.

Results go to standard output, as text or, with `--json`, as one JSON document; progress goes to standard error.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipelines import analyst, granting, officer, show, store
from pipelines.failures import tell
from pipelines.settings import Later, WrongUse
from pipelines.store import commands as stored

DONE, HELD, WRONG, FAULT = 0, 1, 2, 3
# How a command stands to a lake in an object store; the others change the lake.
LOOKING = ("status", "why", "query", "changes", "problems", "waivers", "new-values", "grants", "catalogue", "serve")
APART = ("check", "store", "restore", "token", "ask")
BATCH_DATE = "2026-11-01"


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        with nullcontext() if options.command in APART else store.session(looks=options.command in LOOKING):
            code = options.run(options)
        sys.stdout.flush()
        return code
    except Later as error:
        print(f"not now: {error}", file=sys.stderr)
        return HELD
    except WrongUse as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return FAULT
    except Exception as error:
        print(f"error: {tell(error)}", file=sys.stderr)
        return FAULT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="The government base-data lake.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=about, description=about)
        found.add_argument("--json", action="store_true", help="print one JSON document")
        found.set_defaults(run=run, command=name)
        return found

    checked = command("check", _check, "read every contract, rule, code list and view; list every error at once")
    checked.add_argument("--again", action="store_true", help="also prove what was proved before and has not changed since")
    sample = command("sample", _sample, "write synthetic submissions with planted defects into the inbox")
    sample.add_argument("--persons", type=int, default=20_000, help="size of the population (default 20,000)")
    sample.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes")
    sample.add_argument("--batch-date", default=BATCH_DATE, help=f"default {BATCH_DATE}")
    sample.add_argument("--months", type=int, default=1, help="how many monthly submissions, ending at the batch date")
    sample.add_argument("--out", type=Path, help="folder to write to (default: the lake's inbox)")
    receive = command("receive", _receive, "take a department's files into landing")
    receive.add_argument("dataset")
    receive.add_argument("files", nargs="+", type=Path, metavar="FILE")
    receive.add_argument("--source", required=True, help="sender: slug, department name or USCC")
    receive.add_argument("--batch-date", required=True, help="报送日期, YYYY-MM-DD")
    receive.add_argument("--part", help="region or kind; default: from the file name, where the contract says how")
    receive.add_argument("--sequence", type=int, help="which submission of that date (default: the next)")
    receive.add_argument("--correct", action="store_true", help="the files replace the last submission of that date")
    receive.add_argument("--revision", type=int, help="with --sequence: which correction this is")
    extract = command("extract", _extract, "read a dataset's databases into landing: what changed, or everything, as the contract says")
    extract.add_argument("dataset")
    extract.add_argument("--batch-date", required=True, help="报送日期, YYYY-MM-DD")
    extract.add_argument("--source", help="only this one: slug, department name or USCC")
    extract.add_argument("--again", action="store_true", help="read again although this date is in landing")
    ingest = command("ingest", _ingest, "take the inbox in, stage, judge and commit everything that waits")
    ingest.add_argument("dataset")
    ingest.add_argument("--batch-date", help="only this date")
    command("release", _release, "publish the last accepted state of every dataset")
    command("status", _status, "what came of every dataset's latest batches, and what is published")
    why = command("why", _why, "what happened to a batch and what to do")
    why.add_argument("batch_id")
    query = command("query", _query, "run one SQL query on the published lake.duckdb")
    query.add_argument("sql")
    query.add_argument("--release", type=int, help="ask this kept release (default: the one shown)")
    changed = command("changes", _changes, "what changed in a dataset between two kept releases: records inserted, updated per column, deleted")
    changed.add_argument("dataset")
    changed.add_argument("--from", dest="first", type=int, metavar="N", help="earlier release (default: the kept one before)")
    changed.add_argument("--to", dest="last", type=int, metavar="M", help="later release (default: the newest kept one)")
    rollback = command("rollback", _rollback, "point lake.duckdb back to an earlier kept release")
    rollback.add_argument("release", nargs="?", type=int, help="its number (default: the one before)")
    rebuild = command("rebuild", _rebuild, "replay landing under today's contract and swap the result in")
    rebuild.add_argument("dataset")
    backfill = command("backfill", _backfill, "bring a range of batch dates to today's contract: take in, judge again, replay")
    backfill.add_argument("dataset")
    backfill.add_argument("--from", dest="first", required=True, metavar="DATE", help="earliest batch date, YYYY-MM-DD")
    backfill.add_argument("--to", dest="last", required=True, metavar="DATE", help="latest batch date, included")
    close = command("close", _close, "close a month: publish, keep that release, hold what arrives for the month later")
    close.add_argument("month", help="of batch dates, YYYY-MM")
    close.add_argument("datasets", nargs="*", metavar="DATASET", help="default: all")
    close.add_argument("--reason", required=True, help="why; analysts can read it")
    close.add_argument("--anyway", action="store_true", help="also while batches of the month are open")
    reopen = command("reopen", _reopen, "take a closing back; what it held goes to the gate again")
    reopen.add_argument("month", help="of batch dates, YYYY-MM")
    reopen.add_argument("dataset")
    reopen.add_argument("--reason", required=True, help="why; analysts can read it")
    withdraw = command("withdraw", _withdraw, "take records out of everything analysts can open, the kept releases included")
    withdraw.add_argument("dataset")
    withdraw.add_argument("records", nargs="*", metavar="RECORD", help="key as views show it (_key, person_id), or address batch~r1#file:record")
    withdraw.add_argument("--basis", default="", help="the legal basis; analysts can read it")
    withdraw.add_argument("--document", default="", help="number of the decision")
    withdraw.add_argument("--lift", type=int, metavar="ID", help="instead: take this withdrawal back, for releases from now on")
    withdraw.add_argument("--reason", default="", help="with --lift: why")
    maintain = command("maintain", _maintain, "fold old batches, expire snapshots, remove what nothing names")
    maintain.add_argument("datasets", nargs="*", metavar="DATASET", help="default: all")
    maintain.add_argument("--fold-before", metavar="DATE", help="fold the batches dated before this day (default: LAKE_FOLD_DAYS before the newest)")
    command("verify", _verify, "compare every file, reference and row count of the lake with what was put there")
    backup = command("backup", _backup, "copy the lake of this moment, without its keys")
    backup.add_argument("place", type=Path, help="a folder on another disk")
    restore = command("restore", _restore, "make a lake again from a backup, or put single files back")
    restore.add_argument("place", type=Path, help="the folder of the backups")
    restore.add_argument("--backup", help="which one (default: the newest)")
    restore.add_argument("--only", nargs="+", metavar="PATH", help="files of the lake, as verify names them")
    stored.register(command)
    officer.register(command)
    granting.register(command)
    analyst.register(command)
    catalogue = command("catalogue", _catalogue, "say where ledger and catalogue are, or move them to PostgreSQL")
    catalogue.add_argument("--move", action="store_true", help="copy them to the address in LAKE_CATALOG and use that from now on")
    return parser


def _print(options: argparse.Namespace, result: Any, as_text: Callable[[Any], str]) -> None:
    print(json.dumps(result, ensure_ascii=False, default=str) if options.json else as_text(result))


def _check(options: argparse.Namespace) -> int:
    from pipelines import proofs
    from pipelines.check import check
    from pipelines.settings import Project

    project, file = Project.open(), proofs.place(Project.open())
    if options.again:
        file.unlink(missing_ok=True)
    found = check(project, proofs.Proofs(project, file))
    _print(options, found, show.check)
    return WRONG if found["errors"] else DONE


def _sample(options: argparse.Namespace) -> int:
    from datetime import date

    from pipelines.batch import batch_date
    from pipelines.sample import generate
    from pipelines.settings import Lake

    out = options.out or Lake.open().inbox
    made = generate(out, options.persons, options.seed, date.fromisoformat(batch_date(options.batch_date)), options.months)
    _print(options, made.to_dict(), show.sample)
    return DONE


def _receive(options: argparse.Namespace) -> int:
    from pipelines import steps

    given = {k: getattr(options, k) for k in ("part", "sequence", "correct", "revision")}
    found = [vars(r) for r in steps.submit(options.dataset, options.files, options.source, options.batch_date, **given)]
    _print(options, found, show.received)
    return DONE


def _extract(options: argparse.Namespace) -> int:
    from pipelines import steps

    found = steps.extract(options.dataset, options.batch_date, options.source, options.again)
    _print(options, found, show.extracted)
    return DONE


def _ingest(options: argparse.Namespace) -> int:
    from pipelines import steps

    found = steps.ingest(options.dataset, options.batch_date)
    _print(options, found, lambda result: show.ingested(options.dataset, result))
    return HELD if found["troubles"] else DONE


def _release(options: argparse.Namespace) -> int:
    from pipelines import steps

    _print(options, steps.release(), show.released)
    return DONE


def _status(options: argparse.Namespace) -> int:
    from pipelines.status import status

    _print(options, status(), show.status)
    return DONE


def _why(options: argparse.Namespace) -> int:
    from pipelines.status import why

    _print(options, why(options.batch_id), show.why)
    return DONE


def _query(options: argparse.Namespace) -> int:
    from pipelines.status import query

    _print(options, query(options.sql, release=options.release), show.table)
    return DONE


def _changes(options: argparse.Namespace) -> int:
    from pipelines import changes, release
    from pipelines.settings import Lake

    lake = Lake.open()
    _print(options, changes.between(lake, release.kept(lake), options.dataset, options.first, options.last), show.changed)
    return DONE


def _rollback(options: argparse.Namespace) -> int:
    from pipelines import steps

    _print(options, steps.rollback(options.release), show.released)
    return DONE


def _rebuild(options: argparse.Namespace) -> int:
    from pipelines.rebuild import rebuild

    _print(options, rebuild(options.dataset), lambda r: f"{options.dataset}: {r['batches']} batches replayed, {r['current_rows']:,} rows in current.")
    return DONE


def _backfill(options: argparse.Namespace) -> int:
    from pipelines.backfill import TROUBLES, backfill

    found = backfill(options.dataset, options.first, options.last)
    _print(options, found, lambda result: show.backfilled(options.dataset, result))
    return HELD if found["left"] or any(b["outcome"] in TROUBLES for b in found["batches"]) else DONE


def _close(options: argparse.Namespace) -> int:
    from pipelines.closing import close

    _print(options, close(options.month, options.datasets, options.reason, options.anyway), show.closed)
    return DONE


def _reopen(options: argparse.Namespace) -> int:
    from pipelines.closing import reopen

    _print(options, reopen(options.month, options.dataset, options.reason), show.reopened)
    return DONE


def _withdraw(options: argparse.Namespace) -> int:
    from pipelines.withdrawal import lift, withdraw

    if options.lift is not None:
        _print(options, lift(options.lift, options.reason), lambda r: f"{r['dataset']}: withdrawal {r['lifted']} is lifted; the next release shows the record.")
    else:
        _print(options, withdraw(options.dataset, options.records, options.basis, options.document), show.withdrawn)
    return DONE


def _maintain(options: argparse.Namespace) -> int:
    from pipelines.maintenance import maintain

    _print(options, maintain(options.datasets, options.fold_before), show.maintained)
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from pipelines.verify import verify

    found = verify()
    _print(options, found, show.verified)
    return HELD if found["findings"] else DONE


def _backup(options: argparse.Namespace) -> int:
    from pipelines.backup import backup

    _print(options, backup(options.place), show.backed_up)
    return DONE


def _restore(options: argparse.Namespace) -> int:
    from pipelines.backup import restore, restore_files
    from pipelines.desk import Desk
    from pipelines.settings import lake_home

    if options.only:
        with store.session():
            found = restore_files(options.place, options.only, options.backup, Desk.open())
        _print(options, found, lambda r: "\n".join(f"{f['path']} is back, from {f['backup']}" for f in r["restored"]))
    else:
        store.must_be_empty()
        found = restore(options.place, lake_home(), options.backup)
        with store.session():      # puts it into the object store, where it belongs there
            _print(options, found, show.restored)
    return DONE


def _catalogue(options: argparse.Namespace) -> int:
    from pipelines import catalogue
    from pipelines.backup import all_locks
    from pipelines.desk import Desk
    from pipelines.settings import Lake

    lake = Lake.open()
    if options.move:
        with all_locks(Desk.open(), local=True):
            catalogue.move(lake)
    _print(options, catalogue.describe(lake), lambda r: f"{r['kind']}: {r['place']}")
    return DONE
