"""What was planted: the truth beside the inbox, for tests and for measuring recall and precision.

<truth>/defects.parquet          dataset, source, batch_date, file, ordinal, column, defect, clean, submitted, outcome, rule
<truth>/clean/<dataset>~<source>~<date>.parquet   _file, _ordinal, _defect and every column as clean text
<truth>/leads.parquet            question, rule, uscc, id_number, record: what the theme views must find
<truth>/personal_values.parquet  kind, value, searchable: every personal value in the files
`ordinal` is the record ordinal in the file, 1-based; NULL where the defect is the whole file's. `clean` casts to the stored type. `rule` is NULL where no declared
check sees the defect. These files hold personal values (synthetic ones): they are for tests, not for the lake.
"""
from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines import sql
from pipelines.sample.extras import truths
from pipelines.sample.plants import FLAGGED, MISSING
from pipelines.sample.submission import QUERIES, Submission

FAULT, MISDECLARED = "X36", "X23"
_SEARCHED = {"resident_id": 15, "document_number": 15, "person_name": 3, "phone": 11, "mobile": 11, "address": 8, "opaque_id": 9}
_LEGIBLE = ("X01", "X02", "X03", "X04", "X05", "X06", "X19", "X20", "X22")
_LEADS = ("credit.judgment_defaulter", "credit.administrative_licence", "credit.administrative_penalty",
          "population.benefit_payment", "population.social_insurance")


def begin(con: duckdb.DuckDBPyConnection) -> None:
    """Create the empty truth tables."""
    con.execute("CREATE TABLE defects (dataset VARCHAR, source VARCHAR, batch_date DATE, file VARCHAR, ordinal BIGINT, "
                '"column" VARCHAR, defect VARCHAR, clean VARCHAR, submitted VARCHAR, outcome VARCHAR, rule VARCHAR)')
    con.execute("CREATE TABLE unusable_codes (record VARCHAR)")
    con.execute("CREATE TABLE personal_values (kind VARCHAR, value VARCHAR, searchable BOOLEAN)")


def record(con: duckdb.DuckDBPyConnection, made: Submission, files: list[str]) -> int:
    """Add the defects and personal values of one written submission; returns the number of defects."""
    where = f"{sql.text(made.dataset.id)}, {sql.text(made.source.source)}, DATE {sql.text(made.batch_date)}"
    first = [r[0] for r in con.execute(f"SELECT min(rowid) FROM {made.table} GROUP BY _file ORDER BY _file").fetchall()]
    con.execute(f"CREATE OR REPLACE TEMP VIEW placed AS SELECT *, {sql.texts(files)}[_file] AS _name, "
                f"rowid - {first}[_file] + 1 AS _ordinal FROM {made.table}")
    before = con.execute("SELECT count(*) FROM defects").fetchone()[0]
    if made.plants:
        clean = " ".join(f"WHEN {p.number} THEN {sql.name(p.column)}" for p in made.plants)
        rows = ", ".join(f"({p.number}, {', '.join(sql.text(v) for v in (p.column, p.id, p.outcome, p.rule))})" for p in made.plants)
        con.execute(f"CREATE OR REPLACE TEMP TABLE plant AS FROM (VALUES {rows}) AS p(number, col, defect, outcome, rule)")
        con.execute(f"INSERT INTO defects SELECT {where}, _name, _ordinal, col, defect, CASE _plant {clean} END, "
                    f"_sent, outcome, rule FROM placed JOIN plant ON number = _plant ORDER BY _file, _ordinal")
    for extra in truths(made.dataset):
        rule = sql.text(extra.rule) if extra.rule else "NULL"
        values = f"SELECT {where}, _name, _ordinal, NULL, '{extra.id}', NULL, NULL, '{extra.outcome}', {rule} FROM placed"
        con.execute(f"INSERT INTO defects {values} WHERE _extra = '{extra.id}' ORDER BY _file, _ordinal")
        if extra.both:
            con.execute(f"INSERT INTO defects {values} WHERE _extra IS NULL AND _order IN (SELECT _order FROM placed WHERE _extra = '{extra.id}') ORDER BY 4, 5")
    lost = [p.number for p in made.plants if p.column == "uscc" and p.outcome in (FLAGGED, MISSING)]
    if lost and made.dataset.domain == "credit" and "decision_no" in made.dataset.key:
        con.execute(f"INSERT INTO unusable_codes SELECT decision_no FROM placed "
                    f"WHERE list_contains({lost}, _plant) AND subject_kind <> '2'")
    _personal(con, made)
    return con.execute("SELECT count(*) FROM defects").fetchone()[0] - before


