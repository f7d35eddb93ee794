"""The workbook of a pack: every cell is text, so that nothing is computed, and no digit is rounded away.

XlsxWriter streams rows and writes the same bytes for the same rows. A sheet holds `ROWS` rows; more go on in the next sheet.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import xlsxwriter

from pipelines.settings import WrongUse

ROWS = 1_000_000
CELL = 32_000       # characters; Excel holds 32,767
MIN_KEY = 12


def write(path: Path, day: str, notes: Sequence[Sequence[str]], sheets: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str | None]]]]) -> None:
    """Write a workbook.

    Args:
        path: the file to make.
        day: ISO date that stands as its date of creation.
        notes: rows of the sheet 填报说明, which comes first.
        sheets: (name, header, rows) of each table.
    """
    with xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)}) as book:
        book.set_properties({"created": datetime.fromisoformat(day)})
        book.use_zip64()
        plain, bold, wrap = book.add_format({"num_format": "@"}), book.add_format({"num_format": "@", "bold": True}), book.add_format({"text_wrap": True})
        first = book.add_worksheet("填报说明")
        first.set_column(0, 0, 24)
        first.set_column(1, 1, 110, wrap)
        for number, row in enumerate(notes):
            for column, cell in enumerate(row):
                first.write_string(number, column, cell[:CELL])
        for name, header, rows in sheets:
            sheet = None
            for count, row in enumerate(rows):
                if count % ROWS == 0:
                    part = count // ROWS
                    sheet = book.add_worksheet(f"{name} {part + 1}" if part else name)
                    sheet.set_column(0, max(0, len(header) - 1), 18, plain)
                    sheet.freeze_panes(1, 0)
                    for column, cell in enumerate(header):
                        sheet.write_string(0, column, cell[:CELL], bold)
                for column, cell in enumerate(row):
                    if cell:
                        sheet.write_string(1 + count % ROWS, column, cell if len(cell) <= CELL else cell[:CELL] + "…", plain)


def key(source: str, environ: dict[str, str] | None = None) -> str:
    """The password of a source's packs: LAKE_FEEDBACK_KEY_<SOURCE>, or the Airflow connection lake_feedback_<source>.

    Raises:
        WrongUse: there is none, or it is shorter than 12 characters.
    """
    variable = "LAKE_FEEDBACK_KEY_" + "".join(ch if ch.isalnum() else "_" for ch in source).upper()
    found = (environ if environ is not None else os.environ).get(variable) or _of_airflow(f"lake_feedback_{source}")
    if not found:
        raise WrongUse(f"The contract wants packs for {source} encrypted and there is no key; nothing was written. Set {variable}, or make the Airflow "
                       f"connection lake_feedback_{source} with the password, then make the pack again.")
    if len(found) < MIN_KEY:
        raise WrongUse(f"The key of the packs for {source} has fewer than {MIN_KEY} characters; nothing was written. Set a longer one in {variable}.")
    return found


def _of_airflow(connection: str) -> str | None:
    try:
        from airflow.sdk import Connection

        return Connection.get(connection).password
    except Exception:  # whatever a secrets backend raises may quote a secret
        return None


def encrypt(plain: Path, target: Path, password: str) -> None:
    """Write a workbook that Excel opens with the password only (ECMA-376 agile encryption, AES-256)."""
    from msoffcrypto.format.ooxml import OOXMLFile

    with open(plain, "rb") as source, open(target, "wb") as out:
        OOXMLFile(source).encrypt(password, out)
