"""Leads: a block that one operator made up is found by what is odd in it; clean files of ten seeds are silent.

Each test plants one oddity in a block of 60 rows, the size of a small fabricated block, among 1,500 ordinary rows.
"""
from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import checks, compiler, ledger_tables as tables
from pipelines.batch import BatchId
from pipelines.checks import signals
from pipelines.checks.profiles import Accepted
from pipelines.contract import dataset
from pipelines.settings import Project
from pipelines.sql import name, text
from tests.pipelines.checks.conftest import DATASET, person, send
from tests.support import REPOSITORY, resident_id

ROWS, BLOCK, AT = 1500, range(700, 760), "2026-11-01"


def payment(i: int, draw: random.Random) -> dict:
    return {"payment_id": f"FF{10 ** 8 + i * 7 + draw.randint(0, 6)}", "id_number": resident_id(draw.randint(1, 999), birth=f"{draw.randint(1930, 1966)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}"),
            "amount": round(draw.uniform(800, 5000), 2), "region_code": f"64010{draw.randint(1, 6)}", "bank_last4": f"{draw.randint(0, 9999):04d}"}


def enterprise(i: int, draw: random.Random) -> dict:
    return {"uscc": f"91640104MA7{i:06d}X", "reg_no": f"6401042{draw.randint(0, 9999999):07d}1", "phone": f"139{draw.randint(0, 99999999):08d}",
            "address": f"示范路{draw.randint(1, 900)}号{i}室", "establish_date": f"{draw.randint(2000, 2025)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
            "reg_capital": draw.randint(5, 205) * 10 + draw.randint(0, 9), "employee_count": draw.randint(1, 300), "township_code": f"64010400{draw.randint(1, 3)}"}


# signal and column → dataset, what an ordinary row is, and what the block's n-th row has instead
PLANTED: dict[tuple[str, str], tuple[str, Callable, Callable[[int], dict]]] = {
    ("consecutive_ids", "id_number"): ("population.benefit_payment", payment, lambda n: {"id_number": resident_id(100 + n, birth="19530307")}),
    ("consecutive_numbers", "payment_id"): ("population.benefit_payment", payment, lambda n: {"payment_id": f"FF99{n:06d}"}),
    ("identical_text", "bank_last4"): ("population.benefit_payment", payment, lambda n: {"bank_last4": "8888"}),
    ("equal_amounts", "amount"): ("population.benefit_payment", payment, lambda n: {"amount": 1513.27}),
    ("round_amounts", "amount"): ("population.benefit_payment", payment, lambda n: {"amount": 100 * (n + 8)}),
    ("heaped_ages", "id_number"): ("population.benefit_payment", payment, lambda n: {"id_number": resident_id(n * 7 % 999 + 1, birth=f"{1936 + n % 6 * 5}{n % 12 + 1:02d}{n % 28 + 1:02d}")}),
    ("repeated_number", "phone"): ("legal_entity.enterprise", enterprise, lambda n: {"phone": "13900000000"}),
    ("consecutive_numbers", "reg_no"): ("legal_entity.enterprise", enterprise, lambda n: {"reg_no": f"6401042{n:07d}{n % 9}"}),
    ("one_day", "establish_date"): ("legal_entity.enterprise", enterprise, lambda n: {"establish_date": "2026-09-15"}),
    ("identical_text", "address"): ("legal_entity.enterprise", enterprise, lambda n: {"address": "示范路1号"}),
    ("equal_amounts", "employee_count"): ("legal_entity.enterprise", enterprise, lambda n: {"employee_count": 10}),
}


