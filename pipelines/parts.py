"""Rows that lie in several files, of which later ones supersede rows of earlier ones: a first part, then one delta per change.

A position is (file: its place in the list, counted from 0; pos: the row in that file). What is superseded lies in small files of positions beside
the deltas; readers leave those rows out with one anti join on two numbers, without comparing keys (48 M rows and 1 % of positions: 0.3 s, by key 1.9 s).
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipelines.sql import text, texts

SUPERSEDED = "superseded.parquet"
HERE = "lying.file_index AS file, lying.file_row_number AS pos"      # the position of a row that is read


def select(files: Iterable[Path | str], superseded: Sequence[Path | str], columns: str = "*", first: int = 0, estimate: int | None = None) -> str:
    """A SELECT of the rows of `files`, in this order, without those whose positions stand in the files `superseded`.

    Args:
        first: the place in the whole list of the first of these files.
        estimate: rows that the optimizer is to reckon with, where not their number.
    """
    rows = f"SELECT {columns} FROM read_parquet({texts(files)}{f', explicit_cardinality = {estimate}' if estimate else ''}) AS lying"
    here = f"(lying.file_index + {first})::UBIGINT" if first else "lying.file_index"
    return f"{rows} ANTI JOIN read_parquet({texts(superseded)}) AS gone ON {here} = gone.file AND lying.file_row_number = gone.pos" if superseded else rows


def relation(files: Sequence[Path | str], superseded: Sequence[Path | str]) -> str:
    """The same to stand after FROM; one file with nothing superseded is read as such."""
    if superseded:
        return f"({select(files, superseded)})"
    return f"read_parquet({text(files[0]) if len(files) == 1 else texts(files)})"


def only(files: Sequence[Path | str], these: Sequence[Path | str], but: Sequence[Path | str], columns: str) -> str:
    """A SELECT of the rows of `files`, the first of their list, whose positions stand in the files `these` and not in `but`."""
    wanted = f"SELECT DISTINCT file, pos FROM read_parquet({texts(these)}) WHERE file < {len(files)}"
    wanted += f" EXCEPT SELECT file, pos FROM read_parquet({texts(but)})" if but else ""
    return f"SELECT {columns} FROM read_parquet({texts(files)}) AS lying SEMI JOIN ({wanted}) AS these ON lying.file_index = these.file AND lying.file_row_number = these.pos"
