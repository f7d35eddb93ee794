"""What tests of feedback share: a small lake of residents, its steps, and packs as an officer would read and write them."""
from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq

from pipelines import base, steps
from pipelines.desk import Desk
from pipelines.feedback import pack
from tests.support import HEADER, resident_id, write_csv

DATASET, DAY = "population.residence", "2026-11-01"
BATCH = f"{DATASET}~police~640104~{DAY}~1"
Row = dict[str, str]


def people(count: int) -> list[tuple[str, ...]]:
    """Sound rows of that many residents, each with a number of its own (at most 539,460)."""
    days = [f"{1971 + i // 999 % 45}-{1 + i // 999 // 45:02d}-01" for i in range(count)]
    return [(resident_id(1 + i % 999, birth=day.replace("-", "")), f"赵{'甲乙丙丁戊己庚辛壬癸'[i % 10]}", day, "640104", "有效", "") for i, day in enumerate(days)]


def wrong(number: str) -> str:
    """The number with another check digit."""
    return number[:-1] + ("1" if number[-1] != "1" else "2")


def drop(at: Desk, rows: list[tuple[str, ...]], name: str = "p_640104.csv", source: str = "police", lines: tuple[str, ...] = ()) -> Path:
    """Put a file into the inbox, with lines at its end as they are."""
    path = write_csv(at.lake.inbox / DATASET / source / DAY / name, HEADER, rows)
    with open(path, "a", encoding="utf-8", newline="") as out:
        out.writelines(f"{line}\r\n" for line in lines)
    return path


def returned(at: Desk, source: str = "police") -> Path:
    """The folder for corrections."""
    found = at.lake.inbox / DATASET / source / DAY / "更正"
    found.mkdir(parents=True, exist_ok=True)
    return found


def run(at: Desk) -> list[str]:
    """All steps; returns the keys of what was taken in."""
    keys = steps.receive(DATASET, None, at)
    accepted = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    if accepted:
        steps.commit(DATASET, accepted, at)
    return keys


def folder(at: Desk, made: dict) -> Path:
    """Where a pack lies."""
    return at.lake.home / made["path"]


def make(at: Desk, batch: str = BATCH) -> dict:
    return pack.make(batch, at)


def read_csv(path: Path) -> list[Row]:
    """The rows of a pack's CSV as Excel shows them, without the quote mark in front."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [{k: v.removeprefix("'") for k, v in row.items()} for row in csv.DictReader(file)]


def read_book(path: Path, sheet: str = "待更正") -> list[Row]:
    """The rows of one sheet of a pack's workbook."""
    header, *rows = openpyxl.load_workbook(path, read_only=True)[sheet].iter_rows(values_only=True)
    return [dict(zip(header, (cell or "" for cell in row))) for row in rows]


def edit_book(source: Path, target: Path, change: Callable[[Row], Row | None], sheet: str = "待更正") -> None:
    """Save a pack's workbook as an officer would: cells changed in place, rows for which `change` gives None taken out."""
    book = openpyxl.load_workbook(source)
    table = book[sheet]
    header = [cell.value for cell in table[1]]
    for number in range(table.max_row, 1, -1):
        row = {name: str(cell.value or "") for name, cell in zip(header, table[number])}
        changed = change(row)
        if changed is None:
            table.delete_rows(number)
        else:
            for column, name in enumerate(header, 1):
                table.cell(number, column).value = changed[name]
    book.save(target)


def ordinal(row: Row) -> int:
    """The record that a row's ticket names."""
    return int(row["回执"].rpartition(":")[2])


def filled(row: Row, sound: tuple[str, ...]) -> Row:
    """A row of the pack with the cells of a sound one."""
    return row | dict(zip(HEADER, sound))


def accepted(at: Desk) -> set[tuple]:
    """(number, name, birth date, ordinal) of every row in base."""
    files = [f for v in base.state(at.lake, at.plan(DATASET)).segments.values() for f in v.files]
    rows = [r for f in files for r in pq.read_table(f).select(["id_number", "name", "birth_date", "_ordinal"]).to_pylist()]
    assert len(rows) == len({tuple(r.values()) for r in rows})
    return {(r["id_number"], r["name"], r["birth_date"].isoformat(), r["_ordinal"]) for r in rows}


def as_base(rows: list[tuple[str, ...]]) -> set[tuple]:
    """What base holds of sound rows."""
    return {(*row[:3], n) for n, row in enumerate(rows, 1)}


def closes(row: dict) -> bool:
    """Both equations, from the ledger alone."""
    lines = sum(row[k] for k in ("header", "trailer", "blank", "records", "inner_line_ends", "unparseable"))
    records = sum(row[k] for k in ("accepted", "copies", "superseded", "quarantined", "deletes", "cancelled"))
    return (lines, records) == (row["lines"], row["records"])
