"""A database through Airflow's own scheduler: extracted, taken in, released; nothing changed fires nothing; no secret is left behind."""
from __future__ import annotations

import duckdb
import pytest

from pipelines.airflow_parts import Parts
from pipelines.airflow_session import Session
from pipelines.settings import PRIVATE
from tests import servers
from tests.extraction import DATASET, Bench, create, insert
from tests.support import resident_id

EXTRACT, INGEST, WAIT_SECONDS = f"extract.{DATASET}", f"ingest.{DATASET}", 120


@pytest.mark.airflow
@pytest.mark.chaos
def test_a_table_is_extracted_and_published_and_nothing_changed_starts_nothing(tmp_path, monkeypatch):
    with servers.postgresql(tmp_path / "postgresql") as server:
        create(server)
        people = [resident_id(n) for n in range(1, 21)]
        insert(server, [(p, "赵一一", "1990-01-01", "640104", "有效", None) for p in people])
        bench = Bench.make(server, tmp_path, monkeypatch)
        with Parts(bench.desk.lake, bench.desk.project) as parts:
            session = Session(parts, {DATASET}, lambda _: None)
            assert _run(session, "2026-11-01") == ["success"]
            session._until("the table to be released", lambda: _seen(bench) == 20, WAIT_SECONDS)
            server.run(f"DELETE FROM residence WHERE sfzh = '{people[0]}'")
            assert _run(session, "2026-11-02") == ["success"]
            session._until("the deletion to be released", lambda: _seen(bench) == 19, WAIT_SECONDS)
            assert _run(session, "2026-11-03") == ["skipped"], "nothing changed"
            monkeypatch.undo()
            keys = {r["partition_key"]: r["state"] for r in session.api.get(f"/dags/{INGEST}/dagRuns")["dag_runs"]}
            assert keys == {"2026-11-01": "success", "2026-11-02": "success"}
        exposed = [p for p in bench.desk.lake.home.rglob("*") if p.is_file() and p.relative_to(bench.desk.lake.home).parts[0] not in PRIVATE and p.suffix != ".parquet"]
        assert any(p.suffix == ".log" for p in exposed) and any(p.suffix == ".db" for p in exposed)
        secrets = [s.encode() for s in (servers.READER_WORD, servers.READER, "赵一一", *people)]
        assert {str(p) for p in exposed if any(s in p.read_bytes() for s in secrets)} == set()


def _run(session: Session, key: str) -> list[str]:
    """Run the extraction of a date; returns how its tasks ended."""
    run = session._trigger(EXTRACT, key)
    session._wait([run])
    return [t["state"] for t in session.api.get(f"/dags/{EXTRACT}/dagRuns/{run[1]}/taskInstances")["task_instances"]]


def _seen(bench: Bench) -> int:
    """How many rows the published view has; 0 before there is one."""
    if not bench.desk.lake.database.exists():
        return 0
    with duckdb.connect(str(bench.desk.lake.database), read_only=True) as con:
        return con.execute("SELECT count(*) FROM population.residence").fetchone()[0]
