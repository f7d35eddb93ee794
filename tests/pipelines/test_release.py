"""What a release promises: the old one or the new one, nothing unmasked, a comment on everything, the way back.

Fixture: two small datasets made by hand (residents, notices), no theme views unless a test writes one.
"""
from __future__ import annotations

import os
import re

import duckdb
import pytest

from pipelines import compiler, database, ledger_tables as tables, masks, objects, release
from pipelines.contract import dataset
from pipelines.database import BrokenView
from pipelines.settings import WrongUse
from tests.states import state
from tests.support import REPOSITORY, desk, keep_only, resident_id, small_project

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: {id}
name: {name}
version: 1.0.0
status: active
domain: {domain}
description: {{purpose: 试验。Trial., usage: 依法履职。Legal duties., limitations: 试验数据。Trial data.}}
slaProperties: [{{property: frequency, value: 1, unit: month}}]
customProperties:
  - {{property: catalogue, value: {{category: 101001/13, share_class: 有条件共享, share_mode: 批量交换, grade: 3, share_condition: 依法履职}}}}
servers:
  - server: police
    type: local
    format: csv
    path: inbox/{id}/police
    encoding: utf-8
    customProperties: [{{property: department, value: 公安局}}, {{property: uscc, value: 11640000MB1Y00011H}}]
schema:
  - name: {table}
    businessName: {name}
    description: 一人一行。One row per person.
    customProperties:
      - {{property: load, value: upsert}}
{custom}    properties:
"""
RESIDENT = CONTRACT.format(id="population.resident", name="居民", domain="population", table="resident", custom="") + """
      - {name: id_number, businessName: 公民身份号码, description: Citizen identity number, semanticType: resident_id, classification: personal, primaryKey: true}
      - {name: name, businessName: 姓名, description: Name, semanticType: person_name, classification: personal}
      - {name: sex_code, businessName: 性别, description: Sex, semanticType: code(sex), classification: internal}
      - {name: birth_date, businessName: 出生日期, description: Date of birth, semanticType: date, classification: personal}
      - {name: death_date, businessName: 死亡日期, description: Date of death, semanticType: date, classification: personal, customProperties: [{property: mask, value: month}]}
      - {name: region_code, businessName: 户籍地区划, description: Division, semanticType: region_code, classification: internal}
      - {name: committee_code, businessName: 居村委会, description: Committee, semanticType: division_code, classification: personal}
      - {name: household_no, businessName: 户号, description: Household, semanticType: opaque_id, classification: personal}
      - {name: phone, businessName: 电话, description: Telephone, semanticType: mobile, classification: personal}
      - {name: religion_code, businessName: 宗教, description: Religion, semanticType: code(religion), classification: sensitive}
      - {name: note, businessName: 备注, description: Remark, semanticType: narrative, classification: personal}
"""
NOTICE = CONTRACT.format(id="credit.notice", name="处罚", domain="credit", table="notice", custom="""      - {property: publish_when, value: "kind in ('1', '3')"}
""") + """
      - {name: notice_no, businessName: 文号, description: Number, semanticType: document_no, classification: public, primaryKey: true}
      - {name: subject, businessName: 相对人, description: Subject, semanticType: org_name, classification: public, customProperties: [{property: classified, value: {when: "kind = '3'", then: personal}}]}
      - {name: kind, businessName: 类别, description: Kind, semanticType: code(subject_kind), classification: public}
      - {name: content, businessName: 内容, description: Content, semanticType: text, classification: public}
