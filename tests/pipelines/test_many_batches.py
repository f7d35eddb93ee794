"""Many small batches are worked on together, and nothing tells it from working on one after the other: ledger, rows, addresses, tickets, pages."""
from __future__ import annotations

import json
import re
import shutil

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import base, gate, keys, ledger_tables as tables, pages, site, splitting, staged_batches, staging, steps
from pipelines.batch import split_key
from pipelines.gate import suite
from pipelines.standing import UNSOUND
from tests.support import HEADER, RESIDENCE, Kept, desk, resident_id, small_project, write_csv

DATASET = "population.residence"
_TIMES = {"id", "started_at", "seconds", "received_at", "decided_at", "opened_at", "changed_at", "at", "entered_at"}
BAD = {1: "held", 3: "held", 4: "refused", 5: "held", 9: "held"}      # two names of one person, a foreign header, no table, too many rows lost, two names


def _rows(part: int) -> list[tuple]:
    """Eight persons: in every batch one wrong number and one person twice; in some a conflict, a delete, a code that no list has, a person of the batch before."""
    rows = [(resident_id(10 * part + n), "赵一一", "1990-01-01", "640104", "有效", "") for n in range(1, 9)]
    rows[2] = ("64010419900101000X", *rows[2][1:])
    rows.append(rows[4])
    if part % 4 == 1:
        rows.append((rows[5][0], "钱二二", *rows[5][2:]))
    if part % 3 == 0:
        rows[6] = (*rows[6][:5], "删除")
    if part % 4 == 0:
        rows[0] = (resident_id(10 * (part - 1) + 1), *rows[0][1:])
    return rows


def _files(folder):
    for part in range(1, 10):
        path, rows = folder / f"64010{part} 名单.csv", _rows(part)
        if part == 5:
            rows = [(f"{n}", *row[1:]) for n, row in enumerate(rows)]
        write_csv(path, ("甲", "乙", "丙", "丁", "戊", "己") if part == 3 else HEADER, rows, "gb18030" if part == 6 else "utf-8")
        if part == 4:
            path.write_bytes(b"\x00\x01\x02" * 400)
        if part in (7, 8):      # a line that no reader can split; another line end than the others
            path.write_bytes(path.read_bytes() + b"a,b\r\n" if part == 7 else path.read_bytes().replace(b"\r\n", b"\n"))
        yield path


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    at = desk(root, small_project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert")))
    for source in ("police", "grid"):
        steps.submit(DATASET, _files(root / source), source, "2026-11-01", desk=at)
    keys.pseudonym_key(at.lake)
    return Kept(at)


@pytest.fixture(autouse=True)
def _no_site(monkeypatch):
    monkeypatch.setattr(site, "build", lambda *_: None)


def _take(at, keys: list[str], each: int) -> None:
    """All steps, for so many batches at once."""
    for first in range(0, len(keys), each):
        passed = steps.judge(DATASET, steps.stage(DATASET, keys[first:first + each], at), at)
        if passed:
            steps.commit(DATASET, passed, at)


def _told(at) -> dict:
    """Everything that is left of the batches, without times."""
    told = {name: sorted(json.dumps({k: v for k, v in row.items() if k not in _TIMES}, ensure_ascii=False, sort_keys=True)
                         for row in at.ledger.rows(sa.select(tables.TABLES[name])))
            for name in ("batches", "files", "rule_results", "region_counts", "new_values", "problems")}
    steps_ = at.ledger.rows(sa.select(tables.steps).where(tables.steps.c.step.in_(("stage", "judge", "commit"))))
    told["steps"] = sorted((r["subject"], r["step"], r["outcome"], re.sub(r'"snapshot": "\d+"', "", r["detail"] or "")) for r in steps_)
    segments = base.state(at.lake, at.plan(DATASET)).segments
    with duckdb.connect() as con:
        def rows(file):
            return con.execute("SELECT * FROM read_parquet($1) ORDER BY _file, _ordinal", [str(file)]).fetchall()
        told["base"] = {name: [rows(file) for file in version.files] for name, version in segments.items()}
        told["places"] = {name: [file.split("/")[-2:] for file in version.files] for name, version in segments.items()}
        for home in (at.lake.quarantine, at.lake.staging):
            told[home.name] = {str(f.relative_to(home)): rows(f) for f in sorted(home.rglob("*.parquet")) if "." != f.name[0] and "masks" not in f.name
                               and not f.relative_to(home).parts[0].startswith(".")}
        told["current"] = con.execute(f"SELECT * EXCLUDE (_batch) FROM {steps.derive(at, at.plan(DATASET)).relation} ORDER BY ALL").fetchall()
    told["pages"] = {p.name: re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", "", p.read_text("utf-8")) for p in sorted((at.lake.reports / DATASET).glob("*.html"))}
    told["entered"] = sorted(r["path"] for r in at.ledger.rows(sa.select(tables.objects)) if "/metadata/" not in r["path"] and not r["path"].startswith("current/"))
    return told


def _differ(one, other) -> list:
    """What only one of them has; short, because a page is long."""
    pairs = [sorted(map(repr, x.items() if isinstance(x, dict) else x)) for x in (one, other)]
    return [line for mine, its in (pairs, pairs[::-1]) for line in mine if line not in set(its)][:4]


@pytest.fixture(scope="module")
def alone(kept, monkeypatch_module):
    at = kept.again()
    _take(at, steps.receive(DATASET, desk=at), 1)
    return _told(at)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "build", lambda *_: None)
        yield patch


def _seen(monkeypatch, module, name, sizes, count):
    known = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a: (sizes.append(count(a)), known(*a))[1])


