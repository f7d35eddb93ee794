"""A process that answers one question at a time over one copy of a role's database: `python -m pipelines.serving.worker HOME ROLE FOLDER MEMORY_MB THREADS`.

Questions come as JSON lines {"do": "rows" | "columns", "packed": Arrow Flight command in hex}; answers go back as frames (kind, length, content): H hello,
S what the log may say, B one Arrow stream with some rows, D done, E an error for the asker. The database reads its own files and nothing else. An engine can be
made to take more memory than its limit (`range(2000000000)`): then this process dies, and nobody else's question.
"""
from __future__ import annotations

import json
import os
import re
import resource
import shutil
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from pipelines import roles
from pipelines.serving import messages, statements
from pipelines.serving.messages import Message
from pipelines.settings import Lake, WrongUse
from pipelines.sql import connect, text, texts

ROWS_PER_BATCH = 20_000
FRAME = struct.Struct(">cQ")
TOO_MUCH = "The question took more memory than it may have. Ask for less, or group before you join."
OWN_MB = 256     # beyond DuckDB's limit: Arrow, Python, and what the engine takes outside its own books
_LITERAL = re.compile(r"'((?:[^']|'')+)'")


def main(home: str, role: str, folder: str, memory_mb: str, threads: str) -> None:
    """Serve questions until standard input ends."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lake = Lake(Path(home))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    state, copy = _copy(roles.database(lake, role), Path(folder))
    con = connect(copy, read_only=True)
    said = {"release": roles.release_of(con), "state": state}
    known = statements.vocabulary(con)
    confine(con, lake, Path(folder), int(memory_mb), int(threads))
    _bound(int(memory_mb) + OWN_MB)
    _send(out, b"H", said)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        _answer(con, messages.parse(bytes.fromhex(asked["packed"])), asked["do"] == "rows", known, out)


def state_of(file: int | Path) -> list[int]:
    """What tells one file of a role from the next at the same path; of a file that is gone, nothing that any file has."""
    try:
        stat = os.stat(file)
    except FileNotFoundError:
        return []
    return [stat.st_ino, stat.st_mtime_ns]


def _copy(shown: Path, folder: Path) -> tuple[list[int], Path]:
    """A copy of the role's file, which holds views only: a file that is replaced meanwhile is one or the other, whole."""
    copy = folder / shown.name
    with open(shown, "rb") as file, open(copy, "wb") as out:
        shutil.copyfileobj(file, out)
        return state_of(file.fileno()), copy


def confine(con: duckdb.DuckDBPyConnection, lake: Lake, folder: Path, memory_mb: int, threads: int) -> None:
    """Let a connection read the published files that its own views name, and nothing else, for good."""
    views = con.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
    named = {found.replace("''", "'") for sql, in views for found in _LITERAL.findall(sql)}
    files = sorted(n for n in named if n.endswith(".parquet") and lake.releases in Path(n).parents)
    for setting in (f"memory_limit = '{memory_mb}MB'", f"threads = {threads}", f"temp_directory = {text(folder / 'spill')}",
                    f"max_temp_directory_size = '{4 * memory_mb}MB'", "python_enable_replacements = false", f"allowed_paths = {texts(files)}",
                    "enable_external_access = false", "lock_configuration = true"):
        con.execute(f"SET {setting}")


def _bound(more_mb: int) -> None:
    """Let this process grow by so much and no more."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = mapped + more_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with(parent: int) -> None:
    """End when the server has died, also in the middle of a question."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _answer(con: duckdb.DuckDBPyConnection, message: Message, rows: bool, known: frozenset[str], out: BinaryIO) -> None:
    try:
        if messages.schema_of(message) is not None:
            _send_table(out, messages.answer(message, con))
        elif message.sql is None:
            raise WrongUse(f"This server only reads; it does not answer {message.name}.")
        else:
            _send(out, b"S", {"statement": statements.without_values(message.sql, known)})
            _run(con.cursor(), message.sql, rows, out)
        _send(out, b"D", {})
    except duckdb.OutOfMemoryException:
        _send(out, b"E", {"text": TOO_MUCH})
    except (duckdb.Error, WrongUse) as error:
        _send(out, b"E", {"text": str(error)})


def _run(con: duckdb.DuckDBPyConnection, asked: str, rows: bool, out: BinaryIO) -> None:
    sql = statements.judge(con, asked)
    if not rows and con.extract_statements(sql)[0].type != duckdb.StatementType.EXPLAIN:
        _send_table(out, messages.columns(con, sql).empty_table())
        return
    reader = con.execute(sql).to_arrow_reader(ROWS_PER_BATCH)
    schema = messages.plain(reader.schema)
    _send_table(out, schema.empty_table())
    for batch in reader if rows else ():
        _send_table(out, pa.Table.from_batches([batch]).cast(schema))
    con.close()


def _send_table(out: BinaryIO, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    _frame(out, b"B", sink.getvalue())


def _send(out: BinaryIO, kind: bytes, content: dict[str, Any]) -> None:
    _frame(out, kind, json.dumps(content).encode())


def _frame(out: BinaryIO, kind: bytes, content: bytes | pa.Buffer) -> None:
    view = memoryview(FRAME.pack(kind, len(content)) + bytes(content))
    while view:
        view = view[out.write(view):]


if __name__ == "__main__":
    main(*sys.argv[1:])
