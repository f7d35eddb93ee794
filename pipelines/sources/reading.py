"""Reading a table in ranges: each finished range is a durable Parquet file, so that a cut or a kill costs one range.

<work>/{rows-00001.parquet, …, keys-00001.parquet, …, progress.json}. A *pass* reads the table once (`rows`, `keys`). The folder is
private and belongs to one batch; one that was begun for anything else (other columns, another watermark) is emptied.
"""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipelines.settings import WrongUse
from pipelines.sources import statements
from pipelines.sources.connecting import Session
from pipelines.sources.pace import Throttle, must_be_open

BLOCK_ROWS = 5_000
_KINDS: dict[str, Any] = {"datetime": datetime.fromisoformat, "date": date.fromisoformat, "time": time.fromisoformat, "Decimal": Decimal,
                          "UUID": UUID, "int": int, "float": float, "str": str, "bytes": bytes.fromhex}


@dataclass(frozen=True)
class Pass:
    """One reading of the table. `low`: only rows from this value of `by` on, and those that have none."""

    name: str
    columns: tuple[str, ...]
    by: str | None
    nulls: bool
    low: Any = None


class Work:
    """The folder of one extraction and what is finished in it."""

    def __init__(self, folder: Path, signature: str):
        self.folder, self._signature = folder, signature
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = folder / "progress.json"
        self._state = json.loads(kept.read_text()) if kept.exists() else {}
        if self._state.get("signature") != signature:
            self.restart()

    def restart(self) -> None:
        """Forget everything that was read."""
        shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o700)
        self._state = {"signature": self._signature, "passes": {}, "snapshots": [], "reconnects": self.reconnects}
        self._save()

    @property
    def begun(self) -> bool:
        return any(p["pieces"] for p in self._state["passes"].values())

    @property
    def pieces(self) -> list[dict[str, Any]]:
        """Every finished range: file, rows, snapshot."""
        return [piece for p in self._state["passes"].values() for piece in p["pieces"]]

    @property
    def moments(self) -> list[str]:
        """The moments, by the source's clock, that the rows show."""
        return [self._state["snapshots"][n] for n in sorted({piece["snapshot"] for piece in self.pieces})]

    @property
    def reconnects(self) -> int:
        return self._state.get("reconnects", 0)

    def forget(self, name: str) -> None:
        """Read a pass from its beginning, unless it is finished: what it tells must be of one moment."""
        if self.of(name)["stage"] != "done":
            for file in self.files(name):
                file.unlink(missing_ok=True)
            del self._state["passes"][name]
            self._save()

    def opened(self, moment: str) -> None:
        """From here on rows are those of another snapshot."""
        self._state["snapshots"].append(moment)
        self._save()

    def reconnected(self) -> None:
        """Count a connection that had to be made again."""
        self._state["reconnects"] += 1
        self._save()

    @property
    def knows_high(self) -> bool:
        return "high" in self._state

    @property
    def high(self) -> Any:
        """The greatest watermark when the reading began, None without any."""
        return unpacked(self._state.get("high"))

    def keep_high(self, value: Any) -> None:
        """Keep the watermark of the first snapshot: what came after it is read again next time."""
        self._state["high"] = packed(value)
        self._save()

    def files(self, name: str) -> list[Path]:
        """The files of a pass, in the order of reading."""
        return [self.folder / piece["file"] for piece in self.of(name)["pieces"]]

    def of(self, name: str) -> dict[str, Any]:
        """What is known of a pass."""
        return self._state["passes"].setdefault(name, {"pieces": [], "next": None, "stage": "values"})

    def finished(self, name: str, part: Path, rows: int, after: Any, stage: str) -> None:
        """Make a range durable, and only then say that it is finished."""
        found = self.of(name)
        final = f"{name}-{len(found['pieces']) + 1:05d}.parquet"
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, self.folder / final)
        found["pieces"].append({"file": final, "rows": rows, "snapshot": len(self._state["snapshots"]) - 1})
        found["next"], found["stage"] = packed(after), stage
        self._save()

    def _save(self) -> None:
        beside = self.folder / "progress.part"
        with open(beside, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            json.dump(self._state, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, self.folder / "progress.json")
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(session: Session, table: sa.Table, wanted: Pass, work: Work, throttle: Throttle) -> None:
    """Read what is missing of one pass, range by range.

    Raises:
        sqlalchemy.exc.DBAPIError: the source ended the connection or refuses a statement.
        Later: the window closed; finished ranges are kept.
        WrongUse: other rows were read than the same snapshot counts; everything read is forgotten.
    """
    found, database, con, seen = work.of(wanted.name), session.database, session.reader, 0
    if found["stage"] == "done":
        return
    low = wanted.low if found["next"] is None else unpacked(found["next"])
    expected = con.scalar(statements.left(table, wanted.by, low, wanted.nulls)) if found["stage"] == "values" else \
        con.scalar(statements.counted(table, wanted.by, statements.Range(nulls=True)))
    while found["stage"] != "done":
        must_be_open(database)
        within, after, stage = _next(con, table, wanted, found, database.range_rows)
        part = work.folder / "range.part"
        rows = _write(part, len(wanted.columns), _blocks(con, statements.rows(table, list(wanted.columns), database.dialect, wanted.by, within),
                                                        min(BLOCK_ROWS, database.rows_per_second)), throttle)
        seen += rows
        work.finished(wanted.name, part, rows, after, stage)
    if seen != expected:
        work.restart()
        raise WrongUse(f"{database.connection}: {database.table} counted {expected:,} rows and gave {seen:,} in one snapshot. Nothing was landed. "
                       "Ask its keeper whether the table's engine keeps snapshots (MyISAM does not) and whether an index is broken; then run it again.")


def _next(con: sa.Connection, table: sa.Table, wanted: Pass, found: dict[str, Any], rows: int) -> tuple[statements.Range, Any, str]:
    """(the next range, where the one after it begins, what is read after it)."""
    if wanted.by is None:
        return statements.Range(), None, "done"
    if found["stage"] == "nulls":
        return statements.Range(nulls=True), None, "done"
    low = wanted.low if found["next"] is None else unpacked(found["next"])
    high = con.scalar(statements.bound(table, wanted.by, low, rows - 1 if low is not None else rows))
    if high is None or high == low:     # equal: the driver rounds the column's values, so no boundary can be trusted
        return statements.Range(low), None, "nulls" if wanted.nulls else "done"
    return statements.Range(low, high), high, "values"


def _blocks(con: sa.Connection, query: sa.Select, size: int) -> Iterator[list[sa.Row]]:
    with con.execute(query, execution_options={"stream_results": True, "yield_per": size}) as result:
        yield from result.partitions(size)


def _write(path: Path, width: int, blocks: Iterator[list[sa.Row]], throttle: Throttle) -> int:
    """Write rows of text as Parquet, NULL as ''; returns how many."""
    schema, rows = pa.schema([(f"c{i}", pa.string()) for i in range(width)]), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for block in blocks:
            columns = [pa.array(cells, pa.string()).fill_null("") for cells in zip(*block)]
            out.write_batch(pa.record_batch(columns, schema=schema))
            rows += len(block)
            throttle.took(len(block))
    return rows


def packed(value: Any) -> list[str] | None:
    """A value of a column as JSON can hold it.

    Raises:
        WrongUse: a table cannot be read by a column of this type.
    """
    if value is None:
        return None
    kind = type(value).__name__
    if kind not in _KINDS:
        raise WrongUse(f"A table cannot be read in ranges of a column whose values are {kind}. Name another column in `range_by`.")
    if isinstance(value, (date, time)):
        return [kind, value.isoformat()]
    return [kind, value.hex() if kind == "bytes" else str(value)]


def unpacked(kept: list[str] | None) -> Any:
    """What `packed` kept."""
    return None if kept is None else _KINDS[kept[0]](kept[1])
