"""The sample is an oracle, so it is checked against its own files: what the truth says stands at an address must stand there."""
from __future__ import annotations

import csv
import hashlib
import re
import time
from datetime import date
from pathlib import Path

import duckdb
import pytest
from python_calamine import CalamineWorkbook

from pipelines import compiler
from pipelines.contract import dataset, datasets
from pipelines.folders import DONE
from pipelines.rules import rules
from pipelines.sample import Summary, generate
from pipelines.settings import Project, WrongUse
from tests.support import check_character

PERSONS, DAY = 4_000, date(2026, 11, 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Summary:
    return generate(tmp_path_factory.mktemp("sample") / "inbox", PERSONS, 11, DAY)


@pytest.fixture(scope="module")
def truth(made: Summary):
    con = duckdb.connect()
    for table in ("defects", "leads", "personal_values"):
        con.execute(f"CREATE VIEW {table} AS FROM '{made.truth}/{table}.parquet'")
    return con


def records(path: Path) -> list[list[str]]:
    """All records of a sample file, header first, read without any code of the lake."""
    if path.suffix == ".xlsx":
        rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python(skip_empty_area=False)
        return [[str(cell) for cell in row] for row in rows]
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("gb18030")
    delimiter = "|" if path.suffix == ".txt" else ","
    return list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))


def tree(folder: str) -> dict[str, str]:
    root = Path(folder)
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file() and p.name != DONE}


