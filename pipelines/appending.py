"""Data files that a commit adds to an Iceberg table: what pyiceberg's `add_files` does, with what follows from the table alone worked out once.

`add_files` works out for every file anew which statistics the table wants, which column is which and whether its schema fits, and hands each to a thread:
1.9 ms of processor time a file, of which 0.4 are the file's own.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    _check_pyarrow_schema_compatible,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import TableProperties, Transaction
from pyiceberg.table.metadata import TableMetadata


def add(change: Transaction, io: FileIO, addresses: Iterable[str]) -> None:
    """Add Parquet files to what a transaction commits, in one snapshot.

    Args:
        addresses: the files, each once, none of them in the table.

    Raises:
        ValueError: a file's columns are not those of the table.
    """
    if change.table_metadata.name_mapping() is None:
        change.set_properties(**{TableProperties.DEFAULT_NAME_MAPPING: change.table_metadata.schema().name_mapping.model_dump_json()})
    with change.update_snapshot().fast_append() as snapshot:
        for file in described(change.table_metadata, io, addresses):
            snapshot.append_data_file(file)


def described(table: TableMetadata, io: FileIO, addresses: Iterable[str]) -> Iterator[DataFile]:
    """What the table is to know of each file: `pyiceberg.io.pyarrow.parquet_file_to_data_file` says the same. Raises what `add` does."""
    schema, spec = table.schema(), table.spec()
    wanted, columns = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
    fitting: list[pa.Schema] = []
    for address in addresses:
        source = io.new_input(address)
        with source.open() as stream:
            footer = pq.read_metadata(stream)
        found = footer.schema.to_arrow_schema()
        if not any(found.equals(one, check_metadata=True) for one in fitting):      # the ids of fields are metadata
            _check_pyarrow_schema_compatible(schema, found, format_version=table.format_version)
            fitting.append(found)
        told = data_file_statistics_from_parquet_metadata(footer, wanted, columns)
        yield DataFile.from_args(content=DataFileContent.DATA, file_path=address, file_format=FileFormat.PARQUET, partition=told.partition(spec, schema),
                                 file_size_in_bytes=len(source), sort_order_id=None, spec_id=table.default_spec_id, equality_ids=None, key_metadata=None,
                                 **told.to_serialized_dict())
