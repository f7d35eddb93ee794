"""The rows of one SELECT as many small Parquet files: a COPY each costs some milliseconds to plan, whatever its rows.

DuckDB does the work on rows; pyarrow writes what comes, in a stream. The files say the same as those of COPY: types, field ids. Dictionaries are left out, and
Snappy is used: of a thousand rows dictionaries and zstd cost more time than they save room.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

ROWS = 122_880      # of a row group, and of what is in memory at once
SMALL = 16 << 20    # bytes of rows whose file is made in memory first


def write(con: duckdb.DuckDBPyConnection, select: str, files: Mapping[int, Path], ids: Mapping[str, int] | None = None) -> None:
    """Write one file per value of the first column, which is not written itself; a value that no row has gets a file without rows.

    Args:
        select: in the order of its first column, and of the rows of each file.
        files: value → file; every value that a row has is in it.
        ids: column → Iceberg field id.
    """
    import pyarrow as pa

    reader = con.execute(select).to_arrow_reader(ROWS)
    schema, left, open_value, found = _schema(reader.schema, ids or {}), dict(files), None, []
    for batch in reader:
        values, rows = batch.column(0), pa.RecordBatch.from_arrays(batch.columns[1:], schema=schema)
        for value, start, end in _runs(values.to_numpy()):
            if value != open_value and found:
                _put(left.pop(open_value), pa.Table.from_batches(found))
                found = []
            open_value = value
            found.append(rows.slice(start, end - start))
    if found:
        _put(left.pop(open_value), pa.Table.from_batches(found))
    for file in left.values():
        _put(file, schema.empty_table())


def _schema(of: object, ids: Mapping[str, int]) -> object:
    import pyarrow as pa

    return pa.schema([field.with_metadata({"PARQUET:field_id": str(ids[field.name])}) if field.name in ids else field.remove_metadata() for field in list(of)[1:]])


def _runs(values: object) -> list[tuple[int, int, int]]:
    """(value, start, end) of every run of one value."""
    import numpy as np

    if not len(values):
        return []
    starts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()]
    return [(int(values[start]), start, end) for start, end in zip(starts, [*starts[1:], len(values)])]


def _put(file: Path, rows: object) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.BufferOutputStream() if rows.nbytes < SMALL else str(file)      # one write, no asking which file system it is: a third of a small file's time
    pq.write_table(rows, made, row_group_size=ROWS, compression="snappy", use_dictionary=False, store_schema=False, store_decimal_as_integer=True)
    if rows.nbytes < SMALL:
        file.write_bytes(made.getvalue())
