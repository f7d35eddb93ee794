"""What base gets lies in the order of the records, also where rows are dropped and several threads write."""
from __future__ import annotations

from pipelines import compiler, splitting
from pipelines.contract import dataset
from pipelines.splitting import Batches, write_accepted
from pipelines.sql import connect, name
from tests.support import RESIDENCE, project

ROWS = 400_000


def test_accepted_rows_lie_in_the_order_of_their_records(tmp_path):
    plan = compiler.plan(dataset("population.residence", project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "snapshot"))), ())
    own = [(n, t) for n, t in plan.physical() if n not in ("_key", "_batch", "_file", "_ordinal", "_op")]
    (tmp_path / "accepted").mkdir()
    with connect() as con:
        con.execute("SET threads = 4")
        con.execute(f"CREATE TABLE unit_1 AS SELECT {', '.join(f'NULL::{t} AS {name(n)}' for n, t in own)}, 'U'::ENUM('U', 'D') AS _op, NULL::TINYINT AS _line, "
                    f"(i % 100 = 7)::BIGINT * {plan.reject_masks()[0]} AS _failed_0, i::VARCHAR AS {name(compiler.key_column(plan))} "
                    f"FROM range({ROWS}) t(i)".replace(f"NULL::VARCHAR AS {name(compiler.key_column(plan))}, ", ""))
        rows = f"SELECT 1 AS _file, coalesce(_line, rowid + 1) AS _ordinal, *, {name(compiler.key_column(plan))} AS _key FROM unit_1"
        con.execute(f"CREATE VIEW staged AS {rows}")
        con.execute(f"CREATE TABLE dropped AS SELECT 1 AS _file, i AS _ordinal, 'copy' AS outcome FROM range(5, {ROWS}, 50) t(i)")
        ids = {n: i for i, (n, _) in enumerate(plan.stored(), 1)}
        counts = write_accepted(con, plan, Batches({0: "population.residence~police~all~2026-11-01~1"}, {0: tmp_path}), ids, {"unit_1": rows})[0]
        file = str(tmp_path / "accepted" / "rows.parquet")
        assert counts == {"accepted": ROWS * 97 // 100, "deletes": 0}
        found = con.execute("SELECT count(*), count(*) FILTER (_ordinal % 50 = 5 OR _ordinal % 100 = 8) FROM read_parquet($1)", [file]).fetchone()
        assert found == (counts["accepted"], 0)
        mixed = con.execute("SELECT count(*) FROM (SELECT _ordinal <= lag(_ordinal) OVER () AS back FROM read_parquet($1)) WHERE back", [file]).fetchone()[0]
        assert mixed == 0


def test_repeated_keys_are_the_same_in_however_many_parts_they_are_counted(tmp_path, monkeypatch):
    plan = compiler.plan(dataset("population.residence", project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "snapshot"))), ())
    first, own = plan.dataset.columns[0].name, {"_key", "_batch", "_file", "_ordinal", "_op", compiler.key_column(plan)}
    columns = ", ".join(f"NULL::{t} AS {name(n)}" for n, t in plan.physical() if n not in own | {first})
    found = []
    with connect() as con:
        con.execute(f"CREATE TABLE staged AS SELECT 1 AS _file, i AS _ordinal, {columns}, (i % 7)::VARCHAR AS {name(first)}, 'U' AS _op, "
                    f"0 AS _failed_0, hash(i % 3000)::VARCHAR AS _key FROM range(5000) t(i)")
        for keys in (1_000_000, 400):
            monkeypatch.setattr(splitting, "KEYS", keys)
            splitting.resolve_keys(con, plan, Batches({0: "b"}, {0: tmp_path}))
            found.append(con.execute("FROM dropped ORDER BY ALL").fetchall())
            con.execute("DROP TABLE shared; DROP TABLE dropped")
    assert found[0] == found[1] and len(found[0]) == 2000
