"""One extraction: a table, in one moment of its database, to one batch in landing. Every step can be repeated.

staging/.extract/<dataset>~<source>~<date>/ holds what is read (`reading`), staging/.extract/<dataset>~<source>/ the cache of the
state (`state`). A cut connection is made again and goes on with the next range; a killed process does so at its next call. Where
that leaves the first snapshot, the batch shows more than one moment, and its manifest names them.
"""
from __future__ import annotations

import hashlib
import json
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from pipelines import mapping, receiving
from pipelines.batch import BatchId
from pipelines.contract import Dataset, Source
from pipelines.copying import Stated
from pipelines.desk import Desk
from pipelines.locks import writer
from pipelines.readers import heading
from pipelines.settings import WrongUse
from pipelines.sources import reading, state, statements
from pipelines.sources.connecting import Cut, Session, told
from pipelines.sources.pace import Throttle, must_be_open, slots
from pipelines.sql import connect

TRIES = 6                # in a row, without a range finished between
CUTS = 50                # in one call: a reading that begins again each time must end too
FIRST_PAUSE = 1.0        # seconds; each try waits twice as long
_VERSION = 1
_ROWS, _KEYS, _WHOLE = "rows", "keys", "whole"


@dataclass(frozen=True)
class Task:
    """What is read, worked out from contract, table and landing before a row is asked for."""

    table: sa.Table
    shape: state.Shape
    unread: list[str]
    by: str | None
    nulls: bool
    low: Any
    place: tuple[int, int]       # sequence and revision the batch will have


def extract(desk: Desk, dataset: Dataset, source: Source, batch_date: str, again: bool) -> dict[str, Any]:
    """Read one database of a dataset into landing.

    Args:
        batch_date: 报送日期; not before the last one extracted, because a database shows today only.
        again: read although this date is in landing. Everything (`full`) is then a correction of it, changes are its next sequence.

    Returns:
        outcome (`landed`, `unchanged`: nothing to land, `there`: nothing was read), batch_id, mode and counts.

    Raises:
        WrongUse: the table cannot be read, or not to its end.
        Later: it cannot be read now; what was read is kept.
    """
    name = f"{dataset.id}~{source.source}"
    with writer(desk.lake, f"extract-{name}"):
        with writer(desk.lake, f"receive-{dataset.id}"):
            receiving.enter_landed(desk, dataset)
        work = desk.lake.staging / ".extract" / f"{name}~{batch_date}"
        extracted = state.batches(desk, dataset, source)
        place = _place(extracted, source, desk.lake.landing / dataset.id / source.source / "all" / batch_date, again)
        if place is None:
            shutil.rmtree(work, ignore_errors=True)
            last = extracted[-1].landed
            return {"outcome": "there", "batch_id": last.batch_id, "revision": last.revision, "source": source.source, "mode": source.database.extract}
        batch_id = str(BatchId(dataset.id, source.source, "all", batch_date, place[0]))
        with desk.ledger.step(batch_id, "extract", place[1]) as detail, slots(desk.lake, source.database) as second:
            must_be_open(source.database)
            with closing(Session(source.database, second)) as session:
                task, kept, before = _read(desk, dataset, source, extracted, place, session, work)
            found = _land(desk, dataset, source, batch_date, task, kept, before)
            detail |= {k: v for k, v in found.items() if isinstance(v, int)} | {"outcome": found["outcome"]}
        shutil.rmtree(work, ignore_errors=True)
    return found | {"batch_id": batch_id, "revision": place[1], "source": source.source}


def _place(extracted: list[state.Batch], source: Source, home: Path, again: bool) -> tuple[int, int] | None:
    """(sequence, revision) of the batch to make; None when this date is there and is not to be read again."""
    dates, day = [b.landed.batch_date for b in extracted], home.name
    if dates and dates[-1] > day:
        raise WrongUse(f"{source.source} was extracted for {dates[-1]} already; the database no longer shows {day}. Give {dates[-1]} or a later date.")
    same = [b.landed for b in extracted if b.landed.batch_date == day]
    if same and not again:
        return None
    held = [tuple(map(int, p.name.split("-r"))) for p in home.glob("*-r*")]      # also what came as files before the source became a database
    if same and not source.database.delta:
        return same[-1].sequence, max(r for s, r in held if s == same[-1].sequence) + 1
    return max((s for s, _ in held), default=0) + 1, 1


