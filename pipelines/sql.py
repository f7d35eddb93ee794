"""The one place that quotes identifiers and literals and opens DuckDB connections."""
from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import duckdb

from pipelines.settings import WrongUse

OWN_MB = 768     # of a process that also holds Great Expectations, pyiceberg and pyarrow
# How tables are written. Level 1 takes three quarters of the time of the default level 3, and as much room (68 MB for 1 M persons).
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"

def name(identifier: str) -> str:
    """`identifier` as a quoted SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: object) -> str:
    """`value` as a SQL string literal, NULL for None."""
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def texts(values: Iterable[object]) -> str:
    """A SQL list literal of string literals."""
    return "[" + ", ".join(text(v) for v in values) + "]"


def names(identifiers: Iterable[str]) -> str:
    """A comma-separated list of quoted identifiers."""
    return ", ".join(name(i) for i in identifiers)


def connect(database: Path | str = ":memory:", temp: Path | None = None, read_only: bool = False, alone: bool = False) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection bounded to this process's share of the machine.

    Args:
        database: file path or `:memory:`.
        temp: folder for spilling; without it the engine's default is used.
        read_only: open the file for reading only.
        alone: one thread, for hundreds of small statements: waking the others for each took a fifth of the processor time.
    """
    con = duckdb.connect(str(database), read_only=read_only, config={"autoinstall_known_extensions": "false",
                                                                     "autoload_known_extensions": "false"})
    con.execute(f"SET threads = {1 if alone else threads()}; SET memory_limit = '{memory_mb()}MB'; SET TimeZone = 'Asia/Shanghai'")
    con.execute("SET enable_progress_bar = false")
    if temp is not None:
        con.execute(f"SET temp_directory = {text(temp)}")
    return con


def parser() -> duckdb.DuckDBPyConnection:
    """A connection over nothing, to have SQL read, not run: one per process, because opening it takes twenty times as long as what is asked."""
    return _parser(os.getpid())


@lru_cache(maxsize=1)
def _parser(process: int) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})


def threads() -> int:
    """Threads for one connection: `LAKE_THREADS` or the cores this process may use."""
    return int(os.environ.get("LAKE_THREADS") or len(os.sched_getaffinity(0)))


def process_mb() -> int:
    """Memory this process may use in MB: `LAKE_MEMORY` (2GB, 1500MB), or half of what the cgroup or the machine has.

    Raises:
        WrongUse: LAKE_MEMORY is no size, or less than 1 GB.
    """
    wish = os.environ.get("LAKE_MEMORY")
    if wish:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([GM])i?B?\s*", wish, re.IGNORECASE)
        size = int(float(found[1]) * (1024 if found[2].upper() == "G" else 1)) if found else 0
        if size < 1024:
            raise WrongUse(f"LAKE_MEMORY is {wish!r}; give a size of 1 GB or more, such as 2GB or 1500MB.")
        return size
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if limit.exists() and limit.read_text().strip().isdigit():
            total = min(total, int(limit.read_text()))
    return max(1024, total // 2 // 2**20)


def memory_mb() -> int:
    """Memory of one DuckDB connection in MB: the process's, less what Python, its libraries and the allocator take."""
    return max(384, process_mb() - OWN_MB)
