"""A withdrawn record is in nothing an analyst can open, in any kept release, and a death on the way is finished."""
from __future__ import annotations

import duckdb
import pytest

from pipelines import durable, release as publication, steps, withdrawal
from pipelines.settings import WrongUse
from pipelines.verify import verify
from pipelines.withdrawal import lift, withdraw
from tests.support import HEADER, RESIDENCE, Kept, desk, open_gate, resident_id, small_project, write_csv

DATASET = "population.residence"
BASIS = {"basis": "个人信息保护法第四十七条", "document": "宁数发〔2026〕1号"}
FOLLOWED = RESIDENCE.replace("- {property: load", "- {property: history, value: true}\n      - {property: load")
# A second dataset whose key is no person, so that `_key` itself is published.
VISIT = (RESIDENCE.replace("population.residence", "population.visit").replace("- name: residence", "- name: visit")
         .replace("semanticType: resident_id, classification: personal, primaryKey: true", "semanticType: resident_id, classification: personal, required: true")
         .replace("{name: status, businessName: 状态, description: State, semanticType: text, classification: internal}",
                  "{name: status, businessName: 状态, description: State, semanticType: text, classification: internal, primaryKey: true}"))


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    open_gate(monkeypatch)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Three releases: the person 1 in all of them, in other words each time, 2 in the last two; a rejected row of 1 in a fourth."""
    root = tmp_path_factory.mktemp("withdrawal")
    made = desk(root, small_project(root / "project", population__residence=FOLLOWED.replace("LOAD", "upsert"), population__visit=VISIT.replace("LOAD", "upsert")))
    with pytest.MonkeyPatch.context() as patch:
        open_gate(patch)
        for month, numbers in ((9, (1, 3)), (10, (1, 2)), (11, (1, 2, 4))):
            for dataset in (DATASET, "population.visit"):
                send(made, dataset, f"2026-{month:02d}-01", [(resident_id(n), "赵一", "1990-01-01", "640104", f"m{month}p{n}", "") for n in numbers])
            steps.release(made)
        send(made, DATASET, "2026-11-02", [(resident_id(1), "钱??", "1990-01-01", "640104", "rejected", ""), (resident_id(5), "孙五", "1990-01-01", "640104", "m11p5", "")])
        steps.release(made)
    return Kept(made)


@pytest.fixture
def at(kept):
    return kept.again()


def send(at, dataset: str, day: str, rows: list[tuple]) -> None:
    file = write_csv(at.lake.home.parent / f"out/{dataset}-{day}/640100.csv", HEADER, rows)
    steps.submit(dataset, [file], "police", day, desk=at)
    steps.commit(dataset, steps.judge(dataset, steps.stage(dataset, steps.receive(dataset, desk=at), at), at), at)


def key_of(at, number: int, dataset: str = DATASET) -> str:
    rows = steps.derive(at, at.plan(dataset)).relation
    return duckdb.sql(f"SELECT _key FROM {rows} WHERE id_number = '{resident_id(number)}' LIMIT 1").fetchone()[0]


def files_with(at, *words: str, but: str = "population.visit") -> list[str]:
    """Every file that analysts can open, but the other dataset's, that holds one of these words, in its bytes or in a Parquet cell."""
    found = []
    for path in [at.lake.database, *(p for p in at.lake.releases.rglob("*") if p.is_file() and not {but, f"{but}_versions"} & set(p.parts))]:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += "\n".join(str(r) for r in duckdb.sql(f"FROM '{path}'").fetchall()).encode()
        if any(w.encode() in content for w in words):
            found.append(str(path.relative_to(at.lake.home)))
    return found


def test_what_a_pruned_release_left_for_changes_is_cut_too(at, monkeypatch):
    """The release before is gone, but what changed since stands on its files: a withdrawn record must not come back through them."""
    monkeypatch.setattr(publication, "KEEP", 1)
    key = key_of(at, 1)
    send(at, DATASET, "2026-12-01", [(resident_id(1), "赵一", "1990-01-01", "640104", "m12p1", "")])
    number = steps.release(at)["release_id"]
    assert [m["release_id"] for m in publication.kept(at.lake)] == [number]
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert con.execute("SELECT _changed_columns, _before.status FROM population.residence_changes WHERE person_id = ?", [key]).fetchall() == [(["status", "_stale_since"], "m11p1")]
    withdraw(DATASET, [key], **BASIS, desk=at)
    assert files_with(at, key, "m11p1", "m12p1") == [] and verify(at)["findings"] == []
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM population.residence_changes WHERE person_id = ?", [key]).fetchone() == (0,)