def _read(desk: Desk, dataset: Dataset, source: Source, extracted: list[state.Batch], place: tuple[int, int], session: Session,
          folder: Path) -> tuple[Task, reading.Work, Path | None]:
    """Read until everything is there, over as many connections as it takes."""
    database, work, throttle, failed, cuts = source.database, None, Throttle(source.database.rows_per_second), 0, 0
    while True:
        done = len(work.pieces) if work else 0
        try:
            fresh = session.open()
            if work is None:
                task, before = _task(desk, dataset, source, extracted, place, session)
                work = reading.Work(folder, _signature(source, task))
            if fresh and work.begun and database.on_cut == "restart":
                work.restart()
            if fresh:
                work.forget(_KEYS)
                work.opened(str(session.clock))
            _passes(desk, dataset, source, task, before, session, work, throttle)
            return task, work, before
        except sa.exc.DBAPIError as error:
            cut = told(error, database)
        except Cut as error:
            cut = error
        except UnicodeDecodeError:
            cut = WrongUse(f"{database.connection}: text of {database.table} is not in the encoding that the database states. Ask its keeper for a view "
                           "that converts it.")
        failed = failed + 1 if not work or len(work.pieces) == done else 1
        cuts += 1
        if not isinstance(cut, Cut) or failed >= TRIES or cuts >= CUTS:
            raise cut from None
        if work:
            work.reconnected()
        time.sleep(FIRST_PAUSE * 2 ** (failed - 1))


def _task(desk: Desk, dataset: Dataset, source: Source, extracted: list[state.Batch], place: tuple[int, int], session: Session) -> tuple[Task, Path | None]:
    """What to read, and the file of the state to compare it with."""
    database = source.database
    columns, primary = session.describe()
    table, names = statements.table(database.table, columns), [c["name"] for c in columns]
    mapped = state.shape(dataset, source, names)
    spelled = {heading.key(word) for words in mapping.spellings(dataset, source).values() for word in words}
    mapping.map_header(dataset, source, tuple(n for n in names if heading.key(n) in spelled), f"Table {database.table}")
    operation = next((n for n in names if heading.key(n) in {heading.key(o) for o in dataset.op}), None)
    if not database.delta and operation:
        mapped = state.Shape(mapped.columns | {"": operation}, mapped.keys)
    if database.delta and not mapped.keys:
        raise WrongUse(f"{dataset.id}: {database.table} has no column of the key ({', '.join(dataset.key)}); changes cannot be told. Add its name to aliases.")
    by = database.range_by or next(iter(primary), None)
    for given, key in ((database.range_by, "range_by"), (database.updated_at, "updated_at")):
        if given and given not in names:
            raise WrongUse(f"{dataset.id}: {database.table} has no column {given!r}, which {key} names. It has: {', '.join(names)}.")
    before, low = None, None
    if database.delta:
        with _engine(desk, dataset, source) as con:
            before = state.known(con, _home(desk, dataset, source), dataset, source, extracted, mapped)
    if database.extract == "watermark" and before:
        low = _lowered(state.low_mark(extracted, database.updated_at), database)
    nullable = {c["name"]: c.get("nullable", True) for c in columns}
    return Task(table, mapped, [n for n in names if n not in mapped.columns.values()], by, nullable.get(by, False), low, place), before


def _lowered(mark: Any, database: Any) -> Any:
    """The watermark less the overlap."""
    if mark is None or not database.overlap:
        return mark
    if not isinstance(mark, date):
        raise WrongUse(f"{database.connection}: overlap needs an updated_at that is a date or a time; {database.updated_at} of {database.table} is neither.")
    whole = mark if isinstance(mark, datetime) else datetime(mark.year, mark.month, mark.day)
    lowered = whole - timedelta(seconds=database.overlap)
    return lowered if isinstance(mark, datetime) else lowered.date()


