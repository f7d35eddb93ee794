"""What a grant promises: these columns and rows under these masks, its own pseudonyms, its readers only, until its day, old or new after a death.

Fixture: two datasets about the same persons, taken through every step twice (two releases); keys and masks are computed apart from the product.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from pipelines import database, durable, grants, keys, ledger_tables as tables, maintenance, steps, withdrawal
from pipelines.grants import allowed, conditions, files
from pipelines.settings import WrongUse
from pipelines.verify import verify
from tests.end_to_end.test_withdrawal import VISIT, key_of, send
from tests.support import RESIDENCE, Kept, desk, open_gate, resident_id, small_project

DATASET, OTHER = "population.residence", "population.visit"
SENSITIVE = "\n      - {name: religion_code, businessName: 宗教信仰, description: Religion, semanticType: code(religion), classification: sensitive}\n"
NAMES = {1: "张三", 2: "欧阳修文", 3: "阿依古丽·买买提", 4: "司马懿", 5: "王小明"}
BIRTHS = {n: f"19{60 + n}0{n}1{n}" for n in NAMES}
ASKED = {"datasets": [DATASET], "role": "analyst_pii", "purpose": "回访", "request": "申〔2026〕1号", "columns": ["person_id,name,id_number_last4,region_code"],
         "until": "2026-12-31", "by": "李批准", "day": "2026-11-02"}


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    open_gate(monkeypatch)
    monkeypatch.setattr(grants, "today", lambda: "2026-11-02")


def person(n: int) -> str:
    return resident_id(n, "640104" if n % 2 else "640105", BIRTHS[n])


def row(n: int, word: str) -> tuple:
    birth = BIRTHS[n]
    return (person(n), NAMES[n], f"{birth[:4]}-{birth[4:6]}-{birth[6:]}", "640104" if n % 2 else "640105", f"{word}{n}", "")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("grants")
    made = desk(root, small_project(root / "project", population__residence=RESIDENCE.replace("LOAD", "upsert").rstrip() + SENSITIVE, population__visit=VISIT.replace("LOAD", "upsert")))
    with pytest.MonkeyPatch.context() as patch:
        open_gate(patch)
        for dataset, numbers in ((DATASET, (1, 2, 3, 4)), (OTHER, (2, 3))):
            send(made, dataset, "2026-11-01", [row(n, "v") for n in numbers])
        steps.release(made)
    return Kept(made)


@pytest.fixture
def at(kept):
    return kept.again()


def opened_file(made: dict, sql: str) -> list[tuple]:
    beside = shutil.copyfile(made["database"], f"{made['database']}.seen")      # within one process the engine gives an open file again
    try:
        with duckdb.connect(beside, read_only=True) as con:
            return con.execute(sql).fetchall()
    finally:
        Path(beside).unlink()


def published(at, sql: str) -> list[tuple]:
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        return con.execute(sql).fetchall()


def keyed(key: bytes, message: str) -> str:
    return base64.urlsafe_b64encode(hmac.new(key, message.encode(), hashlib.sha256).digest()[:16]).decode().rstrip("=")


def test_a_grant_shows_the_granted_columns_masked_and_under_its_own_key(at):
    made = grants.grant(at, **ASKED)
    assert opened_file(made, "SELECT name, id_number_last4, region_code FROM population.residence ORDER BY id_number_last4, name") == sorted(
        [(mask, person(n)[-4:], person(n)[:6]) for n, mask in ((1, "张**"), (2, "欧阳**"), (3, "阿**"), (4, "司马**"))], key=lambda r: (r[1], r[0]))
    lake_key = bytes.fromhex((at.lake.keys / "pseudonym.key").read_text())
    mine = hmac.new(lake_key, b"grant\x1f1", hashlib.sha256).digest()
    own = {p for p, in opened_file(made, "SELECT person_id FROM population.residence")}
    assert own == {keyed(mine, keyed(lake_key, f"resident_id\x1f{person(n)}")) for n in (1, 2, 3, 4)} or own == {keyed(mine, p) for p, in published(at, "SELECT person_id FROM population.residence")}
    assert not own & {p for p, in published(at, "SELECT person_id FROM population.residence")}
    assert made["key_id"] == hashlib.sha256(mine).hexdigest()[:8] and keys.grant_key(at.lake, 2) != mine
    comment = opened_file(made, "SELECT comment FROM duckdb_views() WHERE view_name = 'residence'")[0][0]
    assert "申〔2026〕1号" in comment and "2026-12-31" in comment
    assert opened_file(made, "SELECT comment FROM duckdb_columns() WHERE table_name = 'residence' AND column_name = 'name'") == [("姓名（只留姓） — Name (surname only)",)]
    assert opened_file(made, "SELECT masked_name('诸葛亮'), count(*) > 3000 FROM reference.admin_division") == [("诸葛**", True)], "macros and code lists are there"


def test_the_order_of_rows_tells_nothing_about_the_default_file(at):
    made = grants.grant(at, **ASKED | {"columns": ["person_id,name"]})
    file = next(files.place(at.lake, 1).glob("data/*/*/rows.parquet"))
    rows = duckdb.sql(f"SELECT person_id FROM '{file}'").fetchall()
    assert rows == sorted(rows) and made["columns"] == "person_id, name"


def test_persons_join_across_the_datasets_of_a_grant_and_rows_are_chosen(at):
    made = grants.grant(at, **ASKED | {"datasets": [DATASET, OTHER], "columns": ["person_id", f"name, {OTHER}.status"], "rows": "region_code LIKE '640105%' OR birth_year = 1963"})
    assert opened_file(made, "SELECT r.name, v.status FROM population.residence r JOIN population.visit v USING (person_id) ORDER BY 2") == [("欧阳**", "v2"), ("阿**", "v3")]
    assert opened_file(made, "SELECT count(*) FROM population.residence") == [(3,)]
    assert [c for c, in opened_file(made, "SELECT column_name FROM duckdb_columns() WHERE table_name = 'residence' ORDER BY column_index")] == ["person_id", "name"]


def test_only_its_readers_can_open_it(at):
    import grp
    import os

    group = grp.getgrgid(os.getgid()).gr_name
    made = grants.grant(at, **ASKED, group=group)
    folder = files.place(at.lake, made["id"])
    modes = {p: (p.stat().st_mode & 0o777, p.stat().st_gid) for p in (folder, *folder.rglob("*"))}
    assert {m for p, m in modes.items() if p.is_dir()} == {(0o750, os.getgid())} and {m for p, m in modes.items() if p.is_file()} == {(0o640, os.getgid())}
    assert folder.parent.stat().st_mode & 0o777 == 0o711 and len(modes) >= 5
    with pytest.raises(WrongUse, match="no group 'nobodys-group'"):
        grants.grant(at, **ASKED, group="nobodys-group")
    assert len(grants.listing(at)) == 1


@pytest.mark.parametrize(("changed", "says"), [
    ({"role": "boss"}, "no role 'boss'"), ({"purpose": " "}, "needs --purpose"), ({"request": ""}, "needs --request"), ({"by": ""}, "needs --by"),
    ({"until": "soon"}, "is no day"), ({"until": "2026-11-01"}, "not between today"), ({"until": "2028-01-01"}, "not between today"),
    ({"role": "analyst"}, "offers? the role analyst .*name"), ({"columns": ["person_id,id_number"]}, "id_number"), ({"columns": ["religion_code"]}, "religion_code|none of the columns"),
    ({"columns": ["name,id_number_last4,birth_date"]}, "could be rebuilt.*1 candidates"), ({"datasets": ["population.nosuch"]}, "nosuch"),
    ({"role": "case_officer", "columns": ["religion_code"]}, "at most 20 persons"), ({"role": "case_officer", "rows": "region_code = '640104'"}, "at most 20 persons"),
    ({"role": "case_officer", "rows": "person_id = 'a' OR true"}, "at most 20 persons")])
def test_what_a_role_may_not_be_given_is_refused(at, changed, says):
    with pytest.raises(WrongUse, match=says):
        grants.grant(at, **ASKED | changed)
    assert grants.listing(at) == [] and not (at.lake.releases / "grants").exists()


def test_two_grants_of_one_request_do_not_add_up_to_an_identity_number(at):
    grants.grant(at, **ASKED)
    with pytest.raises(WrongUse, match="could be rebuilt"):
        grants.grant(at, **ASKED | {"columns": ["person_id,birth_date"]})
    made = grants.grant(at, **ASKED | {"columns": ["person_id,birth_date"], "request": "申〔2026〕2号"})
    assert {str(b) for b, in opened_file(made, "SELECT birth_date FROM population.residence")} == {row(n, "")[2] for n in (1, 2, 3, 4)}


def test_a_case_officer_sees_sensitive_codes_of_named_persons_only(at):
    key = key_of(at, 2) if False else published(at, "SELECT person_id FROM population.residence WHERE region_code = '640105' LIMIT 1")[0][0]
    made = grants.grant(at, **ASKED | {"role": "case_officer", "columns": ["name,religion_code"], "rows": f"person_id IN ('{key}') AND birth_year > 1900"})
    assert opened_file(made, "SELECT count(*), any_value(name) LIKE '%**' FROM population.residence") == [(1, True)]
    g = tables.grants
    assert key in at.ledger.rows(sa.select(g.c.rows))[0]["rows"]
    steps.release(at)
    with duckdb.connect(str(at.lake.database), read_only=True) as con:
        con.execute("SET enable_progress_bar = false")
    assert "rows" not in {c for c, _ in __import__("pipelines.governance", fromlist=["TABLES"]).TABLES["grants"].columns}


HOSTILE = ["1=1) UNION SELECT 1 --", "person_id IN (SELECT person_id FROM population.residence)", "EXISTS (SELECT 1)", "name = '张三'", "id_number LIKE '64%'", "religion_code = '00'",
           "read_text('/etc/passwd') IS NOT NULL", "region_code = getenv('HOME')", "region_code = '1'; DROP TABLE x", "count(*) > 1", "row_number() OVER () = 1", "region_code",
           "status = '640104199001010014'", "status = '139 0000 1111'", "person_id ~ 'a'", "\"p:name\" = 'x'", "population.residence.region_code = '1'", "$1 = region_code",
           "list_transform([1], x -> x) = [1]", "birth_year = 'x'", "(", "region_code COLLATE NOCASE = 'x'", "region_code = current_setting('threads')"]


@pytest.mark.parametrize("condition", HOSTILE)
def test_a_condition_is_one_expression_over_published_columns(at, condition):
    with pytest.raises(WrongUse, match="--rows"):
        grants.examine(at, **ASKED, rows=condition)


@pytest.mark.parametrize("condition", ["region_code LIKE '6401%' AND NOT birth_year BETWEEN 1950 AND 1960", "left(region_code, 4) IN ('6401', '6402')", "coalesce(status, '') <> 'x' -- words",
                                       "_stale_since IS NULL OR year(_stale_since) > 2020", "birth_year + 1 > 1990 and region_code is distinct from '640104'", "CAST(birth_year AS VARCHAR) = '1990'"])
def test_conditions_that_officers_write_are_taken(at, condition):
    grants.examine(at, **ASKED, rows=condition)
    tree = conditions.parse(condition, ["region_code", "birth_year", "status", "_stale_since"], DATASET)
    assert "--" not in conditions.sql(tree) and '"region_code"' in conditions.sql(tree) or "region_code" not in condition


def test_asked_again_it_is_the_same_grant_and_a_release_renews_it(at):
    first = grants.grant(at, **ASKED)
    assert grants.grant(at, **ASKED)["id"] == first["id"] and len(grants.listing(at)) == 1
    reader = duckdb.connect(first["database"], read_only=True)
    send(at, DATASET, "2026-11-02", [row(5, "w")])
    assert steps.release(at)["release_id"] == 2
    assert opened_file(first, "SELECT count(*) FROM population.residence") == [(5,)]
    assert reader.execute("SELECT count(*) FROM population.residence").fetchone() == (4,), "who has it open goes on"
    reader.close()
    assert published(at, "SELECT role, datasets, columns, purpose, request, expires_on, revoked_at FROM governance.grants") == [
        ("analyst_pii", DATASET, "person_id, name, id_number_last4, region_code", "回访", "申〔2026〕1号", "2026-12-31", None)]
    assert verify(at)["findings"] == []
    before = files.place(at.lake, 1).joinpath("grant.duckdb").stat().st_ino
    steps.release(at)
    assert files.place(at.lake, 1).joinpath("grant.duckdb").stat().st_ino == before, "what is up to date is not written again"


def test_it_is_gone_when_its_day_has_passed_or_it_is_revoked(at, monkeypatch):
    first, second = grants.grant(at, **ASKED | {"until": "2026-11-05"}), grants.grant(at, **ASKED | {"request": "2"})
    with pytest.raises(WrongUse, match="reason"):
        grants.revoke(at, second["id"], "")
    grants.revoke(at, second["id"], "任务结束")
    assert not files.place(at.lake, second["id"]).exists() and files.place(at.lake, first["id"]).exists()
    monkeypatch.setattr(grants, "today", lambda: "2026-11-06")
    maintenance.maintain(desk=at)
    assert not any((at.lake.releases / "grants").iterdir()) and verify(at)["findings"] == []
    assert {(g["id"], g["reason"], g["database"]) for g in grants.listing(at)} == {(1, "expired", None), (2, "任务结束", None)}
    with pytest.raises(WrongUse, match="no grant 1 in force"):
        grants.revoke(at, 1, "x")


@pytest.mark.parametrize("where", ["files", "database", "manifest"])
def test_a_death_on_the_way_leaves_old_or_new_and_a_release_finishes_it(at, monkeypatch, where):
    made = grants.grant(at, **ASKED)
    send(at, DATASET, "2026-11-02", [row(5, "w")])
    dies = {"files": (files, "_materialise"), "database": (database, "build"), "manifest": (durable, "write")}[where]
    real = getattr(*dies)

    def die(*args, **more):
        if "releases/grants" in str(args):
            raise KeyboardInterrupt
        return real(*args, **more)

    if where == "files":
        die = lambda *args, **more: (real(*args, **more), (_ for _ in ()).throw(KeyboardInterrupt))  # noqa: E731
    monkeypatch.setattr(*dies, die)
    with pytest.raises(KeyboardInterrupt):
        steps.release(at)
    assert opened_file(made, "SELECT count(*) FROM population.residence") == [(5 if where == "manifest" else 4,)]
    monkeypatch.setattr(*dies, real)
    steps.release(at)
    assert opened_file(made, "SELECT count(*) FROM population.residence") == [(5,)]
    assert verify(at)["findings"] == [] and not list(files.place(at.lake, 1).rglob("*.part*"))


def test_a_death_between_ledger_and_files_is_finished_by_the_same_command(at, monkeypatch):
    monkeypatch.setattr(files, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        grants.grant(at, **ASKED)
    monkeypatch.undo()
    monkeypatch.setattr(grants, "today", lambda: "2026-11-02")
    made = grants.grant(at, **ASKED)
    assert made["id"] == 1 and opened_file(made, "SELECT count(*) FROM population.residence") == [(4,)]
    monkeypatch.setattr(files.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        grants.revoke(at, 1, "任务结束")
    monkeypatch.undo()
    assert not files.place(at.lake, 1).exists(), "out of reach at once"
    grants.expire(at, "2026-11-02")
    assert not list((at.lake.releases / "grants").iterdir())


def test_a_withdrawn_person_is_in_no_grant(at):
    made = grants.grant(at, **ASKED)
    key = duckdb.sql(f"SELECT _key FROM '{steps.derive(at, at.plan(DATASET)).rows}' WHERE id_number = '{person(2)}'").fetchone()[0]
    withdrawal.withdraw(DATASET, [key], "个人信息保护法第四十七条", "1号", at)
    assert opened_file(made, "SELECT count(*), count(*) FILTER (name = '欧阳**') FROM population.residence") == [(3, 0)]
    left = [p for p in files.place(at.lake, 1).rglob("*.parquet")]
    assert len(left) == 1 and verify(at)["findings"] == []


def test_what_a_contract_no_longer_allows_ends_the_grant(at):
    grants.grant(at, **ASKED)
    path = at.project.contracts / "population/residence.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace("semanticType: person_name, classification: personal, required: true", "semanticType: person_name, classification: sensitive, required: true"))
        steps.release(at)
    finally:
        path.write_text(text)
    ended = grants.listing(at)[0]
    assert ended["database"] is None and ended["reason"].startswith("cannot be given any more") and not files.place(at.lake, 1).exists()


def test_every_mask_of_a_grant_is_for_a_type_that_the_default_file_hides(at):
    from pipelines import masks

    assert set(allowed.GRANT_MASKS) <= set(masks._HIDDEN)


def test_the_manifest_of_a_grant_holds_no_condition_and_no_key(at):
    key = published(at, "SELECT person_id FROM population.residence LIMIT 1")[0][0]
    made = grants.grant(at, **ASKED | {"rows": f"person_id = '{key}'"})
    text = (files.place(at.lake, made["id"]) / "manifest.json").read_text()
    assert key not in text and key.encode() not in (files.place(at.lake, 1) / "grant.duckdb").read_bytes() and json.loads(text)["pseudonym"]["key_id"] == made["key_id"]
