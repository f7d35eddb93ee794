"""Columns change without notice: nothing is dropped silently, and the message says what to write into the contract."""
from __future__ import annotations

import pytest
import sqlalchemy as sa

from pipelines import ledger_tables, show, status, steps
from pipelines.mapping import HeaderMismatch, map_header
from tests.support import HEADER, RESIDENCE, desk, resident_id, small_project, write_csv

ROW = (resident_id(1), "赵一", "1990-01-01", "640104", "有效", "")
DATASET = "population.residence"
BATCH = f"{DATASET}~police~640100~2026-11-01~1"


@pytest.fixture
def at(tmp_path):
    return desk(tmp_path, small_project(tmp_path / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))


def send(at, tmp_path, header: tuple, row: tuple, **options) -> dict:
    file = write_csv(tmp_path / "out" / "640100.csv", header, [row])
    steps.submit(DATASET, [file], "police", "2026-11-01", desk=at, **options)
    return again(at)


def again(at) -> dict:
    keys = steps.receive(DATASET, desk=at)
    passed = steps.judge(DATASET, steps.stage(DATASET, keys, at), at)
    if passed:
        steps.commit(DATASET, passed, at)
    return at.ledger.batch(BATCH)


def test_order_and_known_spellings_do_not_matter(at, tmp_path):
    assert send(at, tmp_path, ("状 态", "ID_NUMBER", "csrq", "\ufeff姓名", "居住地区划", "操作"), (ROW[4], ROW[0], ROW[2], ROW[1], ROW[3], ""))["state"] == "accepted"


def test_a_renamed_key_holds_the_batch_until_the_contract_knows_it(at, tmp_path):
    batch = send(at, tmp_path, ("公民身份证号码", *HEADER[1:]), ROW)
    assert (batch["state"], batch["code"], batch["decided_by"]) == ("held", "missing_column", "stage")
    for words in ("id_number (公民身份号码) is missing", "nearest is header cell 1 '公民身份证号码'", "Recognised columns: name, birth_date, region_code, status",
                  "header cells that nothing reads: 1 "):
        assert words in batch["reason"]
    assert again(at)["state"] == "held"                      # nothing changed: nothing is tried again
    path = at.project.contracts / "population/residence.yaml"
    path.write_text(path.read_text().replace("primaryKey: true,", "primaryKey: true, transformSourceObjects: [公民身份证号码],"))
    batch = again(at)
    assert (batch["state"], batch["reason"], batch["code"]) == ("accepted", None, None)


def test_header_cells_that_may_be_personal_are_named_by_position_only(at, tmp_path):
    header = ("张三丰", "赵一 13912345678", "公民身份号码640104199001010011", *HEADER[2:])
    batch = send(at, tmp_path, header, (*ROW, ""))
    assert batch["state"] == "held" and "header cells that nothing reads: 1, 2, 3 " in batch["reason"]
    assert not any(secret in str(batch) for secret in ("张三丰", "赵一", "13912345678", "640104199001010011"))


def test_new_and_missing_columns_are_reported_and_stay_in_landing(at, tmp_path):
    batch = send(at, tmp_path, ("公民身份号码", "姓名", "新增一", "居住地区划", "新增二"), (*ROW[:2], "甲", "640104", "乙"))
    assert (batch["state"], batch["unmapped_columns"]) == ("accepted", 2)
    [file] = at.ledger.rows(sa.select(ledger_tables.files))
    assert (file["unread"], file["absent"], file["form"], file["header_row"], file["width"]) == ("3, 5", "birth_date, status", "delimited", 1, 5)
    assert "names 3 columns" in file["evidence"]
    told = show.why(status.why(BATCH, at))
    assert "header cells 3, 5 read by nothing" in told and "without birth_date, status" in told
    page = (at.lake.reports / DATASET / f"{BATCH}-r1.html").read_text(encoding="utf-8")
    assert "3, 5" in page and "birth_date, status" in page and "新增一" not in page


def test_two_cells_for_one_column_hold_the_batch(at, tmp_path):
    batch = send(at, tmp_path, (*HEADER, "name"), (*ROW, "钱二"))
    assert (batch["state"], batch["code"]) == ("held", "ambiguous_column") and "name fits header cells 2, 7" in batch["reason"]


def test_columns_that_look_alike_are_never_taken_for_each_other(at):
    found = at.plan(DATASET).dataset
    with pytest.raises(HeaderMismatch) as mismatch:
        map_header(found, found.sources[0], ("公民身份号码2", "姓名"), "File 1")
    assert "'公民身份号码2'" in str(mismatch.value)


def test_a_re_typed_column_is_caught_by_its_type(at, tmp_path):
    """Excel turned the birth date into a serial and the division into words; the serial loses nothing, so it is read."""
    batch = send(at, tmp_path, HEADER, (ROW[0], ROW[1], "32874", "某某街道", "有效", ""))
    results = {r["rule"]: r for r in at.ledger.rows(sa.select(ledger_tables.rule_results))}
    assert batch["state"] == "accepted"
    assert (results["birth_date.date"]["failed"], results["birth_date.form"]["failed"]) == (0, 1)
    assert sum(r["failed"] for rule, r in results.items() if rule.startswith("region_code.")) == 1
