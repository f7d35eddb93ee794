"""The job by the product: one run, as a user's command does it, in a process of its own.

    python -m tests.benchmarks.job.run prepare FILE FOLDER     a project with the job's contract, a lake with its code lists, the file in the inbox
    python -m tests.benchmarks.job.run ingest FILE FOLDER      timed: landing, contract, Great Expectations, Iceberg, ledger, quarantine, report, view
    python -m tests.benchmarks.job.run publish FILE FOLDER     timed: the same, and the release with its pseudonymised files
    python -m tests.benchmarks.job.run results FILE FOLDER     what came of it, in the form in which it is compared (`FOLDER/results`)
"""
from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import closing
from pathlib import Path

JOB = Path(__file__).parent
DATASET, SOURCE, DATE = "population.register", "police", "2026-11-01"
# Which rules of the contract a rule of the job is.
RULES = {"ID_CHECK": "id_number.", "BIRTH_ID": "birth_date_agrees_with_id", "SEX_ID": "sex_agrees_with_id", "REGION_KNOWN": "region_code.",
         "NAME_PRESENT": "name_present", "MOBILE": "mobile_is_one"}
VIEW = "left(id_number, 6) || '********' || substr(id_number, 15) AS id_no, left(name, 1) || '*' AS name, sex_code, ethnic_code, region_code, update_date"


def prepare(file: Path, folder: Path) -> None:
    """What is there before a file comes."""
    from pipelines.semantics import reference
    from pipelines.settings import Lake
    from pipelines.sql import connect
    from tests.support import project

    made = project(folder / "project", population__register=(JOB / "contract.yaml").read_text("utf-8"))
    (made.expectations / "population").mkdir()
    shutil.copy(JOB / "rules.yaml", made.expectations / "population" / "register.yaml")
    lake = Lake.open(folder / "lake")
    with closing(connect()) as con:
        reference.ready(con, made, lake.staging)
    inbox = lake.inbox / DATASET / SOURCE / DATE
    inbox.mkdir(parents=True)
    os.link(file, inbox / file.name)      # the bench's own folder holds both: a copy of a hundred million rows would take 12 GB


def ingest(folder: Path, publish: bool) -> None:
    """The timed part: the steps of the dataset's DAG, in one process. Prints the seconds that importing them took."""
    started = time.perf_counter()
    from pipelines import gate, steps

    print("imported", round(time.perf_counter() - started, 2))
    gate.warm()
    accepted = steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET)))
    assert len(accepted) == 1, "the gate holds the batch"
    steps.commit(DATASET, accepted)
    _view(folder)
    if publish:
        steps.release()


def _view(folder: Path) -> None:
    """The job's masked view over the table's own files: for the pipeline's account."""
    import duckdb

    with closing(duckdb.connect(str(folder / "lake" / "current" / "job.duckdb"))) as con:
        con.execute(f"CREATE VIEW person_masked AS SELECT {VIEW} FROM read_parquet({_files(folder)})")


def _files(folder: Path) -> list[str]:
    from pipelines import base
    from pipelines.desk import Desk

    at = Desk.open()
    return [f for v in base.state(at.lake, at.plan(DATASET)).segments.values() for f in v.files]


def results(folder: Path) -> None:
    """Write what the lake holds as the job wants it: missing is '' there and sex 9; rejected rows come from landing by their addresses."""
    import duckdb
    import sqlalchemy as sa

    from pipelines import landing, ledger_tables as tables, readers
    from pipelines.desk import Desk
    from tests.benchmarks.job.data import HEADER, LEAST

    at, out = Desk.open(), folder / "results"
    (out / "scratch").mkdir(parents=True)
    [row] = at.ledger.rows(sa.select(tables.batches))
    with closing(duckdb.connect()) as con:
        con.execute(f"""COPY (SELECT id_number AS id_no, name, coalesce(sex_code, '9') AS sex_code, birth_date, ethnic_code, region_code, coalesce(address, '') AS address,
            coalesce(mobile, '') AS mobile, update_date, left(region_code, 2) AS province FROM read_parquet({_files(folder)}))
            TO '{out}/accepted' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (province))""")
        con.execute(f"CREATE TABLE bad AS FROM read_parquet('{at.lake.quarantine}/{DATASET}/*.parquet')")
        manifest = landing.read_manifest(landing.folder(at.lake, row["batch_id"], row["revision"]))
        raw = readers.raw_rows(con, manifest, at.plan(DATASET).dataset.source(SOURCE), con.execute("SELECT _file, _ordinal FROM bad").fetchall(), out / "scratch")
        cells = ", ".join(f'cells[{i}] AS "{h}"' for i, h in enumerate(HEADER, 1))
        named = " ".join(f"WHEN starts_with(r, '{start}') THEN '{rule}'" for rule, start in RULES.items())
        con.execute(f"""COPY (SELECT {cells}, list_distinct(list_filter(list_transform(rules, lambda r: CASE {named} END), lambda r: r IS NOT NULL)) AS reasons
            FROM bad JOIN {raw} USING (_file, _ordinal)) TO '{out}/quarantine.parquet' (FORMAT parquet, COMPRESSION zstd)""")
    shutil.rmtree(out / "scratch")
    shutil.copy(folder / "lake" / "current" / "job.duckdb", out / "lake.duckdb")
    judged = at.ledger.rows(sa.select(tables.rule_results))
    failed = {rule: sum(r["failed"] for r in judged if r["rule"].startswith(start) and r["reason"] != "form") for rule, start in RULES.items()}
    counts = {rule: {"failed": n, "status": "pass" if (row["records"] - n) / row["records"] >= LEAST[rule] else "fail"} for rule, n in failed.items()}
    result = {"rows_in": row["records"], "accepted": row["accepted"], "duplicates": row["copies"] + row["superseded"], "quarantined": row["quarantined"], "rules": counts}
    (out / "report.json").write_text(json.dumps(result))
    steps = at.ledger.rows(sa.select(tables.steps.c.step, sa.func.sum(tables.steps.c.seconds).label("s")).group_by(tables.steps.c.step))
    print("phases", json.dumps({r["step"]: round(r["s"], 2) for r in steps}))
    print(json.dumps(result))


if __name__ == "__main__":
    what, file, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]).resolve()
    os.environ |= {"LAKE_HOME": str(folder / "lake"), "LAKE_PROJECT": str(folder / "project"), "LAKE_SETTLE_SECONDS": "0", "LAKE_MEMORY": os.environ.get("LAKE_MEMORY", "2GB")}
    {"prepare": lambda: prepare(file, folder), "ingest": lambda: ingest(folder, False), "publish": lambda: ingest(folder, True), "results": lambda: results(folder)}[what]()
