"""The synthetic sample: submissions as departments send them, with planted defects, and the truth about both.

Layout: sql/world.sql invents persons, households and enterprises; sql/datasets/<dataset>.sql says which clean rows each
department knows; plants.py names the defects, submission.py plants them, writing.py writes the files the contracts
describe, truth.py what was planted. All rows are made by DuckDB from hashes of (number, purpose, seed): the same
arguments give the same bytes. Everything is invented, yet a synthetic number may equal a real one: see truth.py.
"""
from __future__ import annotations

import calendar
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import yaml

from pipelines import sql
from pipelines.contract import Dataset, datasets
from pipelines.folders import DONE
from pipelines.sample import truth as truths
from pipelines.sample.faults import spoil
from pipelines.sample.submission import QUERIES, Submission, build
from pipelines.sample.writing import write
from pipelines.settings import Project, WrongUse

LEAST_PERSONS = 200
_MARKS = "".join(chr(0x9450 + 3 * i) for i in range(100))     # trade marks: characters no name of a person uses
_FILE_WITH_NAME = ("population.person", "640300")
_FILE_WITH_HEADER = ("population.person", "640500")
_FAULTY_FILE = ("population.person", "640200")
_MISDECLARED_FILE = ("credit.administrative_penalty", "2")     # declared UTF-8, written in GB18030


@dataclass(frozen=True)
class Summary:
    """What was written. `datasets`: dataset → files, rows, defects."""

    out: str
    truth: str
    persons: int
    seed: int
    batch_dates: tuple[str, ...]
    datasets: dict[str, dict[str, int]]
    leads: int

    def to_dict(self) -> dict:
        return asdict(self)


def generate(out: Path, persons: int, seed: int, batch_date: date, months: int = 1, *, truth: Path | None = None,
             dirt: float = 1.0, faults: bool = False, project: Project | None = None) -> Summary:
    """Write the submissions of `months` monthly batch dates, the last being `batch_date`, and their truth.

    Args:
        out: the inbox; files go to `<out>/<dataset>/<source>/<batch date>/<file>`, with a `.done` beside them.
        persons: size of the population; the other tables follow (a tenth as many enterprises, …).
        truth: folder of the truth files; default `<out>/../sample_truth`.
        dirt: factor on every defect rate; 0 writes clean submissions.
        faults: also damage one file of persons (an unclosed quote in its middle, a line without its last field).

    Raises:
        WrongUse: fewer than 200 persons, or a contract column that the sample has no value for.
    """
    if persons < LEAST_PERSONS:
        raise WrongUse(f"The sample needs at least {LEAST_PERSONS} persons for its enterprises and leads; {persons} were asked for.")
    project, truth = project or Project.open(), Path(truth or out.parent / "sample_truth")
    known = [d for d in datasets(project) if (QUERIES / f"{d.id}.sql").exists()]
    dates = [_months_before(batch_date, n) for n in range(months - 1, -1, -1)]
    counts = {d.id: {"files": 0, "rows": 0, "defects": 0} for d in known}
    truth.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=truth, prefix=".scratch") as scratch, sql.connect(temp=Path(scratch)) as con:
        _world(con, project, persons, seed, batch_date)
        truths.begin(con)
        for made in _submissions(con, known, dates, dirt):
            files = _write(con, made, out, truth, faults and made.batch_date == batch_date, dirt > 0)
            for key, value in files.items():
                counts[made.dataset.id][key] += value
        leads = truths.finish(con, truth, batch_date)
    summary = Summary(str(out), str(truth), persons, seed, tuple(map(str, dates)), counts, leads)
    (truth / "summary.json").write_text(json.dumps(summary.to_dict(), ensure_ascii=False, indent=1), encoding="utf-8")
    return summary


def _submissions(con: duckdb.DuckDBPyConnection, known: list[Dataset], dates: list[date], dirt: float) -> Iterator[Submission]:
    for dataset in known:
        for source in dataset.sources:
            for previous, day in zip([None, *dates], dates):
                try:
                    yield build(con, dataset, source, day, previous, dirt)
                except duckdb.BinderException as error:
                    raise WrongUse(f"{dataset.id}: sql/datasets/{dataset.id}.sql and the contract do not fit: {error}") from error


