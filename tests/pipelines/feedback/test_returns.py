"""Corrected rows come back by their tickets: every form of submission, what is refused, what builds on what, and deaths on the way."""
from __future__ import annotations

import csv
import json
import shutil
import time

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pipelines import landing, ledger_tables as tables, receiving, steps
from pipelines.contract import dataset
from pipelines.ledger import Ledger
from pipelines.settings import WrongUse
from pipelines.status import query
from tests import packs
from tests.packs import BATCH, DATASET, DAY
from tests.support import HEADER, RESIDENCE, Kept, desk, resident_id, small_project, write_csv

SOUND = packs.people(300)
WRONG_KEY, NO_NAME, SHORT, TWIN = 4, 9, 301, 14      # ordinals of what is wrong
CUT = (f"{resident_id(1, birth='20000101')},赵癸",)
ADDED = (resident_id(1, birth="20000101"), "赵癸", "2000-01-01", "640104", "有效", "")


def faulty() -> list[tuple[str, ...]]:
    """The sound rows with a wrong key, without a name, and with another's key."""
    rows = [list(row) for row in SOUND]
    rows[WRONG_KEY - 1][0] = packs.wrong(rows[WRONG_KEY - 1][0])
    rows[NO_NAME - 1][1] = ""
    rows[TWIN - 1][0] = SOUND[20][0]
    return [tuple(row) for row in rows]


def made(root, contract: str = RESIDENCE) -> packs.Desk:
    return desk(root, small_project(root / "project", population__residence=contract.replace("LOAD", "snapshot")))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A lake with an accepted batch: 5 rows of 301 go back, two of them because they share a key."""
    at = made(tmp_path_factory.mktemp("returns"))
    packs.drop(at, faulty(), lines=CUT)
    assert packs.run(at) == [f"{BATCH}~r1"]
    row = at.ledger.batch(BATCH)
    assert (row["state"], row["quarantined"], row["unparseable"], row["accepted"]) == ("accepted", 4, 1, 296)
    packs.make(at)
    return Kept(at)


@pytest.fixture
def at(kept):
    return kept.again()


def pack_rows(at, revision: int = 1) -> list[packs.Row]:
    found = at.lake.outbox / "公安局" / DATASET / f"{BATCH}~r{revision}"
    return packs.read_csv(next(found.glob("反馈_*.csv")))


def right(row: packs.Row) -> packs.Row:
    n = packs.ordinal(row)
    return packs.filled(row, SOUND[n - 1] if n <= len(SOUND) else ADDED)


def give_back(at, rows: list[packs.Row], name: str = "退回.csv", encoding: str = "utf-8") -> None:
    path = packs.returned(at) / name
    with open(path, "w", encoding=encoding, newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def all_right(at) -> None:
    assert packs.accepted(at) == packs.as_base([*SOUND, ADDED])
    row = at.ledger.batch(BATCH)
    assert (row["accepted"], row["quarantined"], row["unparseable"]) == (301, 0, 0) and packs.closes(row)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_rows_come_back_as_text_in_any_encoding_with_keys_corrected(at, encoding):
    give_back(at, [right(row) for row in pack_rows(at)], encoding=encoding)
    assert packs.run(at) == [f"{BATCH}~r2"]
    all_right(at)


def test_rows_come_back_in_a_workbook_with_other_columns_order_and_dates(at):
    """A column more, the pack's own words gone, another order, a date that Excel made a date: normal reading."""
    from datetime import date

    book = openpyxl.Workbook()
    book.active.append(["备注", *reversed(HEADER), "回执"])
    for row in map(right, pack_rows(at)):
        book.active.append(["改了", *(date.fromisoformat(row[c]) if c == "csrq" else row[c] for c in reversed(HEADER)), row["回执"]])
    book.save(packs.returned(at) / "x.xlsx")
    packs.run(at)
    all_right(at)


