"""The whole way: a held batch with 500 bad rows, its pack, the pack corrected, and all 500 in base; nobody but the department sees a value."""
from __future__ import annotations

import logging
import re
import stat

import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables, problems, steps
from pipelines.rebuild import rebuild
from pipelines.status import query, why
from pipelines.verify import verify
from tests import packs
from tests.support import RESIDENCE, desk, small_project

ROWS, BAD = 20_000, 500
CONTRACT = RESIDENCE.replace("LOAD", "snapshot").replace("loss_budget, value: 0.5", "loss_budget, value: 0.01").replace(
    "primaryKey: true, customProperties: [{property: at_least, value: 0.2}]", "primaryKey: true, customProperties: [{property: at_least, value: 0.999}]")


def spoiled(sound: list[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """(rows, lines behind them): 450 rows that fail five rules, and 50 lines that are cut short."""
    rows = list(sound[:-50])
    for i in range(450):
        n = 17 + i * 40
        number, name, birth, *rest = rows[n]
        rows[n] = [(packs.wrong(number), name, birth, *rest), (number[:17], name, birth, *rest), ("", name, birth, *rest),
                   (number, "", birth, *rest), ("=1+1", "赵\ufffd", birth, *rest)][i % 5]
    return rows, [",".join(row[:2]) for row in sound[-50:]]


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    """The lake after each stage of the way: what was seen on it."""
    root, seen = tmp_path_factory.mktemp("way"), {}
    with pytest.MonkeyPatch.context() as patch:
        records: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: records.append(record.getMessage())
        logging.getLogger().addHandler(handler)
        at = desk(root, small_project(root / "project", population__residence=CONTRACT))
        patch.setenv("LAKE_HOME", str(at.lake.home))
        patch.setenv("LAKE_PROJECT", str(at.project.root))
        sound = packs.people(ROWS)
        rows, lines = spoiled(sound)
        packs.drop(at, rows, lines=tuple(lines))
        seen["first"] = steps.ingest(packs.DATASET)
        seen["why"] = why(packs.BATCH, at)["remedy"]
        seen["held"] = at.ledger.batch(packs.BATCH, 1)
        seen["problems"] = problems.listing(at, None, packs.DATASET)
        [made] = seen["first"]["packs"]
        packs.edit_book(next(packs.folder(at, made).glob("*.xlsx")), packs.returned(at) / "改好了.xlsx",
                        lambda row: packs.filled(row, sound[packs.ordinal(row) - 1]))
        seen["second"] = steps.ingest(packs.DATASET)
        steps.release(at)
        logging.getLogger().removeHandler(handler)
        yield at, sound, made, seen | {"logs": "\n".join(records)}


def test_the_batch_is_held_and_its_pack_holds_exactly_the_bad_rows(way):
    at, sound, made, seen = way
    assert seen["held"]["state"] in ("held", "superseded") and seen["first"]["accepted"] == [] and len(seen["first"]["troubles"]) == 1
    rows = packs.read_csv(next(packs.folder(at, made).glob("反馈_*.csv")))
    assert made["rows"] == len(rows) == BAD == len({row["回执"] for row in rows})
    bad = {17 + i * 40 + 1 for i in range(450)} | set(range(ROWS - 49, ROWS + 1))
    assert {packs.ordinal(row) for row in rows} == bad
    assert packs.read_book(next(packs.folder(at, made).glob("*.xlsx"))) == rows
    assert made["path"] in seen["why"] and "更正" in seen["why"]


def test_the_corrected_rows_are_in_base_and_base_is_as_if_they_had_been_right(way):
    at, sound, _, seen = way
    assert seen["second"]["troubles"] == [] and seen["second"]["accepted"] == [f"{packs.BATCH}~r2"]
    row = at.ledger.batch(packs.BATCH)
    assert (row["state"], row["accepted"], row["quarantined"], row["unparseable"], row["corrected"], row["builds_on"]) == ("accepted", ROWS, 0, 0, BAD, 1)
    assert packs.closes(row) and packs.accepted(at) == packs.as_base(sound)
    assert row["score"] > seen["held"]["score"] and row["score"] == 1
    assert at.ledger.batch(packs.BATCH, 1)["state"] == "superseded", "what was held is nobody's work any more"


def test_the_problems_that_the_bad_rows_opened_are_verified_by_the_corrected_ones(way):
    at, *_, seen = way
    opened = {p["rule"]: p["state"] for p in seen["problems"]}
    assert {"batch.held", "id_number.checksum"} <= set(opened) and set(opened.values()) == {"open"}
    now = {p["rule"]: p["state"] for p in problems.listing(at, None, packs.DATASET, state="all")}
    assert {rule: now[rule] for rule in opened} == dict.fromkeys(opened, "verified")


def test_analysts_see_what_became_of_every_row(way):
    at, *_ = way
    states = query("SELECT state, count(*), count(DISTINCT address) FROM governance.quarantine WHERE quarantined_at <= returned_at AND returned_at <= corrected_at "
                   "AND corrected_at <= readmitted_at GROUP BY ALL", at)["rows"]
    assert states == [["readmitted", BAD, BAD]]
    assert query("SELECT rows, corrected_revision FROM governance.feedback", at)["rows"] == [[BAD, 2]]


def test_a_replay_of_landing_gives_the_same_and_verify_finds_nothing(way):
    at, sound, *_ = way
    assert rebuild(packs.DATASET, at) == {"batches": 1, "current_rows": ROWS}
    assert packs.accepted(at) == packs.as_base(sound)
    assert verify(at)["findings"] == []


def test_values_stand_in_the_outbox_of_the_department_and_nowhere_else(way):
    """Every file that is not the pipeline's own, every ledger cell and every log line is searched for the numbers and the file's own name."""
    at, sound, made, seen = way
    numbers = {row[0] for row in sound} | {packs.wrong(row[0]) for row in sound}
    open_to_others = [p for p in at.lake.home.rglob("*") if p.is_file() and p.relative_to(at.lake.home).parts[0] in ("reports", "releases", "lake.duckdb")]
    assert len(open_to_others) > 10
    ledger = [repr(at.ledger.rows(sa.select(table))) for table in tables.meta.sorted_tables]
    texts = {str(p): p.read_bytes().decode("latin-1") for p in open_to_others} | dict(enumerate(ledger)) | {"logs": seen["logs"]}
    assert [place for place, text in texts.items() if numbers & set(re.findall(r"\d{17}[\dX]", text)) or "改好了" in text] == []
    boxes = list(at.lake.outbox.iterdir())
    assert [box.name for box in boxes] == ["公安局"] and stat.S_IMODE(boxes[0].stat().st_mode) == 0o700
    inside = [p for p in boxes[0].rglob("*")]
    assert inside and all(stat.S_IMODE(p.stat().st_mode) & 0o077 == 0 for p in inside)
    assert numbers & set(re.findall(r"\d{17}[\dX]", next(packs.folder(at, made).glob("*.csv")).read_text("utf-8-sig"))), "the search can find"
