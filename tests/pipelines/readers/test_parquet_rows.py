"""Parquet: every type as text, names as they are, broken files refused without harm to the connection."""
from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def parquet(columns: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def test_parquet_columns_become_text(bench):
    moment = dt.datetime(2020, 1, 2, 3, 4, 5)
    got = bench.read(parquet({
        "d": [1.0, 110105194912310021.0, 110105491231002.0, 0.5, None, -2.0], "f": pa.array([1.0, 2.0**24, 0.5, None, -1.0, 20200102.0], pa.float32()), "i": [2**60] * 6,
        "t": ["a", "", None, "x", "y", "z"], "b": pa.array([b"\xe5\xbc\xa0", b"", None, b"1", b"2", b"3"]), "day": [moment.date()] * 6, "ts": pa.array([moment] * 6, pa.timestamp("ms")),
        "tz": pa.array([moment] * 6, pa.timestamp("us", "UTC")), "l": [[1, 2], [], None, [3], [4], [5]], "s": [{"键": 1, "x": {"y": "z"}}] * 6, "bool": [True, False, None] * 2,
        "dec": pa.array([Decimal(1), Decimal(2), None, Decimal(3), Decimal(4), Decimal("5.5")], pa.decimal128(12, 2)), "select": ["'; DROP TABLE t; --"] * 6}), format="parquet")
    assert got.unit.header == ("d", "f", "i", "t", "b", "day", "ts", "tz", "l", "s", "bool", "dec", "select") and got.unit.form == "parquet"
    columns = list(zip(*got.rows))
    assert columns[:4] == [(1, 2, 3, 4, 5, 6), ("1", "1.10105E+17", "110105491231002", "0.5", "", "-2"), ("1", "1.67772E+07", "0.5", "", "-1", "2.02001E+07"), (str(2**60),) * 6]
    assert columns[4:6] == [("a", "", "", "x", "y", "z"), ("张", "", "", "1", "2", "3")]
    assert [c[0] for c in columns[6:9]] == ["2020-01-02", "2020-01-02 03:04:05", "2020-01-02 11:04:05"]
    assert columns[9][:3] == ("[1,2]", "[]", "") and columns[10][0] == '{"键":1,"x":{"y":"z"}}' and columns[11][:3] == ("true", "false", "") and columns[12][0] == "1.00"


def test_parquet_headers_keep_names_that_repeat_and_nested_ones_at_the_top(bench):
    twice = pa.Table.from_arrays([pa.array([{"a": 1}]), pa.array(["1"]), pa.array([[{"n": 1}]]), pa.array(["2"])], names=["s", "n", "l", "n"])
    out = io.BytesIO()
    pq.write_table(twice, out)
    got = bench.read(out.getvalue(), format="parquet")
    assert got.unit.header == ("s", "n", "l", "n") and got.rows == [(1, '{"a":1}', "1", '[{"n":1}]', "2")]


def test_broken_parquet_is_refused(bench):
    whole = parquet({"a": [f"值{n}" for n in range(5_000)]})
    for content in (whole[:-30], whole[:len(whole) // 2], whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:], whole[:100] + b"\xff" * 200 + whole[300:],
                    parquet({"a": pa.array([b"\xff\xfe"])})):
        assert bench.refused(content, format="parquet") == "parquet"
    assert bench.refused(parquet({f"c{n}": [1] for n in range(10_001)}), format="parquet") == "columns"
    assert bench.con.execute("SELECT 1").fetchone() == (1,)
