"""The database of each role as the release shows it, opened once, and confined: it can read its own files and nothing else.

The role's file is copied before it is opened, because DuckDB takes two files at one path for one database; a copy holds views only. When the file
behind the role changes, the next question opens the new one; the old one is closed after its last answer.
"""
from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pipelines import roles
from pipelines.serving import statements
from pipelines.settings import Lake, WrongUse
from pipelines.sql import connect, text, texts

_LITERAL = re.compile(r"'((?:[^']|'')+)'")


class Opened:
    """One release of one role, and how many are asking it."""

    def __init__(self, lake: Lake, copy: Path, memory_mb: int, threads: int):
        self.copy, self.users, self.old = copy, 0, False
        self.con = connect(copy, read_only=True)
        self.release = roles.release_of(self.con)
        self.known = statements.vocabulary(self.con)
        self._confine(lake, memory_mb, threads)

    def _confine(self, lake: Lake, memory_mb: int, threads: int) -> None:
        spill = self.copy.with_suffix(".tmp")
        for setting in (f"memory_limit = '{memory_mb}MB'", f"threads = {threads}", f"temp_directory = {text(spill)}", f"max_temp_directory_size = '{4 * memory_mb}MB'",
                        "python_enable_replacements = false", f"allowed_paths = {texts(self._files(lake))}", "enable_external_access = false",
                        "lock_configuration = true"):
            self.con.execute(f"SET {setting}")

    def _files(self, lake: Lake) -> list[str]:
        """The published files that the database's own views name."""
        views = self.con.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        named = {found.replace("''", "'") for sql, in views for found in _LITERAL.findall(sql)}
        return sorted(n for n in named if n.endswith(".parquet") and lake.releases in Path(n).parents)

    def close(self) -> None:
        self.con.close()
        self.copy.unlink(missing_ok=True)


class Databases:
    """What is open now.

    Args:
        scratch: a folder of the server's own.
        memory_mb: memory of one open database.
        threads: threads of one open database.
    """

    def __init__(self, lake: Lake, scratch: Path, memory_mb: int, threads: int):
        self.lake, self.scratch, self.limits = lake, scratch, (memory_mb, threads)
        self._lock, self._open = threading.Lock(), {}

    @contextmanager
    def of(self, role: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, Opened]]:
        """A connection of one's own to the release the role shows now.

        Raises:
            WrongUse: nothing is published for it.
        """
        with self._lock:
            opened = self._newest(role)
            opened.users += 1
            con = opened.con.cursor()
        try:
            yield con, opened
        finally:
            con.close()
            with self._lock:
                opened.users -= 1
                self._close_unused(opened)

    def _newest(self, role: str) -> Opened:
        held = self._open.get(role)
        try:
            shown = roles.database(self.lake, role)
        except WrongUse:
            self._retire(self._open.pop(role, None))
            raise
        with open(shown, "rb") as file:
            state = _state(file.fileno())
            if held and held[0] == state:
                return held[1]
            copy = self.scratch / f"{role.replace(':', '-')}-{'-'.join(map(str, state))}.duckdb"
            with open(copy, "wb") as out:
                shutil.copyfileobj(file, out)
        opened = Opened(self.lake, copy, *self.limits)
        self._open[role] = state, opened
        self._retire(held)
        return opened

    def _retire(self, held: tuple[tuple[int, int], Opened] | None) -> None:
        if held:
            held[1].old = True
            self._close_unused(held[1])

    @staticmethod
    def _close_unused(opened: Opened) -> None:
        if opened.old and not opened.users:
            opened.close()

    def close(self) -> None:
        """Close everything."""
        with self._lock:
            for _, opened in self._open.values():
                opened.close()
            self._open.clear()


def _state(handle: int) -> tuple[int, int]:
    stat = os.fstat(handle)
    return stat.st_ino, stat.st_mtime_ns
