"""A pack holds a department's own failing rows, as text, the same each time, for its eyes only."""
from __future__ import annotations

import csv
import hashlib
import io
import stat
import zipfile

import msoffcrypto
import openpyxl
import pytest
import sqlalchemy as sa

from pipelines import ledger_tables as tables, steps
from pipelines.cli import main
from pipelines.feedback import outbox, pack, words
from pipelines.feedback.columns import PACK, shown, union
from pipelines.ledger import Ledger
from pipelines.readers import heading
from pipelines.settings import Lake, Project, WrongUse
from pipelines.verify import verify
from tests import packs
from tests.packs import BATCH, DATASET
from tests.support import HEADER, REPOSITORY, RESIDENCE, desk, small_project

ENCRYPTED = RESIDENCE.replace("{property: part_pattern, value: '(64\\d{4})'}]", "{property: part_pattern, value: '(64\\d{4})'}, {property: feedback, value: {encrypt: true}}]", 1)
HOSTILE = ("=HYPERLINK(\"http://x\")", "+1", "-1+2", "@SUM(A1)", "'quoted", "\tTab", "640104199001010018", "赵,\"甲\"\n乙")


def made(root, contract: str = RESIDENCE):
    return desk(root, small_project(root / "project", population__residence=contract.replace("LOAD", "snapshot")))