def _world(con: duckdb.DuckDBPyConnection, project: Project, persons: int, seed: int, anchor: date) -> None:
    enterprises = persons // 10
    settings = {"seed": seed, "persons": persons, "enterprises": enterprises, "licences": persons // 30, "penalties": persons // 24,
                "defaulters": max(persons // 25, 5), "anchor": anchor, "reference": project.reference, "mark": _MARKS}
    for name, value in settings.items():
        literal = f"DATE '{value}'" if isinstance(value, date) else str(value) if isinstance(value, int) else sql.text(value)
        con.execute(f"SET VARIABLE {name} = {literal}")
    con.execute("CREATE SCHEMA clean")
    for script in ("macros", "world", "dirt"):
        con.execute((QUERIES.parent / f"{script}.sql").read_text(encoding="utf-8"))
    _other_texts(con, project)


def _other_texts(con: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Table `sample_other`: the name of every code, and a former division for every county that has one."""
    con.execute("CREATE TABLE sample_other (which VARCHAR, value VARCHAR, other VARCHAR)")
    for code_list in yaml.safe_load((project.reference / "lists.yaml").read_text(encoding="utf-8")):
        if "code" in code_list and "label" in code_list:
            code, label = sql.name(code_list["code"]), sql.name(code_list["label"])
            rows = f"read_csv({sql.text(project.reference / code_list['file'])}, all_varchar = true)"
            con.execute(f"INSERT INTO sample_other SELECT {sql.text('label:code(' + code_list['list'] + ')')}, any_value({code}), {label} "
                        f"FROM {rows} WHERE {label} IS NOT NULL AND {label} <> {code} GROUP BY {label} HAVING count(*) = 1")
    con.execute("INSERT INTO sample_other SELECT 'obsolete:region_code(current)', current_code, min(code) FROM world.old_code "
                "WHERE current_code IN (SELECT code FROM world.county) GROUP BY current_code")
    con.execute("SET VARIABLE labels = (SELECT map(list(which || ':' || value), list(other)) FROM sample_other)")


def _write(con: duckdb.DuckDBPyConnection, made: Submission, out: Path, truth: Path, faults: bool, dirty: bool) -> dict[str, int]:
    """Write the files of one submission, their mark last, and record their truth; the clean table is dropped afterwards."""
    if not made.parts:
        return {}
    folder = out / made.dataset.id / made.source.source / str(made.batch_date)
    contact = con.execute("SELECT name, mobile FROM world.person WHERE length(name) = 3 ORDER BY i DESC LIMIT 1").fetchone()
    names = [_file_name(con, made, part, contact) for part in made.parts]
    cells = ", ".join(f"{made.cell(c)} AS {sql.name(c.name)}" for c in made.columns)
    for number, (part, name) in enumerate(zip(made.parts, names), start=1):
        columns, header, extra = [c.name for c in made.columns], made.header(number), ""
        if made.source.ignore:
            columns, header, extra = ["_row", *columns], [made.source.ignore[0], *header], "rowid::VARCHAR AS _row, "
        if (made.dataset.id, part) == _FILE_WITH_HEADER:
            columns, header, extra = [*columns, "_note"], [*header, f"核对人{contact[0]}{contact[1]}"], extra + "NULL AS _note, "
            truths.note_personal(con, "header cell", list(contact))
        encoding = {"gb18030": "gb18030", "utf-8": "utf-8-sig" if made.source.format == "csv" else "utf-8",
                    "auto": ("utf-8-sig", "gb18030")[number % 2]}[made.source.encoding]
        if dirty and (made.dataset.id, part) == _MISDECLARED_FILE:
            encoding = "gb18030"
            truths.record_misdeclared(con, made, name)
        select = f"SELECT {extra}{cells} FROM {made.table} WHERE _file = {number}"
        write(con, select, columns, header, made.source, encoding, made.line_end, folder / name)
    defects = truths.record(con, made, names)
    truths.keep_clean(con, made, truth)
    for part, name in zip(made.parts, names):
        if faults and (made.dataset.id, part) == _FAULTY_FILE:
            for rule, ordinal in spoil(con, folder / name, name).items():
                truths.record_fault(con, made, name, ordinal, rule)
                defects += 1
    (folder / DONE).touch()
    rows = con.execute(f"SELECT count(*) FROM {made.table}").fetchone()[0]
    con.execute(f"DROP VIEW placed; DROP TABLE {made.table}")
    return {"files": len(names), "rows": rows, "defects": defects}


def _file_name(con: duckdb.DuckDBPyConnection, made: Submission, part: str, contact: tuple[str, str]) -> str:
    words = [made.dataset.table_zh, *([part] if part != "all" else []), made.batch_date.strftime("%Y%m%d")]
    if (made.dataset.id, part) == _FILE_WITH_NAME:
        words.append(f"经办人{contact[0]}{contact[1]}")
        truths.note_personal(con, "file name", list(contact))
    return "_".join(words) + "." + made.source.format


def _months_before(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
