"""A pack that comes back 更正: recognised by its column 回执, checked ticket by ticket, and made the next revision of its batch.

All of a delivery is taken, or nothing of it. A refusal names rows of the returned file by number and records by address, never a value.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from pipelines import incoming, landing
from pipelines.contract import Dataset, Source
from pipelines.copying import NotTaken, Stated, opened_file
from pipelines.desk import Desk
from pipelines.feedback import reading, tickets
from pipelines.feedback.columns import TICKET
from pipelines.feedback.reading import TABLE
from pipelines.readers import ReadRefused, Unit
from pipelines.settings import WrongUse
from pipelines.sql import connect, text

HEAD = 1 << 16
_BOOKS = (b"PK", b"\xd0\xcf\x11\xe0")
_LISTED = 10
_WHY = {
    "unreadable": "no ticket that can be read", "batch": "the ticket of another batch", "replaced": "the ticket of files that were replaced since",
    "unknown": "a ticket that was not given out", "twice": "a ticket that stands twice"}


def take(desk: Desk, found: Dataset, sender: Source, files: list[Path], batch_date: str,
         stated: Mapping[Path, Stated] | None = None) -> list[landing.Received] | None:
    """Take returned packs into landing, as the next revision of their batches; the caller holds the lock `receive-<dataset>`.

    Returns:
        One `Received` per batch; None when none of the files is a returned pack.

    Raises:
        NotTaken: packs and other files came together, or a ticket does not fit (`ticket`); nothing was taken.
    """
    ordered = sorted(files, key=lambda p: (p.name, str(p)))
    if not ordered or not any(map(_may_be_one, ordered)):
        return None
    with incoming.own_folder(desk.lake) as work, connect(temp=work / "spill") as con:
        taken = landing.take(ordered, work, stated)
        units = [_units(found, sender, batch_date, file, work) for file in taken]
        if not any(units):
            return None
        if not all(units):
            raise NotTaken("ticket", f"{sum(map(bool, units))} of {len(units)} files are returned packs and the others are not")
        reading.make_table(con)
        batches = {file.number: _batch_of(con, found, sender, batch_date, file, of) for file, of in zip(taken, units)}
        newest = {batch: _check(con, desk, batch, [n for n, b in batches.items() if b == batch]) for batch in sorted(set(batches.values()))}
        return [landing.amend(desk.lake, newest[batch], tuple(f for f in taken if batches[f.number] == batch), work) for batch in newest]


def _may_be_one(path: Path) -> bool:
    """False when the beginning of a file shows that it is no returned pack; a workbook has to be opened to tell."""
    with os.fdopen(opened_file(path, "The file"), "rb") as file:
        head = file.read(HEAD)
    return head.startswith(_BOOKS) or any(TICKET.encode(codec) in head for codec in ("utf-8", "gb18030", "utf-16-le", "utf-16-be"))


def _units(found: Dataset, sender: Source, batch_date: str, file: landing.File, work: Path) -> list[Unit]:
    """The tables of a returned pack; none where the file is something else, which landing takes or refuses as ever."""
    one = landing.Manifest(found.id, sender.source, sender.department, sender.uscc, "all", batch_date, 1, 1, "", (file,), work)
    try:
        return reading.units(one, file, work / "scratch" / str(file.number))
    except ReadRefused:
        return []


def _batch_of(con: duckdb.DuckDBPyConnection, found: Dataset, sender: Source, batch_date: str, file: landing.File, units: list[Unit]) -> str:
    """The batch whose tickets one file holds, among those of this dataset, source and date; its rows are in the table afterwards."""
    unreadable = reading.load(con, file.number, units)
    if unreadable:
        raise NotTaken("ticket", f"file {file.number}: {unreadable:,} of its rows cannot be read")
    fits = re.escape(f"{found.id}~{sender.source}~") + r"[0-9A-Za-z_.\-]+" + re.escape(f"~{batch_date}~") + r"\d{1,6}"
    rows, batch = con.execute(f"SELECT count(*), arg_min(batch_id, line) FILTER (regexp_full_match(batch_id, $1)) FROM {TABLE} WHERE place = $2",
                              [fits, file.number]).fetchone()
    if not rows:
        raise NotTaken("ticket", f"file {file.number} holds no row")
    if batch is None:
        raise NotTaken("ticket", f"file {file.number}: none of its {rows:,} rows has a ticket of {found.id} from {sender.source} for {batch_date}")
    return batch


def _check(con: duckdb.DuckDBPyConnection, desk: Desk, batch_id: str, places: list[int]) -> landing.Manifest:
    """The newest revision of a batch, which the returned rows of these files correct; every ticket fits."""
    try:
        newest = landing.newest(desk.lake, batch_id)
    except WrongUse:
        newest = None
    if newest is None:
        raise NotTaken("ticket", f"file {places[0]}: its tickets name a batch that was not received")
    mine = f"(SELECT * FROM {TABLE} WHERE place IN ({', '.join(map(str, places))}))"
    named = con.execute(f"SELECT DISTINCT revision FROM {mine} WHERE batch_id = $1 AND revision BETWEEN 1 AND $2", [batch_id, newest.revision]).fetchall()
    sound = [r for r, in named if _submission(desk, batch_id, r) == newest.submission]
    issued = [f"SELECT {r} AS revision, _file AS file, _ordinal AS ordinal FROM read_parquet({text(path)})"
              for r in sound if (path := tickets.file(desk.lake, batch_id, r)).exists()]
    given = " UNION ALL ".join(issued) or "SELECT NULL::INTEGER AS revision, NULL::INTEGER AS file, NULL::BIGINT AS ordinal WHERE false"
    wrong = con.execute(f"""
        WITH given AS ({given}), judged AS (
            SELECT place, line, file, ordinal, CASE
                WHEN batch_id IS NULL OR revision IS NULL OR file IS NULL OR ordinal IS NULL THEN 'unreadable'
                WHEN batch_id <> $1 THEN 'batch'
                WHEN revision NOT IN (SELECT unnest($2::INTEGER[])) THEN 'replaced'
                WHEN (revision, file, ordinal) NOT IN (SELECT (revision, file, ordinal) FROM given) THEN 'unknown'
                WHEN count(*) OVER (PARTITION BY batch_id, file, ordinal) > 1 THEN 'twice' END AS wrong
            FROM {mine})
        SELECT place, line, file, ordinal, wrong, count(*) OVER () FROM judged WHERE wrong IS NOT NULL ORDER BY place, line LIMIT {_LISTED}""",
                        [batch_id, sound]).fetchall()
    if wrong:
        listed = "; ".join(f"file {place}, row {line}{f' (record {file}:{ordinal})' if ordinal is not None else ''}: {_WHY[why]}"
                           for place, line, file, ordinal, why, _ in wrong)
        more = wrong[0][5] - len(wrong)
        raise NotTaken("ticket", f"{wrong[0][5]:,} returned rows do not fit {batch_id}: {listed}{f'; and {more:,} more' if more else ''}")
    return newest


def _submission(desk: Desk, batch_id: str, revision: int) -> int | None:
    """Which submission's files a revision holds, None where landing does not have it."""
    folder = landing.folder(desk.lake, batch_id, revision)
    return landing.read_manifest(folder).submission if (folder / "manifest.json").exists() else None