def test_a_withdrawn_person_is_in_no_file_of_any_kept_release(at):
    key = key_of(at, 1)
    assert len([p for p in files_with(at, key) if "quarantine" in p]) == 1 and len(files_with(at, key)) >= 4
    held = duckdb.connect(str(at.lake.database), read_only=True)
    held.execute("SELECT count(*) FROM population.residence")
    done = withdraw(DATASET, [key], **BASIS, desk=at)
    assert done["rows"] == 5 + 3 and done["releases"] == 4 and done["already"] == []      # three of them are versions, of which the history is made
    assert files_with(at, key, "m9p1", "m10p1", "m11p1") == [] and files_with(at, key, but=DATASET) != []
    assert held.execute("SELECT count(*) FROM population.residence WHERE person_id = ?", [key]).fetchone() == (0,)
    held.close()
    for manifest in publication.kept(at.lake):
        with duckdb.connect(str(publication.folder(at.lake, manifest["release_id"]) / "lake.duckdb"), read_only=True) as con:
            rows, mine = con.execute("SELECT count(*), count(*) FILTER (person_id = ?) FROM population.residence", [key]).fetchone()
            assert (rows, mine) == (manifest["relations"][DATASET]["rows"], 0)
            for view in ("residence_changes", "residence_versions", "residence_history"):
                assert con.execute(f"SELECT count(*) FROM population.{view} WHERE person_id = ?", [key]).fetchone() == (0,), view
    row = at.ledger.rows(withdrawal.tables.withdrawals.select())[0]
    assert (row["state"], row["basis"], row["document"], row["rows"], row["releases"]) == ("done", BASIS["basis"], BASIS["document"], 4, 4)
    assert verify(at)["findings"] == []
    for number in (1, 2, 3, 4):
        steps.rollback(number, at)
    assert steps.release(at)["release_id"] == 5
    assert files_with(at, key) == [] and key in str(duckdb.sql(f"FROM '{steps.derive(at, at.plan(DATASET)).rows}'").fetchall())
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        assert con.execute("SELECT dataset, basis, document, state FROM governance.withdrawals").fetchall() == [(DATASET, *BASIS.values(), "done")]
    assert withdraw(DATASET, [key], **BASIS, desk=at)["already"] == [key]


def test_a_later_batch_does_not_bring_it_back_and_lifting_does(at):
    key = key_of(at, 2)
    number = withdraw(DATASET, [key], **BASIS, desk=at)["withdrawn"][0]
    send(at, DATASET, "2026-12-01", [(resident_id(2), "赵一", "1990-01-01", "640104", "m12p2", "")])
    steps.release(at)
    assert files_with(at, key, "m12p2") == []
    lift(number, "决定撤销", at)
    steps.release(at)
    assert {p.split("/")[2] for p in files_with(at, key)} == {DATASET, f"{DATASET}_versions"}
    with pytest.raises(WrongUse, match="no withdrawal"):
        lift(number, "again", at)


def test_a_record_whose_key_is_no_person_goes_by_key_or_address(at):
    key, dataset = key_of(at, 4, "population.visit"), "population.visit"
    assert withdraw(dataset, [f"{dataset}~police~640100~2026-11-01~1~r1#1:3"], **BASIS, desk=at)["rows"] > 0
    assert files_with(at, key, "m11p4", but=DATASET) == [] and files_with(at, "m11p4") != []
    assert withdraw(dataset, [key], **BASIS, desk=at)["already"] == [key]


def test_figures_are_of_each_record_and_withdrawing_again_looks_again(at):
    one, two = key_of(at, 1), key_of(at, 4)
    withdraw(DATASET, [one, two], **BASIS, desk=at)
    entered = withdrawal.tables.withdrawals.select().order_by(withdrawal.tables.withdrawals.c.id)
    rows = at.ledger.rows(entered)
    assert {r["key"]: (r["rows"], r["releases"]) for r in rows} == {one: (4, 4), two: (2, 2)}
    manifest = publication.kept(at.lake)[-1]
    shown = at.lake.releases / manifest["relations"][DATASET]["files"][0]["path"]
    assert withdraw(DATASET, [one], **BASIS, desk=at)["rows"] == 0 and verify(at)["findings"] == []
    assert at.ledger.rows(entered) == rows and shown.exists()


def test_wrong_use_enters_nothing(at):
    for records, given, words in ((["nobody"], BASIS, "1 of 1 records are not in base"), ([], BASIS, "at least one record"), ([key_of(at, 1)], {"basis": "", "document": "x"}, "legal basis"),
                                  ([f"{DATASET}~police~640100~2026-11-01~1~r1#1:99"], BASIS, "not in base")):
        with pytest.raises(WrongUse, match=words):
            withdraw(DATASET, records, **given, desk=at)
    assert withdrawal.withdrawn(at.ledger) == {}


@pytest.mark.parametrize(("deadly", "done"), [(1, False), (1, True), (2, True), (3, True), (5, False), (9, True), (13, False)])
def test_a_death_at_any_step_is_finished_by_the_next_release(at, monkeypatch, deadly, done):
    """Dies at the n-th file that is put in place: before that, or when it is done."""
    class Killed(BaseException):
        pass

    key, steps_taken, real = key_of(at, 1), [0], durable.replace

    def move(source, target):
        steps_taken[0] += 1
        if steps_taken[0] == deadly and not done:
            raise Killed
        real(source, target)
        if steps_taken[0] == deadly:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", move)
        try:
            withdraw(DATASET, [key], **BASIS, desk=at)
            assert steps_taken[0] < deadly
        except Killed:
            assert any("died on the way" in f["problem"] for f in verify(at)["findings"])
    steps.release(at)
    assert files_with(at, key) == []
    assert verify(at)["findings"] == []