def hashes(folder) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Eight rows without a name whose last cell is hostile, one row that only warns, twenty sound ones."""
    at = made(tmp_path_factory.mktemp("pack"))
    sound = packs.people(29)
    rows = [(*row[:1], "", *row[2:4], HOSTILE[i], "") if i < 8 else row for i, row in enumerate(sound)]
    rows[8] = (*rows[8][:3], "649988", "有效", "")
    packs.drop(at, rows, name="=cmd()_640104.csv")
    packs.run(at)
    return at


def test_cells_are_text_and_come_back_as_they_were(at):
    found = packs.folder(at, packs.make(at))
    assert [row["状态"] for row in packs.read_csv(next(found.glob("反馈_*.csv")))] == list(HOSTILE)
    book = openpyxl.load_workbook(next(found.glob("*.xlsx")))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s"} and {cell.number_format for cell in cells if cell.parent.title == "待更正"} == {"@"}
    assert b"<f>" not in b"".join(zipfile.ZipFile(next(found.glob("*.xlsx"))).read(n) for n in zipfile.ZipFile(next(found.glob("*.xlsx"))).namelist())
    with open(next(found.glob("反馈_*.csv")), encoding="utf-8-sig", newline="") as file:
        raw = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in raw if cell.startswith(("=", "+", "-", "@", "\t"))], "Excel computes nothing"


def test_rows_that_only_warn_have_a_list_of_their_own(at):
    told = packs.make(at)
    found = packs.folder(at, told)
    [row] = packs.read_csv(next(found.glob("提示_*.csv")))
    assert (told["rows"], told["warned"], packs.ordinal(row), row["字段"]) == (8, 1, 9, "居住地区划") and "代码" in row["应更正"]
    assert packs.read_book(next(found.glob("*.xlsx")), "提示") == [row]


def test_a_row_says_file_line_field_rule_and_remedy_in_both_languages(at):
    row = packs.read_csv(next(packs.folder(at, packs.make(at)).glob("反馈_*.csv")))[0]
    assert (row["回执"], row["文件"], row["字段"]) == (f"{BATCH}~r1#1:1", "=cmd()_640104.csv", "姓名")
    assert row["规则"] == "姓名已填写 — name is filled in" and row["应更正"].startswith("姓名：请填写") and "fill it in" in row["应更正"]
    assert row["行/记录号"] == "第1条记录", "a line break in a value: lines and records differ"


def test_the_same_batch_gives_the_same_bytes_and_one_entry(at, monkeypatch):
    before = hashes(packs.folder(at, packs.make(at)))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add_feedback", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            packs.make(at)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert hashes(packs.folder(at, packs.make(at))) == before
    f = tables.feedback
    [row] = at.ledger.rows(sa.select(f).where(f.c.batch_id == BATCH))
    assert (row["rows"], row["department"], row["encrypted"], row["corrected_revision"]) == (8, "公安局", 0, None)
    assert pack.make_waiting(DATASET, at) == []


def test_a_pack_that_the_department_removed_is_made_again_and_verify_misses_nothing(at):
    import shutil

    before = hashes(packs.folder(at, packs.make(at)))
    shutil.rmtree(at.lake.outbox / "公安局")
    assert verify(at)["findings"] == [], "a department may take away what is its own"
    assert hashes(packs.folder(at, packs.make(at))) == before


def test_damaged_tickets_are_found_and_the_remedy_mends_them(at):
    packs.make(at)
    [file] = (at.lake.quarantine / DATASET / "tickets").iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    [finding] = verify(at)["findings"]
    assert f"python -m pipelines feedback {BATCH}" in finding["remedy"]
    file.unlink()
    assert [f["problem"] for f in verify(at)["findings"]] == [f"is missing; the pack of batch {BATCH} gave out its tickets"]
    packs.make(at)
    assert verify(at)["findings"] == []


def test_the_folder_of_a_department_decides_who_reads_and_others_never_do(tmp_path):
    lake = Lake.open(tmp_path / "lake")
    home = outbox.department_folder(lake, "公安局")
    for mode, want in ((0o700, (0o700, 0o600)), (0o2750, (0o750, 0o640)), (0o777, (0o750, 0o640))):
        source = tmp_path / "made"
        source.mkdir()
        (source / "a.csv").write_text("x")
        if home.exists():
            home.chmod(mode)
        final = outbox.pack_folder(lake, "公安局", BATCH, 1)
        outbox.place(lake, "公安局", source, final)
        assert (stat.S_IMODE(final.stat().st_mode) & 0o777, stat.S_IMODE((final / "a.csv").stat().st_mode)) == want
    names = [outbox.department_folder(lake, d) for d in ("公安局", "公安/局", "公安_局", "../公安局", "a b", "a  b")]
    assert len(set(names)) == 6 and all(n.parent == lake.outbox and ".." not in n.name for n in names)


def test_nothing_is_written_in_clear_when_the_contract_wants_it_encrypted(tmp_path, monkeypatch):
    at = made(tmp_path, ENCRYPTED)
    packs.drop(at, [(*row[:1], "", *row[2:]) if i < 3 else row for i, row in enumerate(packs.people(20))])
    packs.run(at)
    with pytest.raises(WrongUse, match="LAKE_FEEDBACK_KEY_POLICE"):
        packs.make(at)
    [waiting] = pack.make_waiting(DATASET, at)
    assert "nothing was written" in waiting["trouble"] and list(at.lake.outbox.rglob("*")) == []
    monkeypatch.setenv("LAKE_FEEDBACK_KEY_POLICE", "short")
    with pytest.raises(WrongUse, match="fewer than 12"):
        packs.make(at)
    monkeypatch.setenv("LAKE_FEEDBACK_KEY_POLICE", "correct horse battery")
    told = packs.make(at)
    [file] = packs.folder(at, told).iterdir()
    assert told["encrypted"] and file.suffix == ".xlsx" and not zipfile.is_zipfile(file)
    box, plain = msoffcrypto.OfficeFile(open(file, "rb")), io.BytesIO()
    box.load_key(password="correct horse battery")
    box.decrypt(plain)
    assert openpyxl.load_workbook(plain)["待更正"].max_row == 4
    assert not [p for p in at.lake.staging.glob(".feedback*")]


def test_the_command_tells_counts_and_the_place(at, monkeypatch, capsys):
    monkeypatch.setenv("LAKE_HOME", str(at.lake.home))
    monkeypatch.setenv("LAKE_PROJECT", str(at.project.root))
    assert main(["feedback", BATCH]) == 0
    assert "8 rows to correct" in (said := capsys.readouterr().out) and "outbox/公安局/" in said
    assert main(["feedback", f"{BATCH}9"]) == 2 and "knows no batch" in capsys.readouterr().err


def test_a_batch_that_is_not_judged_and_one_without_a_failing_row_have_no_pack(tmp_path):
    at = made(tmp_path)
    packs.drop(at, packs.people(5))
    steps.receive(DATASET, None, at)
    with pytest.raises(WrongUse, match="not judged yet"):
        packs.make(at)
    packs.run(at)
    assert packs.make(at)["path"] is None and list(at.lake.outbox.iterdir()) == []


def test_columns_have_distinct_names_that_are_known_again():
    header = ("姓名", "姓名", "", "回执", " 处理 ", "姓名 (2)")
    assert shown(header) == ["姓名", "姓名 (2)", "列3", "回执 (2)", "处理 (2)", "姓名 (2) (2)"]
    assert len({heading.key(n) for n in (*shown(header), *PACK)}) == len(header) + len(PACK)
    assert union([("a", "b"), ("b", "c")]) == ["a", "b", "c"]


def test_every_rule_of_every_dataset_has_words():
    from pipelines.compiler import plan
    from pipelines.contract import datasets
    from pipelines.rules import rules

    here = Project(REPOSITORY)
    reasons = set()
    for found in datasets(here):
        compiled = plan(found, rules(found, here))
        said = {w.rule: w for w in words.of(compiled, here)}
        assert set(said) >= {r.rule for r in compiled.rules} and all(w.fields and w.says and " — " in w.remedy for w in said.values())
        reasons |= {r.reason for r in compiled.rules if r.column and r.severity == "reject"} - {None}
    assert reasons - set(words._REASONS) == {"form"} & reasons, "each reason has a remedy of its own"
    assert HEADER
