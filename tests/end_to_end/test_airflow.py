"""The real DAGs through Airflow's own scheduler: accepted, held, released, and nothing twice."""
from __future__ import annotations

import duckdb
import pytest

from pipelines import scheduler, steps
from pipelines.settings import PRIVATE
from pipelines.status import status, why
from tests.support import HEADER, RESIDENCE, desk, project, resident_id, write_csv

DATASET = "population.residence"


def _deliver(at, date: str, rows: list[tuple]) -> None:
    write_csv(at.lake.inbox / DATASET / "police" / date / "640100.csv", HEADER, rows)


def _run(at) -> int:
    return scheduler.conclude(scheduler.run(scheduler.waiting(at), at.lake, at.project, say=lambda _: None))


@pytest.mark.airflow
def test_batches_go_through_the_scheduler_and_a_held_one_stays_out(tmp_path, capsys):
    at = desk(tmp_path, project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    good = [(resident_id(n), "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 21)]
    bad = [(f"64010419900101{n:04d}", "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 21)]
    _deliver(at, "2026-10-01", good)
    _deliver(at, "2026-11-01", bad)
    assert scheduler.waiting(at) == [(DATASET, "2026-10-01"), (DATASET, "2026-11-01")]
    assert _run(at) == 1
    said = capsys.readouterr().out
    assert "id_number.checksum" in said and "python -m pipelines why" in said
    con = duckdb.connect(str(at.lake.database), read_only=True)
    assert con.execute("SELECT count(*) FROM population.residence").fetchone() == (20,)
    con.close()
    found = status(at)["datasets"][0]
    assert (found["accepted"], found["held"]) == (20, 1)
    story = why(f"{DATASET}~police~640100~2026-11-01~1", at)
    assert story["batch"]["state"] == "held" and "--correct" in story["remedy"]
    assert scheduler.waiting(at) == []
    assert steps.release(at) is None
    exposed = [p for p in at.lake.home.rglob("*") if p.is_file() and p.relative_to(at.lake.home).parts[0] not in PRIVATE and p.suffix != ".parquet"]
    assert {"airflow", "reports", "catalog.db", "lake.duckdb"} <= {p.relative_to(at.lake.home).parts[0] for p in exposed}
    assert any(p.suffix == ".log" for p in exposed) and any(p.suffix == ".db" for p in exposed)
    values = [row[0].encode() for row in (*good, *bad)] + ["赵一一".encode()]
    leaks = {str(p.relative_to(at.lake.home)) for p in exposed if any(v in p.read_bytes() for v in values)}
    assert leaks == set()
