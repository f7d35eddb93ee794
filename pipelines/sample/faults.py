"""Damage to a written file that no cell defect can make (DOMAIN X36): for tests of the by-lines reading."""
from __future__ import annotations

from pathlib import Path

import duckdb


def spoil(con: duckdb.DuckDBPyConnection, path: Path, name: str) -> dict[str, int]:
    """Open a quote that nobody closes in the middle of the file, and cut the last field off a line at three quarters.

    Only rows without any other defect are damaged. The file must hold no line end inside a value.

    Args:
        con: a connection with the view `placed` of the submission.
        name: the file's name in that view.

    Returns:
        What the by-lines reading must say → the record ordinal.
    """
    data = path.read_bytes().split(b"\n")
    records = len(data) - 2
    quoted, cut = (_clean_row(con, name, records * share // 4) for share in (2, 3))
    data[quoted] = b'"' + data[quoted]
    line, end = data[cut].removesuffix(b"\r"), data[cut][len(data[cut].removesuffix(b"\r")):]
    data[cut] = line.rpartition(b",")[0] + end
    path.write_bytes(b"\n".join(data))
    return {"line.quote": quoted, "line.width": cut}


def _clean_row(con: duckdb.DuckDBPyConnection, name: str, near: int) -> int:
    return con.execute("""SELECT min(_ordinal) FROM placed WHERE _name = ? AND _ordinal >= ? AND _plant IS NULL
        AND _extra IS NULL AND _order NOT IN (SELECT _order FROM placed WHERE _extra IS NOT NULL)""", [name, near]).fetchone()[0]
