"""What may be asked, and what the log may say of it: one SELECT (or EXPLAIN), and its words without anything the asker typed as a value."""
from __future__ import annotations

import re

import duckdb

from pipelines.settings import WrongUse

_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\s+)?(\([^()]*\)\s*)?", re.IGNORECASE)
_OPERATOR = re.compile(rb"--|/\*|[^\s\w\"'\x80-\xff]")
_WORD = re.compile(rb'"(?:[^"]|"")*"|[\w$\x80-\xff]+')


def judge(con: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The one statement of `sql`, if it only reads.

    Raises:
        WrongUse: it does something else, or is not SQL.
    """
    explain = _EXPLAIN.match(sql)
    try:
        found = con.extract_statements(sql[explain.end():] if explain else sql)      # EXPLAIN ANALYZE runs what it explains
    except duckdb.Error as error:
        raise WrongUse(str(error)) from None
    if [s.type for s in found] != [duckdb.StatementType.SELECT]:
        kinds = ", ".join(str(s.type).rpartition(".")[2] for s in found) or "nothing"
        raise WrongUse(f"This server answers one SELECT (or FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN) at a time; this is {kinds}. "
                       "A PIVOT needs its values: PIVOT … ON column IN (…).")
    return (explain[0] if explain else "") + found[0].query.strip().rstrip(";")


def vocabulary(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The words a log may hold: names of the database's schemas, views, columns, and of functions, in lower case."""
    rows = con.execute("SELECT lower(w) FROM (SELECT unnest([schema_name, table_name, column_name]) AS w FROM duckdb_columns() "
                       "UNION SELECT function_name FROM duckdb_functions() UNION SELECT type_name FROM duckdb_types())").fetchall()
    return frozenset(w for w, in rows if w)


def without_values(sql: str, known: frozenset[str]) -> str:
    """`sql` with ? for every literal, _ for every name that is not the database's own, and without comments."""
    raw = sql.encode()
    tokens = duckdb.tokenize(sql)
    ends = [start for start, _ in tokens[1:]] + [len(raw)]
    return " ".join(filter(None, (_shown(raw[start:end], str(kind), known) for (start, kind), end in zip(tokens, ends))))


def _shown(piece: bytes, kind: str, known: frozenset[str]) -> str:
    if "const" in kind:
        return "?"
    if "operator" in kind:
        return _operator(piece)
    if "comment" in kind:
        return ""
    word = _WORD.match(piece)
    text = word[0].decode(errors="replace") if word else ""
    return text if "keyword" in kind or text.strip('"').lower() in known else "_"


def _operator(piece: bytes) -> str:
    """The operator a piece begins with; what follows it up to the next token is space or a comment."""
    shown = ""
    for found in _OPERATOR.finditer(piece):
        if len(found[0]) == 2:
            break
        shown += found[0].decode()
    return shown