def test_a_column_that_does_not_come_back_keeps_what_was_submitted(at):
    rows = [row for row in pack_rows(at) if packs.ordinal(row) == WRONG_KEY]
    give_back(at, [{"回执": row["回执"], "公民身份号码": SOUND[WRONG_KEY - 1][0]} for row in rows])
    packs.run(at)
    assert (*SOUND[WRONG_KEY - 1][:3], WRONG_KEY) in packs.accepted(at)


def test_by_hand(at, tmp_path):
    """`receive --correct` knows a pack too, whatever it says of the part."""
    give_back(at, [right(row) for row in pack_rows(at)])
    file = next(packs.returned(at).iterdir())
    file = shutil.move(file, tmp_path / "640105.csv")
    [got] = steps.submit(DATASET, [file], "police", DAY, at, correct=True)
    assert (got.batch_id, got.revision, got.duplicate) == (BATCH, 2, False)
    [again] = steps.submit(DATASET, [file], "police", DAY, at, correct=True)
    assert (again.revision, again.duplicate) == (2, True)
    packs.run(at)
    all_right(at)


def test_some_now_and_some_later(at):
    """A second return builds on the first; a row that is still wrong goes back again; the pack shows what was corrected."""
    first = [row if packs.ordinal(row) == NO_NAME else right(row) for row in pack_rows(at) if packs.ordinal(row) != SHORT]
    give_back(at, first)
    packs.run(at)
    row = at.ledger.batch(BATCH)
    assert (row["revision"], row["accepted"], row["quarantined"], row["unparseable"]) == (2, 299, 1, 1) and packs.closes(row)
    assert packs.make(at)["rows"] == 2
    assert {packs.ordinal(r): r["公民身份号码"] for r in pack_rows(at, 2)} == {NO_NAME: SOUND[NO_NAME - 1][0], SHORT: ""}
    give_back(at, [right(row) for row in pack_rows(at, 2)])
    packs.run(at)
    assert at.ledger.batch(BATCH)["builds_on"] == 1 and at.ledger.batch(BATCH)["revision"] == 3
    all_right(at)
    states = query("SELECT revision, state, count(*) FROM governance.quarantine GROUP BY ALL ORDER BY ALL", at)["rows"] if steps.release(at) else []
    assert states == [[1, "readmitted", 3], [2, "readmitted", 2]]


def test_rows_that_should_not_have_been_sent_are_cancelled_and_counted(at):
    rows = [dict(row, 处理="删除") if packs.ordinal(row) in (SHORT, TWIN) else right(row) for row in pack_rows(at)]
    give_back(at, rows)
    packs.run(at)
    row = at.ledger.batch(BATCH)
    assert (row["state"], row["cancelled"], row["corrected"], row["quarantined"], row["accepted"]) == ("accepted", 2, 3, 0, 299) and packs.closes(row)
    assert packs.accepted(at) == {r for r in packs.as_base(SOUND) if r[3] != TWIN}
    steps.release(at)
    assert query("SELECT record, state FROM governance.quarantine ORDER BY ALL", at)["rows"] == [
        [WRONG_KEY, "readmitted"], [NO_NAME, "readmitted"], [TWIN, "cancelled"], [21, "readmitted"], [SHORT, "cancelled"]]