def record_fault(con: duckdb.DuckDBPyConnection, made: Submission, file: str, ordinal: int, rule: str) -> None:
    """Add a line that no reader can take as a record; `rule` is the reading's reason."""
    con.execute("INSERT INTO defects VALUES (?, ?, ?, ?, ?, NULL, ?, NULL, NULL, 'unparseable', ?)",
                [made.dataset.id, made.source.source, made.batch_date, file, ordinal, FAULT, rule])


def record_misdeclared(con: duckdb.DuckDBPyConnection, made: Submission, file: str) -> None:
    """Add a whole file whose bytes are not in the encoding its contract declares (no ordinal: every record of it)."""
    con.execute("INSERT INTO defects VALUES (?, ?, ?, ?, NULL, NULL, ?, NULL, NULL, 'repaired', NULL)",
                [made.dataset.id, made.source.source, made.batch_date, file, MISDECLARED])


def note_personal(con: duckdb.DuckDBPyConnection, kind: str, values: list[str]) -> None:
    """Add personal values that stand elsewhere than in cells."""
    con.executemany("INSERT INTO personal_values VALUES (?, ?, true)", [(kind, v) for v in values])


def _personal(con: duckdb.DuckDBPyConnection, made: Submission) -> None:
    for column in made.columns:
        kind, least = column.type, _SEARCHED.get(column.type)
        if least is None or column.classification not in ("personal", "sensitive"):
            continue
        value = sql.name(column.name)
        if kind == "address":
            value = f"nullif(split_part({value}, '街道', 2), '')"
        con.execute(f"INSERT INTO personal_values SELECT DISTINCT {sql.text(kind)}, {value} AS v, length(v) >= {least} "
                    f"FROM {made.table} WHERE v IS NOT NULL")
        con.execute(f"INSERT INTO personal_values SELECT DISTINCT {sql.text(kind + ' as sent')}, submitted, length(submitted) >= {least} "
                    f"FROM defects WHERE dataset = {sql.text(made.dataset.id)} AND source = {sql.text(made.source.source)} "
                    f"AND \"column\" = {sql.text(column.name)} AND defect IN {_LEGIBLE}")


def keep_clean(con: duckdb.DuckDBPyConnection, made: Submission, truth: Path) -> None:
    """Write the clean rows of one submission with their addresses; needs the view that `record` left."""
    path = truth / "clean" / f"{made.dataset.id}~{made.source.source}~{made.batch_date}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = " ".join(f"WHEN {p.number} THEN {sql.text(p.id)}" for p in made.plants)
    defect = f"coalesce(_extra, CASE _plant {names} END)" if names else "_extra"
    columns = ", ".join(sql.name(c.name) for c in made.dataset.columns)
    con.execute(f"COPY (SELECT _name AS _file, _ordinal, {defect} AS _defect, {columns} FROM placed) TO {sql.text(path)} (FORMAT parquet)")


def finish(con: duckdb.DuckDBPyConnection, truth: Path, anchor: object) -> int:
    """Work out the leads and write the truth files; returns the number of leads."""
    con.execute(f"SET VARIABLE batch = DATE {sql.text(anchor)}")
    for dataset in _LEADS:
        query = (QUERIES / f"{dataset}.sql").read_text(encoding="utf-8")
        planted = " AND _guard" if dataset.startswith("population.") else ""
        con.execute(f"CREATE TEMP TABLE t_{dataset.partition('.')[2]} AS SELECT * FROM (\n{query}) "
                    f"WHERE _since <= getvariable('batch'){planted}")
    con.execute((QUERIES.parent / "leads.sql").read_text(encoding="utf-8"))
    truth.mkdir(parents=True, exist_ok=True)
    for table, order in (("defects", " ORDER BY ALL"), ("leads", " ORDER BY ALL"), ("personal_values", "")):
        con.execute(f"COPY (SELECT DISTINCT * FROM {table}{order}) TO {sql.text(truth / (table + '.parquet'))} (FORMAT parquet)")
    return con.execute("SELECT count(*) FROM leads").fetchone()[0]