"""
ID = resident_id(1, birth="19900307")
PEOPLE = [
    {"id_number": ID, "name": "赵一一", "sex_code": "1", "birth_date": "1990-03-07", "region_code": "640104", "committee_code": "640104001002",
     "household_no": "H001", "phone": "13900001111", "religion_code": "00", "death_date": "2026-05-06",
     "note": f"赵 一一（{ID}）来电 139-0000-1111，邮箱 a@b.cn，护照E12345678"},
    {"id_number": resident_id(2), "name": "钱二", "sex_code": "2", "birth_date": "1990-01-01", "region_code": "640104", "household_no": "H000"},
]
NOTICES = [{"notice_no": "1号", "subject": "甲公司", "kind": "1", "content": f"罚款；联系人13900001111，身份证{ID}"},
           {"notice_no": "2号", "subject": "赵一一", "kind": "2"}, {"notice_no": "3号", "subject": "钱二小卖部", "kind": "3"},
           {"notice_no": "4号", "subject": "丙", "kind": None}]


def slim(made):
    """A small project with only the macros that views of these datasets use."""
    keep_only(made.macros, ["text.sql", "codes.sql", "redact.sql"])
    return made


class World:
    """A lake, a project and the states to publish."""

    def __init__(self, root):
        self.desk = desk(root, slim(small_project(root / "project", population__resident=RESIDENT, credit__notice=NOTICE)))
        self.plans = {d: compiler.plan(dataset(d, self.desk.project), ()) for d in ("credit.notice", "population.resident")}
        self.states = {"credit.notice": state(self.lake, self.plans["credit.notice"], NOTICES),
                       "population.resident": state(self.lake, self.plans["population.resident"], PEOPLE)}

    @property
    def lake(self):
        return self.desk.lake

    def change(self, version="v2"):
        """One resident fewer."""
        self.states["population.resident"] = state(self.lake, self.plans["population.resident"], PEOPLE[:1], version, "2026-12-01")

    def publish(self):
        return release.publish(self.lake, self.desk.project, self.plans, self.states, self.desk.ledger, "test")

    def theme(self, sql, columns=("rule_id", "match_level", "as_of")):
        header = "".join(f"--   {c}: 列 — Column\n" for c in columns)
        path = self.desk.project.views / "population" / "trial.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text("-- zh: 试\n-- en: Trial\n-- grain: 一\n-- rule: 一\n-- match: 一\n-- needs: population.resident\n-- left out: 无\n"
                        f"-- columns:\n{header}{sql}\n")

    def rows(self, sql, path=None):
        con = duckdb.connect(str(path or self.lake.database), read_only=True)
        try:
            return con.execute(sql).fetchall()
        finally:
            con.close()

    def shown(self):
        return self.rows("SELECT count(*) FROM population.resident")[0][0]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_analysts_get_what_the_masks_leave(world):
    world.publish()
    columns = [r[0] for r in world.rows("DESCRIBE population.resident")]
    assert columns == ["person_id", "sex_code", "birth_year", "death_month", "region_code", "committee_county_code",
                       "household_no_pseudonym", "note", "_source", "_batch", "_stale_since"]
    found = world.rows("SELECT person_id, birth_year, death_month, committee_county_code, household_no_pseudonym, note FROM population.resident "
                       "WHERE birth_year = 1990 AND note IS NOT NULL")[0]
    assert re.fullmatch(r"[\w-]{22}", found[0]) and re.fullmatch(r"[\w-]{22}", found[4])
    assert found[1:4] == (1990, "2026-05", "640104")
    assert found[5] == "〔姓名〕（〔号码〕）来电 〔号码〕，邮箱 〔邮箱〕，护照〔号码〕"
    assert world.rows("SELECT notice_no, subject, content FROM credit.notice") == [
        ("1号", "甲公司", "罚款；联系人〔号码〕，身份证〔号码〕"), ("3号", None, None)]


def test_no_personal_value_is_in_any_published_byte(world):
    world.publish()
    written = b"".join(p.read_bytes() for p in [*world.lake.releases.rglob("*"), world.lake.database] if p.is_file())
    texts = "".join(str(world.rows(f"FROM {v}")) for v in ("population.resident", "credit.notice", "governance.quarantine", "governance.batches"))
    for secret in (ID, "赵一一", "13900001111", "1990-03-07", "H001"):
        assert secret.encode() not in written
        assert secret not in texts


def test_everything_has_a_comment_in_both_languages(world):
    world.publish()
    words = world.rows("SELECT comment FROM duckdb_views() WHERE NOT internal UNION ALL SELECT comment FROM duckdb_columns() WHERE NOT internal")
    assert len(words) > 150
    assert all(w and " — " in w for (w,) in words)


def test_manifest_pins_files_rows_and_versions(world):
    done = world.publish()
    manifest = release.kept(world.lake)[0]
    assert done["release_id"] == manifest["release_id"] == 1
    assert (done["datasets"], done["rows"]) == (2, 4)
    notice = manifest["relations"]["credit.notice"]
    assert (notice["rows"], notice["withheld_rows"], notice["as_of"], notice["contract_version"]) == (2, 2, "2026-11-01", "1.0.0")
    assert world.rows("SELECT dataset, rows, withheld_rows, as_of::VARCHAR FROM governance.datasets ORDER BY 1") == [
        ("credit.notice", 2, 2, "2026-11-01"), ("population.resident", 2, 0, "2026-11-01")]
    assert world.rows("SELECT release_id, state FROM governance.releases") == [(1, "published")]


def test_only_what_changed_is_written_and_nothing_changed_is_no_release(world):
    assert set(world.publish()["written"]) == {"credit.notice", "population.resident"}
    assert world.publish() is None
    world.change()
    assert world.publish()["written"] == ["population.resident"]
    assert world.rows("SELECT release_id, state FROM governance.releases ORDER BY 1") == [(1, "kept"), (2, "published")]


def test_a_dataset_without_data_is_an_empty_view(world):
    del world.states["credit.notice"]
    world.publish()
    assert world.rows("SELECT count(*) FROM credit.notice") == [(0,)]
    assert world.rows("SELECT as_of FROM governance.datasets WHERE dataset = 'credit.notice'") == [(None,)]


def test_readers_keep_the_old_release_while_the_next_appears(world):
    world.publish()
    reader = duckdb.connect(str(world.lake.database), read_only=True)
    world.change()
    world.publish()
    assert reader.execute("SELECT count(*) FROM population.resident").fetchone() == (2,)
    assert world.rows("SELECT count(*) FROM population.resident", world.lake.releases / "r000001" / "lake.duckdb") == [(2,)]
    reader.close()
    assert world.shown() == 1


def test_a_kill_at_any_rename_leaves_the_old_or_the_new_release(world, monkeypatch):
    world.publish()
    world.change()
    real, calls = os.replace, []

    def killed_at(n):
        def replace(a, b):
            calls.append(b)
            if len(calls) > n:
                raise KeyboardInterrupt
            return real(a, b)
        return replace

    outcomes = []
    for n in range(20):
        calls.clear()
        monkeypatch.setattr(os, "replace", killed_at(n))
        try:
            done = world.publish()
        except KeyboardInterrupt:
            done = "killed"
        monkeypatch.setattr(os, "replace", real)
        outcomes.append(world.shown())
        if done != "killed":
            break
    assert done is not None and done["release_id"] == 2
    assert outcomes == sorted(outcomes, reverse=True) and set(outcomes) == {2, 1}
    assert world.publish() is None
    assert not [p for p in world.lake.home.rglob("*.part*") if "scratch" not in p.parts]
    assert [m["release_id"] for m in release.kept(world.lake)] == [1, 2]


def test_a_kill_before_the_ledger_is_written_is_finished_by_the_next_run(world, monkeypatch):
    world.publish()
    world.change()
    monkeypatch.setattr(release, "_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        world.publish()
    monkeypatch.undo()
    assert world.publish()["release_id"] == 2
    assert release.shown_release(world.desk.ledger) == 2


def test_a_broken_theme_view_stops_the_release_and_names_itself(world):
    world.publish()
    world.change()
    world.theme("SELECT 'x' AS rule_id, no_such_column AS match_level, NULL::DATE AS as_of FROM population.resident")
    with pytest.raises(BrokenView, match=r"population\.trial does not bind.*no_such_column"):
        world.publish()
    assert world.shown() == 2
    world.theme("SELECT 'x' AS rule_id, 'exact' AS match_level, DATE '2026-01-01' AS as_of FROM population.resident")
    assert world.publish()["views"] == 1 + len(list((REPOSITORY / "warehouse/views/governance").glob("*.sql")))
    assert world.rows("SELECT count(*) FROM population.trial") == [(1,)]


def test_a_theme_must_describe_its_columns_and_its_needs(world):
    world.theme("SELECT 'x' AS rule_id, 'exact' AS match_level, DATE '2026-01-01' AS as_of, 1 AS more FROM population.resident")
    with pytest.raises(WrongUse, match="header describes rule_id, match_level, as_of"):
        world.publish()
    world.theme("SELECT 'x' AS rule_id, 'exact' AS match_level, DATE '2026-01-01' AS as_of FROM credit.notice")
    with pytest.raises(WrongUse, match="the SELECT reads credit.notice"):
        world.publish()


def test_a_mask_removed_stops_the_release(world, monkeypatch):
    monkeypatch.setitem(masks._PERSONAL, "person_name", "keep")
    with pytest.raises(WrongUse, match="column name is a personal person_name and must not be published"):
        world.publish()
    assert not world.lake.database.exists()


def test_a_mask_bypassed_in_the_file_stops_the_release(world, monkeypatch):
    real = masks.published
    extra = masks.PublishedColumn("name", "name", "姓名", "Name", "VARCHAR", "personal", "keep", '"name"')
    monkeypatch.setattr("pipelines.published.masks.published", lambda plan: real(plan) + ((extra,) if plan.dataset.domain == "population" else ()))
    with pytest.raises(WrongUse, match="other columns than its masks allow: name"):
        world.publish()


@pytest.mark.parametrize("change, message", [
    ({"rows": 3}, "View population.resident has 2 rows, the manifest says 3"), ({"comment": ""}, "View population.resident has no comment."),
    ({"files": [{"path": "data/gone.parquet"}]}, "View population.resident does not bind: IOException"),
    ({"columns": [("person_id", "VARCHAR", "假名 — Pseudonym"), ("sex_code", "INTEGER", "")]}, "has other columns than the manifest: sex_code INTEGER"),
])
def test_a_view_that_is_not_what_the_manifest_says_is_not_shown(world, tmp_path, change, message):
    world.publish()
    manifest = release.kept(world.lake)[0]
    manifest["relations"]["population.resident"] |= change
    with pytest.raises(BrokenView, match=message):
        database.build(manifest, world.lake, tmp_path / "trial.duckdb")
    assert not (tmp_path / "trial.duckdb").exists()


def catalogue_of(path):
    """All that a database of views says: views, columns, macros, with their comments."""
    with duckdb.connect(str(path), read_only=True) as con:
        return [con.execute(f"SELECT {columns} FROM {what}() WHERE NOT internal ORDER BY ALL").fetchall() for what, columns in (
            ("duckdb_views", "schema_name, view_name, sql, comment"), ("duckdb_columns", "schema_name, table_name, column_name, data_type, comment"),
            ("duckdb_functions", "schema_name, function_name, macro_definition, comment"))]


def test_a_database_made_from_the_last_one_is_what_one_made_from_nothing_is(world, tmp_path, monkeypatch):
    world.publish()
    dropped, drop = [], database._drop
    for step in ("rows", "theme", "a dataset less", "nothing is left of the last one", "the last one is damaged", "another program"):
        dropped.clear()
        monkeypatch.setattr(database, "_drop", lambda con, key: (dropped.append(key), drop(con, key)))
        if step == "theme":
            world.theme("SELECT 'x' AS rule_id, 'exact' AS match_level, DATE '2026-01-01' AS as_of FROM population.resident")
        elif step == "a dataset less":
            del world.plans["credit.notice"], world.states["credit.notice"]
        elif step == "nothing is left of the last one":
            (world.lake.staging / ".built-release.json").unlink()
        elif step == "the last one is damaged":
            last = release.folder(world.lake, release.shown_release(world.desk.ledger)) / "lake.duckdb"
            last.write_bytes(last.read_bytes()[:4096])
        elif step == "another program":
            monkeypatch.setattr(database, "code_version", lambda: "other")
        world.change(step)
        number = world.publish()["release_id"]
        database.build(release.kept(world.lake)[-1], world.lake, tmp_path / "whole.duckdb")
        assert catalogue_of(world.lake.database) == catalogue_of(tmp_path / "whole.duckdb"), step
        if step == "rows":      # release 2: what did not change was not made again
            assert "VIEW population.resident" in dropped and "VIEW governance.datasets" in dropped
            assert not [key for key in dropped if key.startswith("MACRO") or "_scores" in key or key == "VIEW credit.notice"]
        else:
            assert not [key for key in dropped if key.startswith("VIEW credit")] and number > 2
        monkeypatch.undo()


def test_quarantine_is_shown_by_address_and_pseudonym_without_values(world):
    batch, ledger = "population.resident~police~all~2026-11-01~1", world.desk.ledger
    ledger.add_batch(batch_id=batch, revision=2, dataset="population.resident", source="police", part="all", batch_date="2026-11-01", sequence=1)
    ledger.update_batch(batch, 2, state="accepted")
    file = world.lake.quarantine / "population.resident" / f"{batch}~r2.parquet"
    file.parent.mkdir()
    duckdb.execute(f"COPY (SELECT 1 AS _file, 7::BIGINT AS _ordinal, 'p' AS _key, 'i' AS _identity, '640104' AS region, ['name.required'] AS rules) TO '{file}'")
    world.publish()
    assert world.rows("FROM governance.quarantine") == [
        ("population.resident", f"{batch}~r2#1:7", batch, 2, 1, 7, ["name.required"], "640104", "p", "open", None, None, None, None)]
    assert world.rows("SELECT batch_id, state FROM governance.batches") == [(batch, "accepted")]


def test_rollback_shows_the_release_before_and_the_next_batch_publishes_anew(world):
    world.publish()
    world.change()
    world.publish()
    assert release.rollback(world.lake, world.desk.project, world.desk.ledger)["release_id"] == 1
    assert world.shown() == 2
    assert world.publish() is None, "a rollback is not undone without new data"
    assert release.rollback(world.lake, world.desk.project, world.desk.ledger, 2)["release_id"] == 2
    with pytest.raises(WrongUse, match="Kept releases: 1, 2"):
        release.rollback(world.lake, world.desk.project, world.desk.ledger, 7)
    release.rollback(world.lake, world.desk.project, world.desk.ledger)
    world.change("v3")
    assert world.publish()["release_id"] == 3
    assert world.rows("SELECT release_id, state FROM governance.releases ORDER BY 1") == [(1, "kept"), (2, "rolled_back"), (3, "published")]


def test_rollback_refuses_a_damaged_release(world):
    world.publish()
    world.change()
    world.publish()
    path = world.lake.releases / release.kept(world.lake)[0]["relations"]["population.resident"]["files"][0]["path"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WrongUse, match="Release 1 is damaged: 1 files"):
        release.rollback(world.lake, world.desk.project, world.desk.ledger)
    assert world.shown() == 1


def test_old_releases_and_their_files_are_swept(world, monkeypatch):
    monkeypatch.setattr(release, "KEEP", 2)
    world.publish()
    for version in ("v2", "v3", "v4"):
        world.change(version)
        world.publish()
    assert [m["release_id"] for m in release.kept(world.lake)] == [3, 4]
    assert len(list((world.lake.releases / "data" / "population.resident").iterdir())) == 3      # and what release 3 was compared with
    assert len(list((world.lake.releases / "data" / "credit.notice").iterdir())) == 1
    assert world.rows("SELECT state FROM governance.releases ORDER BY release_id") == [("removed",), ("kept",), ("kept",), ("published",)]


def test_a_death_while_old_files_are_removed_leaves_none_that_the_same_rows_would_use_again(world, monkeypatch):
    monkeypatch.setattr(release, "KEEP", 1)
    world.publish()
    before = world.states["population.resident"]
    world.change("v2")
    world.publish()
    world.change("v3")

    def dies(folder, **_):
        if folder.parent.name == "population.resident" and (folder / "rows.parquet").exists():
            (folder / "rows.parquet").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(release.durable.shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            world.publish()
    world.states["population.resident"] = before
    world.publish()
    assert world.shown() == 2


def test_the_release_of_a_closing_is_kept_with_its_files(world, monkeypatch):
    monkeypatch.setattr(release, "KEEP", 1)
    world.publish()
    with world.desk.ledger.transaction() as con:
        con.execute(tables.closings.insert().values(dataset="population.resident", month="2026-11", release_id=1, closed_at="2026-12-05T00:00:00Z", reason="月报"))
    for version in ("v2", "v3"):
        world.change(version)
        world.publish()
    assert [m["release_id"] for m in release.kept(world.lake)] == [1, 3]
    assert release.rollback(world.lake, world.desk.project, world.desk.ledger, 1)["release_id"] == 1
    assert world.rows("SELECT state FROM governance.releases ORDER BY release_id") == [("published",)]


def test_files_are_entered_once_each_by_its_own_folder(world):
    folders = [world.lake.current / one for one in ("d.a", "d.a/b", "d.a%", "d_a", "d.a0", "d.人", "d")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.parquet").write_text(folder.name)
    assert [objects.enter(world.lake, world.desk.ledger, folder) for folder in folders] == [2, 0, 1, 1, 1, 1, 1]
    assert objects.enter(world.lake, world.desk.ledger, *folders) == 0
    world.lake.current.joinpath("d.a/b/more.parquet").write_text("more")
    assert objects.enter(world.lake, world.desk.ledger, world.lake.current / "d.a") == 1


def test_folders_tell_two_audiences_apart(world):
    os.umask(0o077)
    try:
        world.publish()
    finally:
        os.umask(0o022)
    shared = [p for p in [*world.lake.releases.rglob("*"), world.lake.database]]
    assert all(p.stat().st_mode & 0o044 == 0o044 for p in shared)
    assert all(p.stat().st_mode & 0o011 == 0o011 for p in shared if p.is_dir())
    assert world.lake.restricted.stat().st_mode & 0o077 == 0
    assert world.rows("SELECT id_number FROM population.resident WHERE name = '赵一一'", world.lake.restricted) == [(ID,)]
    assert str(world.lake.current) not in str(world.rows("SELECT sql FROM duckdb_views() WHERE NOT internal"))


def test_contract_sql_reaches_nothing_outside_the_lake(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    world = World(tmp_path / "world")
    plan = world.plans["credit.notice"]
    object.__setattr__(plan.dataset, "publish_when", f"exists (FROM read_csv('{secret}'))")
    with pytest.raises(duckdb.PermissionException):
        world.publish()