def test_a_row_that_nobody_corrects_expires(at, monkeypatch):
    steps.release(at)
    assert {r[0] for r in query("SELECT DISTINCT state FROM governance.quarantine", at)["rows"]} == {"returned"}
    monkeypatch.setenv("LAKE_QUARANTINE_DAYS", "0")
    time.sleep(1.1)
    give_back(at, [right(row) for row in pack_rows(at) if packs.ordinal(row) == WRONG_KEY])
    packs.run(at)
    steps.release(at)
    assert query("SELECT state, count(*) FROM governance.quarantine GROUP BY ALL ORDER BY ALL", at)["rows"] == [["expired", 4], ["readmitted", 1]]


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda rows: rows[0].update(回执=rows[0]["回执"].replace("#1:4", "#1:5")), "a ticket that was not given out"),
    (lambda rows: rows[0].update(回执=rows[0]["回执"].replace("#1:4", "#9:9999")), "a ticket that was not given out"),
    (lambda rows: rows[1].update(回执=rows[0]["回执"]), "a ticket that stands twice"),
    (lambda rows: rows[1].update(回执=rows[1]["回执"].replace("~640104~", "~640105~")), "the ticket of another batch"),
    (lambda rows: rows[1].update(回执=""), "no ticket that can be read"),
    (lambda rows: rows[1].update(回执="赵一 640104199001010018"), "no ticket that can be read"),
    (lambda rows: rows[1].update(回执=rows[1]["回执"].replace("~r1#", "~r7#")), "the ticket of files that were replaced since"),
    (lambda rows: [r.update(回执=r["回执"].replace("~police~", "~grid~")) for r in rows], "none of its 5 rows has a ticket"),
    (lambda rows: [r.update(回执=r["回执"].replace("~640104~", "~640199~")) for r in rows], "name a batch that was not received"),
])
def test_a_ticket_that_does_not_fit_refuses_the_whole_return(at, spoil, says):
    """Nothing is half-applied, the file stays, and the message has rows and addresses, no value."""
    rows = [right(row) for row in pack_rows(at)]
    spoil(rows)
    give_back(at, rows)
    assert packs.run(at) == []
    [left] = receiving.left(at, DATASET)
    assert left["code"] == "ticket" and says in left["message"]
    assert not {row[0] for row in SOUND} & set(left["message"].replace(":", " ").split()) and "赵" not in left["message"]
    assert len(list(packs.returned(at).iterdir())) == 1 and [m.revision for m in landing.batches(at.lake, DATASET)] == [1]
    assert at.ledger.batch(BATCH)["revision"] == 1


def test_a_pack_beside_another_file_and_a_correction_whose_name_tells_no_part_stay(at):
    give_back(at, [right(row) for row in pack_rows(at)])
    write_csv(packs.returned(at) / "全部.csv", HEADER, SOUND)
    packs.run(at)
    assert [r["code"] for r in receiving.left(at, DATASET)] == ["ticket"]
    next(packs.returned(at).glob("退回*")).unlink()
    packs.run(at)
    assert [r["code"] for r in receiving.left(at, DATASET)] == ["part"]


def test_tickets_of_files_that_were_replaced_do_not_fit_the_new_ones(at):
    old = [right(row) for row in pack_rows(at)]
    write_csv(packs.returned(at) / "p_640104.csv", HEADER, faulty()[:20])
    assert packs.run(at) == [f"{BATCH}~r2"]
    give_back(at, old)
    packs.run(at)
    assert "replaced since" in receiving.left(at, DATASET)[0]["message"]


def test_a_death_between_landing_and_ledger_is_finished_by_the_next_look(at, monkeypatch):
    rows = [right(row) for row in pack_rows(at)]
    give_back(at, rows)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add_batches", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            packs.run(at)
    assert at.ledger.batch(BATCH)["revision"] == 1 and landing.newest(at.lake, BATCH).revision == 2
    packs.run(at)
    all_right(at)
    assert [m.revision for m in landing.batches(at.lake, DATASET)] == [1, 2] and list(packs.returned(at).iterdir()) == []
    [answered] = at.ledger.rows(sa.select(tables.feedback.c.corrected_revision))
    assert answered == {"corrected_revision": 2}


def test_landing_keeps_every_byte_and_the_new_revision_holds_them_too(at):
    give_back(at, [right(row) for row in pack_rows(at)])
    sent = next(packs.returned(at).iterdir()).read_bytes()
    packs.run(at)
    one, two = landing.batches(at.lake, DATASET)
    assert (two.builds_on, two.submission, one.submission) == (1, 1, 1)
    assert [(two.folder / f.stored).read_bytes() for f in two.everything] == [(one.folder / one.files[0].stored).read_bytes(), sent]