def look(con, tmp_path: Path, dataset_id: str, rows: list[dict]) -> list[dict]:
    """Write rows as an accepted batch and look at them."""
    plan = compiler.plan(dataset(dataset_id, Project(REPOSITORY)), ())
    batch = BatchId(dataset_id, plan.dataset.sources[0].source, "all", AT, 1)
    file = tmp_path / "rows.parquet"
    columns = [(c.name, plan.type(c.name).physical) for c in plan.dataset.columns if c.name in rows[0]]
    json_rows = tmp_path / "rows.json"
    json_rows.write_text("\n".join(json.dumps(r | {"o": i + 1}) for i, r in enumerate(rows)))
    made = ", ".join(f"{name(c)}::{t} AS {name(c)}" for c, t in columns)
    kinds = ", ".join(f"{text(c)}: 'VARCHAR'" for c, _ in columns)
    duckdb.sql(f"COPY (SELECT {made}, {text(str(batch))} AS _batch, 1 AS _file, o AS _ordinal, 'U' AS _op FROM read_json({text(json_rows)}, "
               f"columns = {{{kinds}, 'o': 'BIGINT'}}) ORDER BY o) TO {text(file)} (FORMAT parquet)")
    return signals.look(con, plan, [Accepted(batch, 1, (str(file),), len(rows))], AT)


@pytest.mark.parametrize("planted", PLANTED, ids="-".join)
def test_a_made_up_block_is_found_where_it_lies(con, tmp_path, planted):
    dataset_id, ordinary, odd = PLANTED[planted]
    draw = random.Random(repr(planted))
    rows = [ordinary(i, draw) for i in range(ROWS)]
    for n, place in enumerate(BLOCK):
        rows[place] |= odd(n)
    found = {(r["signal"], r["column"]): r for r in look(con, tmp_path, dataset_id, rows)}
    lead = found[planted]
    evidence = json.loads(lead["evidence"])
    first, last = (int(evidence[k].rpartition(":")[2]) for k in ("from", "to"))
    assert BLOCK.start - 1 <= first <= last <= BLOCK.stop + 1, "the address range lies in the block"
    assert lead["value"] > 0.7 and lead["peers"] < 0.5 and lead["p"] < 1e-6 and lead["n"] == 50
    assert " — " in lead["explanation"] and "线索，非结论" in lead["explanation"]
    other = {k for k in found if k != planted}
    assert other <= {("round_amounts", planted[1]), ("heaped_ages", "id_number"), ("one_day", planted[1])}, "and nothing else is"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("dataset_id", "ordinary"), [("population.benefit_payment", payment), ("legal_entity.enterprise", enterprise)])
def test_ordinary_rows_are_silent(con, tmp_path, seed, dataset_id, ordinary):
    draw = random.Random(seed)
    assert look(con, tmp_path, dataset_id, [ordinary(i, draw) for i in range(ROWS)]) == []


def test_what_is_usual_in_a_file_is_no_signal(con, tmp_path):
    """A file sorted by number, all of one day, at one rate: every window is like the others."""
    draw = random.Random(1)
    rows = [payment(i, draw) | {"payment_id": f"FF{i:09d}", "amount": 1500.0, "bank_last4": "8888"} for i in range(ROWS)]
    assert look(con, tmp_path, "population.benefit_payment", rows) == []


def test_last_digits(con, tmp_path):
    """Five hundred amounts that end in 7 or 3, as people write when they make them up."""
    draw = random.Random(2)
    rows = [payment(i, draw) for i in range(3000)]
    for place in range(1000, 1500):
        rows[place]["amount"] = draw.randint(80, 500) * 10 + draw.choice((3, 7, 7)) + 0.15
    assert [(r["signal"], r["column"]) for r in look(con, tmp_path, "population.benefit_payment", rows)] == [("last_digits", "amount")]


def test_first_digits_over_three_orders(con, tmp_path):
    """Amounts that grow by chance keep Benford's law; amounts that all begin with 5 to 9 do not."""
    draw = random.Random(3)
    lawful = [payment(i, draw) | {"amount": round(10 ** draw.uniform(0, 5), 2)} for i in range(ROWS)]
    assert look(con, tmp_path, "population.benefit_payment", lawful) == []
    made_up = [r | {"amount": round(draw.uniform(5, 9.99) * 10 ** draw.randint(0, 4), 2)} for r in lawful]
    assert "benford" in {r["signal"] for r in look(con, tmp_path, "population.benefit_payment", made_up)}


