"""Flight SQL on the wire: the few messages that drivers (ADBC, JDBC, ODBC) send and expect, read and written field by field.

A handle is the statement itself: the server keeps no state between two calls, and judges a statement again when its rows are fetched.
Source: Apache Arrow, format/FlightSql.proto; Protocol Buffers encoding (varint, and length-delimited fields).
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipelines.version import code_version

_PREFIX = "type.googleapis.com/arrow.flight.protocol.sql."
_SQL_FIELD = {"CommandStatementQuery": 1, "TicketStatementQuery": 1, "CommandPreparedStatementQuery": 1, "ActionCreatePreparedStatementRequest": 1}
CATALOGUE = {
    "CommandGetCatalogs": pa.schema([pa.field("catalog_name", pa.utf8(), False)]),
    "CommandGetDbSchemas": pa.schema([pa.field("catalog_name", pa.utf8()), pa.field("db_schema_name", pa.utf8(), False)]),
    "CommandGetTables": pa.schema([pa.field("catalog_name", pa.utf8()), pa.field("db_schema_name", pa.utf8()), pa.field("table_name", pa.utf8(), False),
                                   pa.field("table_type", pa.utf8(), False)]),
    "CommandGetTableTypes": pa.schema([pa.field("table_type", pa.utf8(), False)]),
}
_INFO_VALUE = pa.dense_union([pa.field("string_value", pa.utf8()), pa.field("bool_value", pa.bool_()), pa.field("bigint_value", pa.int64()),
                              pa.field("int32_bitmask", pa.int32()), pa.field("string_list", pa.list_(pa.utf8())),
                              pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32())))])
INFO = pa.schema([pa.field("info_name", pa.uint32(), False), pa.field("value", _INFO_VALUE, False)])


@dataclass(frozen=True)
class Message:
    """A Flight SQL message: its name and its fields."""

    name: str
    fields: dict[int, list[bytes | int]]

    def text(self, number: int) -> str | None:
        """A text field, None where it is not set."""
        return self.fields[number][0].decode() if number in self.fields else None

    @property
    def sql(self) -> str | None:
        """The statement the message carries, None when it carries none."""
        return self.text(_SQL_FIELD[self.name]) if self.name in _SQL_FIELD else None


def parse(packed: bytes) -> Message:
    """The message in a command, ticket or action; bytes that are no Flight SQL are taken for a statement.

    Raises:
        ValueError: neither a message nor text.
    """
    try:
        outer = _fields(packed)
        url = outer[1][0].decode()
    except (KeyError, IndexError, ValueError, AttributeError):
        url = ""
    if not url.startswith(_PREFIX):
        packed.decode()
        return Message("CommandStatementQuery", {1: [packed]})
    return Message(url.removeprefix(_PREFIX), _fields(outer.get(2, [b""])[0]))


def ticket(sql: str) -> bytes:
    """The ticket for the rows of a statement."""
    return pack("TicketStatementQuery", {1: sql.encode()})


def pack(message: str, fields: dict[int, bytes]) -> bytes:
    """A message as it goes over the wire."""
    return _pack({1: (_PREFIX + message).encode(), 2: _pack(fields)})


def _pack(fields: dict[int, bytes]) -> bytes:
    return b"".join(_varint(number << 3 | 2) + _varint(len(value)) + value for number, value in fields.items())


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(found + bytes([value]))


def _fields(packed: bytes) -> dict[int, list[bytes | int]]:
    found: dict[int, list[bytes | int]] = {}
    for number, value in _walk(packed):
        found.setdefault(number, []).append(value)
    return found


def _walk(packed: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(packed):
        key, at = _read_varint(packed, at)
        value, at = _read_varint(packed, at)
        if key & 7 == 2:
            end = at + value
            if end > len(packed):
                raise ValueError("a field is longer than its message")
            value, at = packed[at:end], end
        elif key & 7:
            raise ValueError("a field of another kind")
        yield key >> 3, value


def _read_varint(packed: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = packed[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def schema_of(message: Message) -> pa.Schema | None:
    """The columns of an answer about the catalogue or the server, None for other messages."""
    if message.name == "CommandGetSqlInfo":
        return INFO
    found = CATALOGUE.get(message.name)
    if message.name == "CommandGetTables" and message.fields.get(5):
        found = found.append(pa.field("table_schema", pa.binary(), False))
    return found


def answer(message: Message, con: duckdb.DuckDBPyConnection) -> pa.Table:
    """What the catalogue or the server says to a message that asks about it."""
    if message.name == "CommandGetSqlInfo":
        return _info()
    if message.name == "CommandGetCatalogs":
        sql, given = "SELECT current_database()", []
    elif message.name == "CommandGetTableTypes":
        sql, given = "SELECT 'VIEW'", []
    elif message.name == "CommandGetDbSchemas":
        sql = "SELECT DISTINCT table_catalog, table_schema FROM information_schema.tables WHERE table_schema LIKE ? ORDER BY ALL"
        given = [message.text(2) or "%"]
    else:
        sql = ("SELECT table_catalog, table_schema, table_name, 'VIEW' FROM information_schema.tables WHERE table_schema LIKE ? AND table_name LIKE ? "
               "ORDER BY ALL")
        given = [message.text(2) or "%", message.text(3) or "%"]
    rows = con.execute(sql, given).fetchall()
    schema = schema_of(message)
    if "table_schema" in schema.names:
        rows = [(*row, columns(con, f'FROM "{row[1]}"."{row[2]}"').serialize().to_pybytes()) for row in rows]
    return pa.table([list(c) for c in zip(*rows)] or [[] for _ in schema], schema=schema)


def columns(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Schema:
    """The columns a statement will answer, without running it."""
    return plain(con.execute(f"FROM ({sql}\n) LIMIT 0").to_arrow_table().schema)


def plain(schema: pa.Schema) -> pa.Schema:
    """`schema` with the values themselves in place of dictionaries (enums), which a Flight stream of batches cannot carry."""
    return pa.schema([f.with_type(_plain(f.type)) for f in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_plain(f.type)) for f in kind])
    return kind


def _info() -> pa.Table:
    """Name and version of the server and of Arrow, and that it is read-only (SqlInfo 0 to 3)."""
    texts = pa.array(["政务基础数据湖 government base-data lake", code_version(), pa.__version__], pa.utf8())
    empty = [pa.array([], _INFO_VALUE.field(i).type) for i in range(2, 6)]
    values = pa.UnionArray.from_dense(pa.array([0, 0, 0, 1], pa.int8()), pa.array([0, 1, 2, 0], pa.int32()), [texts, pa.array([True]), *empty],
                                      [_INFO_VALUE.field(i).name for i in range(6)])
    return pa.table([pa.array([0, 1, 2, 3], pa.uint32()), values], schema=INFO)
