"""What a table is told of its files is what pyiceberg would tell it."""
from __future__ import annotations

import duckdb
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import BooleanType, DateType, DecimalType, DoubleType, IntegerType, LongType, NestedField, StringType, TimestampType

from pipelines import appending

COLUMNS = {"segment": ("{seg}", StringType()), "n": ("i::BIGINT", LongType()), "small": ("(i % 7)::INTEGER", IntegerType()), "day": ("DATE '1950-01-01' + i::INTEGER", DateType()),
           "amount": ("(i * 1.01 - 500)::DECIMAL(18, 2)", DecimalType(18, 2)), "much": ("i::DECIMAL(38, 4)", DecimalType(38, 4)),
           "share": ("i / 7.0::DOUBLE", DoubleType()), "yes": ("i % 2 = 0", BooleanType()), "at": ("TIMESTAMP '2026-11-01 08:00:00' + INTERVAL (i) SECOND", TimestampType()),
           "words": ("CASE WHEN i % 3 > 0 THEN '一个很长的文字，比十六个字符还要长得多 ' || i END", StringType()), "nothing": ("NULL::VARCHAR", StringType())}
SCHEMA = Schema(*(NestedField(number, name, kind, required=False) for number, (name, (_, kind)) in enumerate(COLUMNS.items(), 1)))


@pytest.fixture
def table(tmp_path):
    catalog = InMemoryCatalog("memory", warehouse=str(tmp_path / "warehouse"))
    catalog.create_namespace("of")
    return catalog.create_table("of.rows", SCHEMA, partition_spec=PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "segment")),
                                properties={"write.metadata.metrics.column.segment": "full", "write.metadata.metrics.column.small": "counts",
                                            "write.metadata.metrics.column.yes": "none"})


def _file(path, rows: int, columns=tuple(COLUMNS), more: str = "", ids: dict[str, int] | None = None) -> str:
    ids = ids or {name: number for number, name in enumerate(COLUMNS, 1) if name in columns}
    chosen = ", ".join(f'{COLUMNS[c][0].format(seg=repr(path.stem))} AS "{c}"' for c in columns)
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT {chosen}{more} FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet, FIELD_IDS {ids}, ROW_GROUP_SIZE 2048)")
    return str(path)


def test_a_table_is_told_of_files_what_pyiceberg_would_tell_it(table, tmp_path):
    files = [_file(tmp_path / "one.parquet", 10), _file(tmp_path / "many.parquet", 9_000), _file(tmp_path / "again.parquet", 10),
             _file(tmp_path / "less.parquet", 50, ("segment", "n", "words"))]
    told = list(appending.described(table.metadata, table.io, files))
    assert [repr(one) for one in told] == [repr(parquet_file_to_data_file(table.io, table.metadata, file)) for file in files]
    assert len(told[1].split_offsets) > 1 and told[1].record_count == 9_000


def test_files_that_are_added_are_the_rows_of_one_snapshot(table, tmp_path):
    files = [_file(tmp_path / f"{number}.parquet", 10 * number) for number in range(1, 4)]
    with table.transaction() as change:
        appending.add(change, table.io, files)
    assert len(table.snapshots()) == 1 and table.name_mapping() is not None
    assert sorted(task.file.file_path for task in table.scan().plan_files()) == sorted(files)
    assert [task.file.partition[0] for task in table.scan("segment = '2'").plan_files()] == ["2"]
    assert table.scan("segment = '3'").to_arrow().num_rows == 30


@pytest.mark.parametrize("wrong", [{"more": ", 1 AS stranger"}, {"ids": {"n": 1, "segment": 2}, "columns": ("segment", "n")}], ids=["column", "ids"])
def test_a_file_of_another_table_is_refused_also_after_others(table, tmp_path, wrong):
    files = [_file(tmp_path / "right.parquet", 10), _file(tmp_path / "wrong.parquet", 10, **wrong)]
    with pytest.raises(ValueError):
        list(appending.described(table.metadata, table.io, files))