def test_villages_with_equal_numbers(con, tmp_path):
    draw = random.Random(4)
    rows = [enterprise(i, draw) | {"township_code": f"6401040{i % 30:02d}"} for i in range(ROWS)]
    draw.shuffle(rows)
    assert [(r["signal"], r["column"], r["n"]) for r in look(con, tmp_path, "legal_entity.enterprise", rows)] == [("equal_units", "township_code", 30)]


def test_the_leads_of_a_batch_reach_the_ledger_once(lake, tmp_path):
    at, draw = lake(), random.Random(6)
    people = [person(draw.randint(1, 999), birth=f"{draw.randint(1930, 2010)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}") for _ in range(400)]
    block = [person(100 + n, birth="19730307") for n in range(60)]
    send(at, tmp_path, "2026-11-01", people[:200] + block + people[200:])
    for _ in range(2):
        checks.run(at, [DATASET], "2026-11-02")
        rows = at.ledger.rows(sa.select(tables.signals))
        assert {(r["signal"], r["column"]) for r in rows} == {("consecutive_ids", "id_number"), ("one_day", "birth_date")}
        assert not any(p[0] in repr(rows) for p in people + block), "no value of a person"
    [batch] = at.ledger.rows(sa.select(tables.batches))
    assert batch["state"] == "accepted"


def test_files_in_any_order_give_the_same_leads(con, tmp_path):
    """Files written before rows lay in the order of submission are put in order by their addresses."""
    draw = random.Random(7)
    rows = [payment(i, draw) for i in range(ROWS)]
    for n, place in enumerate(BLOCK):
        rows[place] |= {"payment_id": f"FF99{n:06d}", "amount": 1513.27}
    ordered = look(con, tmp_path, "population.benefit_payment", rows)
    file = tmp_path / "rows.parquet"
    con.execute(f"CREATE TABLE mixed AS FROM read_parquet({text(file)}); COPY (FROM mixed ORDER BY hash(_ordinal)) TO {text(file)} (FORMAT parquet)")
    plan = compiler.plan(dataset("population.benefit_payment", Project(REPOSITORY)), ())
    batch = BatchId("population.benefit_payment", plan.dataset.sources[0].source, "all", AT, 1)
    assert signals.look(con, plan, [Accepted(batch, 1, (str(file),), len(rows))], AT) == ordered != []


def test_a_block_among_many_windows_is_found_and_what_is_usual_is_estimated(con):
    """Beyond 8,000 windows values are counted where one follows itself, and in an even part of the others."""
    con.execute("CREATE TABLE rows AS SELECT i AS place, CASE WHEN i BETWEEN 300100 AND 300159 THEN 42 WHEN i % 3 > 0 THEN hash(i) % 7 + 100 ELSE hash(i) END AS v FROM range(400000) t(i)")
    con.execute("CREATE OR REPLACE TEMP VIEW seen AS SELECT place, v FROM rows")
    [(value, peers, n, first, last, everywhere)] = con.execute(
        "SELECT value, peers, n, first, last, everywhere FROM modal_share() WHERE p < 1e-6 ORDER BY p LIMIT 1").fetchall()
    exact = con.execute("""
        WITH placed AS (SELECT unnest([place // 25, place // 25 - 1]) AS win, v FROM rows), share AS (SELECT max(n) / sum(n) AS s FROM (
            SELECT win, v, count(*) AS n FROM placed GROUP BY ALL) GROUP BY win HAVING sum(n) >= 40) SELECT median(s) FROM share""").fetchone()[0]
    assert (value, n, everywhere) == (1, 50, 60) and 300100 <= first < last <= 300159
    assert peers == pytest.approx(exact, abs=0.02)