def _passes(desk: Desk, dataset: Dataset, source: Source, task: Task, before: Path | None, session: Session, work: reading.Work, throttle: Throttle) -> None:
    """The passes of one extraction.

    A key that neither state nor changes hold was dated back: then the whole table is read. Where the rows show several moments, one that moved
    between ranges may be missing among them: then the keys, always of one moment, tell what is gone.
    """
    database, columns = source.database, tuple(task.shape.columns.values())
    whole = reading.Pass(_WHOLE, columns, task.by, task.nulls)
    if database.updated_at and not work.knows_high:
        work.keep_high(session.reader.scalar(statements.greatest(task.table, database.updated_at, session.clock)))
    keys = reading.Pass(_KEYS, tuple(task.shape.columns[k] for k in task.shape.keys), task.by, task.nulls)
    if task.low is None:
        reading.read(session, task.table, whole, work, throttle)
        if before and len(work.moments) > 1:
            reading.read(session, task.table, keys, work, throttle)
        return
    reading.read(session, task.table, reading.Pass(_ROWS, columns, database.updated_at, True, task.low), work, throttle)
    reading.read(session, task.table, keys, work, throttle)
    with _engine(desk, dataset, source) as con:
        if state.look(con, task.shape, work.files(_ROWS), False, work.files(_KEYS), before)["unseen"]:
            reading.read(session, task.table, whole, work, throttle)


def _land(desk: Desk, dataset: Dataset, source: Source, day: str, task: Task, work: reading.Work, before: Path | None) -> dict[str, Any]:
    """Write the batch's file and its manifest, and take both into landing."""
    database, path = source.database, work.folder / f"{dataset.table}.parquet"
    read = sum(piece["rows"] for piece in work.pieces)
    counts = {"mode": database.extract, "read": read, "ranges": len(work.pieces), "moments": len(work.moments), "reconnects": work.reconnects,
              "changed": 0, "deleted": 0}
    with _engine(desk, dataset, source) as con:
        if database.delta:
            landed = _changes(con, dataset, database.table, task, work, before, path, counts)
        else:
            landed = state.write_all(con, task.shape, work.files(_WHOLE), path)
    if database.delta and not landed:
        return counts | {"outcome": "unchanged", "landed": 0}
    said = counts | {
        "extraction": _VERSION, "dialect": database.dialect, "table": database.table, "batch_date": day, "snapshots": work.moments,
        "landed": landed, "columns": list(task.shape.columns.values()), "columns_not_read": task.unread, "op": dataset.op[0] if database.delta else None,
        "watermark": {"column": database.updated_at, "low": reading.packed(task.low), "high": reading.packed(work.high), "overlap": database.overlap}
        if database.updated_at else None}
    sequence, revision = task.place
    with writer(desk.lake, f"receive-{dataset.id}"):
        receiving.submit(desk, dataset, source, [path], day, part="all", sequence=sequence, revision=revision, stated={path: Stated(rows=landed)},
                         manifest=json.dumps(said, ensure_ascii=False, indent=1).encode())
    return counts | {"outcome": "landed", "landed": landed}


def _changes(con: duckdb.DuckDBPyConnection, dataset: Dataset, table: str, task: Task, work: reading.Work, before: Path | None, path: Path,
             counts: dict[str, Any]) -> int:
    """Write what differs from the state; returns how many rows."""
    whole = work.files(_WHOLE)
    found = state.look(con, task.shape, whole or work.files(_ROWS), bool(whole), work.files(_KEYS), before)
    if found["gone"] and not any(p["rows"] for p in work.of(_WHOLE if whole else _KEYS)["pieces"]):
        raise WrongUse(f"{dataset.id}: {table} is empty, and {found['gone']:,} keys of it are in the lake. Nothing was landed: an emptied table is more often "
                       "a fault than a fact. Ask its keeper; to delete them all, let the department send a file.")
    counts["changed"], counts["deleted"] = state.write_delta(con, task.shape, dataset.op[0], path)
    return counts["changed"] + counts["deleted"]


def _signature(source: Source, task: Task) -> str:
    """What an extraction that was begun must have in common with this one to be gone on with."""
    d = source.database
    content = [_VERSION, d.dialect, d.connection, d.table, d.extract, d.updated_at, task.by, list(task.shape.columns.items()), task.shape.keys,
               reading.packed(task.low), task.place]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _home(desk: Desk, dataset: Dataset, source: Source) -> Path:
    return desk.lake.staging / ".extract" / f"{dataset.id}~{source.source}"


def _engine(desk: Desk, dataset: Dataset, source: Source) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that spills beside the state."""
    folder = _home(desk, dataset, source)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return connect(temp=folder)