def fixed(path, rows):
    def cell(value: str, width: int) -> bytes:
        return value.encode("gb18030").ljust(width)
    path.write_bytes(b"".join(cell(r[0], 18) + cell(r[1], 10) + cell(r[2], 10) + cell(r[3], 6) + cell(r[4], 6) + b"\r\n" for r in rows))


def workbook(path, rows):
    book = openpyxl.Workbook()
    book.active.append(["居住登记表"])
    for row in (HEADER, *rows):
        book.active.append(row)
    book.save(path)


def records(path, rows):
    path.write_text(json.dumps([dict(zip(HEADER, row)) for row in rows], ensure_ascii=False), encoding="utf-8")


FORMS = {
    "xlsx": (workbook, "xlsx", ""), "json": (records, "json", ""),
    "txt": (fixed, "fixed", ", {property: widths, value: [18, 10, 10, 6, 6]}, {property: header, value: [公民身份号码, 姓名, csrq, 居住地区划, 状态]}"),
    "zip": (lambda path, rows: shutil.make_archive(str(path.with_suffix("")), "zip", write_csv(path.parent / "inner" / "a.csv", HEADER, rows).parent), "auto", "")}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_submission_is_corrected_by_the_same_table(tmp_path, form):
    write, declared, keys = FORMS[form]
    contract = RESIDENCE.replace("format: csv", f"format: {declared}", 1).replace("encoding: utf-8", "encoding: auto").replace(
        "{property: part_pattern, value: '(64\\d{4})'}]", "{property: part_pattern, value: '(64\\d{4})'}" + keys + "]", 1)
    at = made(tmp_path, contract)
    target = at.lake.inbox / DATASET / "police" / DAY / f"p_640104.{form}"
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / target.name, faulty())
    target.parent.mkdir(parents=True)
    shutil.move(tmp_path / "out" / target.name, target)
    packs.run(at)
    assert packs.make(at)["rows"] == 4
    rows = pack_rows(at)
    assert rows[0]["文件"].startswith(target.name) and rows[0]["公民身份号码"] == packs.wrong(SOUND[WRONG_KEY - 1][0])
    packs.edit_book(next(packs.folder(at, packs.make(at)).glob("*.xlsx")), packs.returned(at) / "b.xlsx",
                    lambda row: row | {k: v for k, v in right(row).items() if k in row})
    packs.run(at)
    assert packs.accepted(at) == packs.as_base(SOUND) and packs.closes(at.ledger.batch(BATCH))


def test_rows_of_a_database_are_corrected_too_and_nothing_else_of_it_comes_as_a_file(tmp_path):
    contract = RESIDENCE.replace("type: local\n    format: csv\n    path: inbox/population.residence/police\n    encoding: utf-8", "type: mysql").replace(
        "{property: part_pattern, value: '(64\\d{4})'}]", "{property: connection, value: office}, {property: table, value: t}, {property: extract, value: full}]", 1)
    at = made(tmp_path, contract)
    found = dataset(DATASET, at.project)
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({name: [row[i] for row in faulty()] for i, name in enumerate(HEADER)}), file)
    receiving.submit(at, found, found.source("police"), [file], DAY, part="all")
    packs.run(at)
    batch = BATCH.replace("~640104~", "~all~")
    made_pack = packs.make(at, batch)
    assert made_pack["rows"] == 4
    with pytest.raises(WrongUse, match="comes from a database"):
        steps.submit(DATASET, [file], "police", DAY, at, correct=True)
    packs.edit_book(next(packs.folder(at, made_pack).glob("*.xlsx")), packs.returned(at) / "b.xlsx", right)
    assert packs.run(at) == [f"{batch}~r2"]
    assert packs.accepted(at) == packs.as_base(SOUND)