def accepted_headers(dataset_id: str, column: str) -> set[str]:
    found = dataset(dataset_id).column(column)
    return {found.name, found.zh, *found.aliases}


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    first, again, other = (generate(tmp_path / name / "inbox", 600, seed, DAY) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert tree(first.out) == tree(again.out)
    assert not set(tree(first.out).values()) & set(tree(other.out).values())


def test_every_dataset_and_source_of_the_contracts_is_written(made):
    for one in datasets():
        for source in one.sources:
            names = {p.name for p in (Path(made.out) / one.id / source.source / str(DAY)).iterdir()}
            assert DONE in names and {Path(n).suffix for n in names - {DONE}} == {"." + source.format}
    assert made.datasets["population.person"]["files"] == 5
    assert made.datasets["population.person"]["rows"] >= PERSONS


def test_the_cell_at_every_address_is_the_submitted_text(made, truth):
    checked = 0
    for dataset_id, source, file in truth.sql("SELECT DISTINCT dataset, source, file FROM defects").fetchall():
        rows = records(Path(made.out) / dataset_id / source / str(DAY) / file)
        planted = truth.execute('SELECT ordinal, "column", submitted FROM defects WHERE dataset = ? AND source = ? AND file = ? '
                                'AND "column" IS NOT NULL', [dataset_id, source, file]).fetchall()
        for ordinal, column, submitted in planted:
            place = [i for i, cell in enumerate(rows[0]) if cell in accepted_headers(dataset_id, column)]
            assert len(place) == 1, f"{dataset_id} {file}: column {column}"
            assert rows[ordinal][place[0]] == submitted, f"{dataset_id} {file} record {ordinal} column {column}"
            checked += 1
    assert checked > 1_000


def test_clean_rows_stand_at_their_addresses(made):
    folder = Path(made.out) / "population.person" / "public_security" / str(DAY)
    clean = duckdb.sql(f"FROM '{made.truth}/clean/population.person~public_security~{DAY}.parquet'")
    found = clean.filter("_defect IS NULL").project("_file, _ordinal, id_number, birth_date").fetchall()
    files = {p.name: records(p) for p in folder.iterdir() if p.name != DONE}
    assert sum(len(rows) - 1 for rows in files.values()) == clean.count("*").fetchone()[0]
    for file, ordinal, id_number, born in found:
        cells = files[file][ordinal]
        assert id_number in cells and born.replace("-", "") in cells


def test_at_most_one_defect_per_row(truth):
    assert not truth.sql("SELECT 1 FROM defects GROUP BY dataset, source, file, ordinal HAVING count(*) > 1").fetchall()
    assert not truth.sql('SELECT 1 FROM defects WHERE "column" IS NOT NULL AND clean IS NOT DISTINCT FROM submitted').fetchall()


def test_rates_are_those_of_the_catalogue(truth, made):
    rows = made.datasets["population.person"]["rows"]
    found = dict(truth.sql("SELECT defect, count(*) FROM defects WHERE dataset = 'population.person' AND "
                           "\"column\" IN ('id_number', 'birth_date', 'sex_code', 'hukou_region_code') OR defect = 'X25' AND "
                           "dataset = 'population.person' GROUP BY defect").fetchall())
    for defect, rate in {"X01": 0.005, "X05": 0.003, "X08": 0.004, "X12": 0.02, "X17": 0.03}.items():
        share = found[defect] / rows
        assert rate * 0.4 < share < rate * 1.6, f"{defect}: {share:.4f}, expected about {rate}"


def test_planted_wrong_digits_are_wrong_and_repairs_are_unique(truth):
    wrong = truth.sql("SELECT submitted FROM defects WHERE \"column\" = 'id_number' AND dataset LIKE 'population.%' "
                      "AND defect IN ('X05', 'X06')").fetchall()
    assert wrong and all(check_character(v[:17]) != v[17] for v, in wrong)
    look_alike = truth.sql("SELECT clean, submitted FROM defects WHERE \"column\" = 'id_number' AND dataset LIKE 'population.%' "
                           "AND defect = 'X02'").fetchall()
    for clean, submitted in look_alike:
        place, = (i for i, (a, b) in enumerate(zip(clean, submitted)) if a != b)
        fits = [d for d in "0123456789" if check_character((submitted[:place] + d + submitted[place + 1:])[:17]) == submitted[17]]
        assert fits == [clean[place]]


def test_every_rule_of_the_truth_is_a_rule_of_the_lake(truth):
    for dataset_id, rule in truth.sql("SELECT DISTINCT dataset, rule FROM defects WHERE rule IS NOT NULL").fetchall():
        plan = compiler.plan(dataset(dataset_id), rules(dataset(dataset_id)))
        assert rule in {r.rule for r in plan.rules}, f"{dataset_id}: {rule}"


def test_no_rule_is_planted_beyond_the_gate(truth, made):
    worst = truth.sql("SELECT dataset, file, rule, count(*) AS n FROM defects WHERE outcome = 'quarantined' AND rule <> 'key.conflict' "
                      "GROUP BY ALL ORDER BY n DESC").fetchall()
    for dataset_id, file, rule, n in worst:
        source = next(p for p in (Path(made.out) / dataset_id).glob(f"*/{DAY}/*") if p.name == file)
        assert n <= 0.01 * (len(records(source)) - 1), f"{dataset_id} {rule}"


def test_personal_values_are_planted_where_a_sweep_must_look(made, truth):
    values = {v for v, in truth.sql("SELECT value FROM personal_values WHERE searchable").fetchall()}
    names = [p.name for p in Path(made.out).rglob("*") if p.is_file()]
    assert sum(any(v in name for v in values if len(v) < 12) for name in names) == 1
    headers = [records(p)[0] for p in (Path(made.out) / "population.person").rglob("*.csv")]
    assert sum(any(v in cell for v in values if len(v) < 12) for header in headers for cell in header) == 1
    penalties = [r for p in (Path(made.out) / "credit.administrative_penalty").rglob("*.csv") for r in records(p)[1:]]
    told = [re.search(r"身份证号(\w{18})", cell) for row in penalties for cell in row]
    assert told and all(m.group(1) in values for m in told if m)


def test_leads_are_planted_for_every_theme(truth):
    found = dict(truth.sql("SELECT question, count(*) FROM leads GROUP BY question").fetchall())
    assert set(found) == {"Q1", "Q3", "Q5", "Q6", "Q8", "Q13"}


def test_clean_submissions_on_request(tmp_path):
    made = generate(tmp_path / "inbox", 400, 3, DAY, dirt=0)
    assert sum(d["defects"] for d in made.datasets.values()) == 0


def test_months_follow_each_other(tmp_path):
    made = generate(tmp_path / "inbox", 1_000, 3, DAY, months=2)
    assert made.batch_dates == ("2026-10-01", "2026-11-01")
    people = [duckdb.sql(f"FROM '{made.truth}/clean/population.person~public_security~{d}.parquet'")
              for d in made.batch_dates]
    before, after = (dict(p.project("id_number, hukou_address").fetchall()) for p in people)
    assert [a for i, a in before.items() if after.get(i, a) != a], "somebody has moved"
    old, new = (duckdb.sql(f"FROM '{made.truth}/clean/legal_entity.enterprise~market_regulation~{d}.parquet'").count("*").fetchone()[0]
                for d in made.batch_dates)
    assert 0 < new < old, "an upsert sends what changed"


def test_faults_damage_two_lines_of_one_file(tmp_path):
    whole = generate(tmp_path / "a" / "inbox", 1_000, 3, DAY)
    spoilt = generate(tmp_path / "b" / "inbox", 1_000, 3, DAY, faults=True)
    changed = [p for p, h in tree(spoilt.out).items() if tree(whole.out)[p] != h]
    faults = duckdb.sql(f"SELECT file, ordinal FROM '{spoilt.truth}/defects.parquet' WHERE defect = 'X36' ORDER BY ordinal").fetchall()
    assert [Path(p).name for p in changed] == [faults[0][0]]
    lines = (Path(spoilt.out) / changed[0]).read_bytes().split(b"\r\n")
    assert lines[faults[0][1]].count(b'"') == 1
    assert lines[faults[1][1]].count(b",") == lines[0].count(b",") - 1


def test_too_few_persons_are_refused(tmp_path):
    with pytest.raises(WrongUse, match="at least 200"):
        generate(tmp_path / "inbox", 20, 1, DAY, project=Project.open())


@pytest.mark.scale
def test_time_of_a_larger_sample(tmp_path):
    start = time.monotonic()
    made = generate(tmp_path / "inbox", 100_000, 1, DAY)
    print(f"\n100,000 persons and what belongs to them: {time.monotonic() - start:.1f} s")
    assert made.datasets["population.person"]["rows"] > 100_000