def test_together_leaves_what_one_by_one_leaves(kept, alone, monkeypatch):
    at, sizes = kept.again(), []
    _seen(monkeypatch, staging, "make_together", sizes, lambda a: len(a[3]))
    _seen(monkeypatch, suite, "run", sizes, lambda a: len(a[0]))
    waiting = steps.receive(DATASET, desk=at)
    _take(at, waiting[::-1], len(waiting))
    assert sizes == [9, 9, 8, 8] or sizes[:2] == [9, 9] and min(sizes) > 1, sizes
    told = _told(at)
    for what in alone:
        assert _differ(told[what], alone[what]) == [], what
    states = {(r["source"], int(r["part"][-1])): r["state"] for r in at.ledger.rows(sa.select(tables.batches))}
    assert states == {(source, part): BAD.get(part, "accepted") for source in ("police", "grid") for part in range(1, 10)}
    readings = {int(r["part"][-1]): r["reading"] for r in at.ledger.rows(sa.select(tables.batches)) if r["state"] == "accepted"}
    assert readings[7] == "lines" and {readings[n] for n in (2, 6, 8)} == {"records"}
    assert len({s["started_at"] for s in at.ledger.rows(sa.select(tables.steps).where(tables.steps.c.step == "commit"))}) == 1
    assert len(base.table(at.lake, at.plan(DATASET)).snapshots()) == 1, "all batches in one commit"


class Killed(BaseException):
    pass


def _die(*_, **__):
    raise Killed


@pytest.mark.parametrize(("module", "name"), [(splitting, "write_accepted"), (staged_batches, "settle_all"), (base, "_exchange"), (base, "_sync_metadata")],
                         ids=lambda value: value if isinstance(value, str) else "")
def test_a_death_in_the_middle_is_mended_by_the_next_run(kept, alone, monkeypatch, module, name):
    at = kept.again()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, _die)
        with pytest.raises(Killed):
            _take(at, steps.receive(DATASET, desk=at), 99)
    waiting = steps.receive(DATASET, desk=at)
    _take(at, waiting, max(1, len(waiting)))
    told = _told(at)
    for what in ("base", "quarantine", "current", "rule_results", "region_counts", "files"):
        assert _differ(told[what], alone[what]) == [], what
    assert [p.name for p in at.lake.staging.iterdir() if p.name.startswith(".work")] == []


def test_a_page_that_a_death_kept_from_being_written_is_written_by_the_next_look(kept, alone, monkeypatch):
    at = kept.again()
    passed = steps.judge(DATASET, steps.stage(DATASET, steps.receive(DATASET, desk=at), at), at)
    pages_of = {key: at.lake.reports / DATASET / f"{key.replace('~r', '-r')}.html" for key in passed}
    assert passed and not any(page.exists() for page in pages_of.values()), "its page is written when it is accepted"
    with monkeypatch.context() as patch:
        patch.setattr(pages, "write", _die)
        with pytest.raises(Killed):
            steps.commit(DATASET, passed, at)
        with pytest.raises(Killed):
            steps.receive(DATASET, desk=at)
    assert {r["state"] for rows in at.ledger.of(tables.batches, map(split_key, passed)).values() for r in rows} == {"accepted"}
    assert not set(passed) & set(steps.receive(DATASET, desk=at)) and all(page.exists() for page in pages_of.values())
    assert not any((at.lake.staging / key).exists() for key in passed)
    steps.commit(DATASET, passed, at)
    assert _differ(_told(at)["pages"], alone["pages"]) == []


def test_one_that_the_gate_cannot_judge_leaves_its_neighbours_alone(kept):
    at = kept.again()
    waiting = steps.stage(DATASET, steps.receive(DATASET, desk=at), at)
    torn, gone = at.lake.staging / waiting[1], at.lake.staging / waiting[2]
    duckdb.execute(f"COPY (FROM '{torn}/masks.parquet' LIMIT 3) TO '{torn}/fewer.parquet' (FORMAT parquet)")
    (torn / "fewer.parquet").replace(torn / "masks.parquet")
    shutil.rmtree(gone)
    passed = steps.judge(DATASET, waiting, at)
    accepted = {key for key in waiting if BAD.get(int(key.split("~")[2][-1]), "accepted") == "accepted"}
    assert set(passed) == accepted - {waiting[1], waiting[2]}
    row = at.ledger.batch(*steps.split_key(waiting[1]))
    assert (row["state"], row["code"]) == ("held", UNSOUND) and "The pipeline is at fault" in row["reason"]
    assert at.ledger.batch(*steps.split_key(waiting[2]))["state"] == "staged"


def test_an_exception_in_the_run_of_several_is_told_of_the_one_it_concerns(kept, monkeypatch):
    at = kept.again()
    waiting = steps.stage(DATASET, steps.receive(DATASET, desk=at), at)
    known = suite.run

    def run(evidence, *names):
        if len(evidence) > 1 or waiting[2] in str(evidence[0].masks):
            raise ValueError("x")
        return known(evidence, *names)

    monkeypatch.setattr(suite, "run", run)
    passed = steps.judge(DATASET, waiting[1:5], at)
    assert set(waiting[1:5]) - set(passed) == {waiting[2]} | {key for key in waiting[1:5] if "640105" in key}
    assert at.ledger.batch(*steps.split_key(waiting[2]))["reason"].count("the gate did not finish: ValueError") == 1
    assert gate.newest([("police", key) for key in waiting]) <= set(waiting)
