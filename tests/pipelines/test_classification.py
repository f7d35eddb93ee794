"""The classification of views at a release: sensitive filters are refused, and a broken view names the contract change that broke it."""
from __future__ import annotations

import json

import pytest

from pipelines import classification, compiler, release
from pipelines.check import check
from pipelines.contract import dataset
from pipelines.database import BrokenView
from pipelines.settings import WrongUse
from tests.pipelines.test_release import World
from tests.support import RESIDENCE, small_project

THEME = "SELECT 'x' AS rule_id, {shows} AS match_level, NULL::DATE AS as_of FROM population.resident {rest}"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def errors(world) -> str:
    plans = [compiler.plan(dataset(d, world.desk.project), ()) for d in world.plans]
    try:
        return "\n".join(classification.check(world.desk.project, plans))
    except WrongUse as wrong:      # a file that is no theme view at all
        return str(wrong)


def test_a_view_that_filters_on_a_sensitive_column_is_refused_by_check_and_release(world):
    world.theme(THEME.format(shows="sex_code", rest="WHERE religion_code = '05'"))
    refused = r"theme view population\.trial filters on population\.resident\.religion_code, which is sensitive"
    with pytest.raises(BrokenView, match=refused) as stopped:
        world.publish()
    assert "05" not in str(stopped.value) and not world.lake.database.exists()
    assert refused.replace("\\", "") in errors(world)


def test_check_lists_it_beside_every_other_error(tmp_path):
    made = small_project(tmp_path, population__residence=RESIDENCE.replace("LOAD", "upsert").replace("semanticType: text, classification: internal", "semanticType: text, classification: sensitive"))
    (made.views / "population").mkdir()
    (made.views / "population/trial.sql").write_text(
        "-- zh: 试\n-- en: Trial\n-- grain: 一\n-- rule: 一\n-- match: 一\n-- needs: population.residence\n-- left out: 无\n-- columns:\n--   rule_id: 列 — Column\n"
        "--   match_level: 列 — Column\n--   as_of: 列 — Column\nSELECT 'x' AS rule_id, person_id AS match_level, NULL::DATE AS as_of FROM population.residence WHERE status = '有效'\n")
    assert check(made)["errors"] == ["theme view population.trial filters on population.residence.status, which is sensitive and in no analyst's file."]


@pytest.mark.parametrize(("shows", "rest", "says"), [
    ("name", "", "shows population.resident.name, which is personal and in no analyst's file"), ("sex_code", "ORDER BY phone", "orders by population.resident.phone"),
    ("max(sex_code)", "GROUP BY religion_code", "groups by population.resident.religion_code"), ("nosuch", "", "does not bind: Column 'nosuch'"),
    ("any_value(COLUMNS('sex.*'))", "", "cannot be followed: COLUMNS()"),
    ("hash(resident)::VARCHAR", "", "theme view population.trial cannot be followed: the whole row 'resident'")])
def test_what_the_default_file_may_not_hold_or_nobody_can_follow_is_refused(world, shows, rest, says):
    world.theme(THEME.format(shows=shows, rest=rest))
    assert says in errors(world) and "trial" in errors(world)


def test_rows_may_not_be_chosen_by_a_sensitive_column(world):
    path = world.desk.project.contracts / "population/resident.yaml"
    path.write_text(path.read_text().replace("{property: load, value: upsert}", "{property: load, value: upsert}\n      - {property: publish_when, value: \"religion_code = '00'\"}"))
    assert "population.resident: publish_when filters on religion_code, which is sensitive" in errors(world)
    world.plans["population.resident"] = compiler.plan(dataset("population.resident", world.desk.project), ())
    with pytest.raises(BrokenView, match="publish_when filters on religion_code"):
        world.publish()


def test_a_release_says_what_its_views_are_made_of_and_how_sensitive_that_is(world):
    world.theme(THEME.format(shows="sex_code", rest="WHERE birth_year > 1980"))
    world.publish()
    assert world.rows("SELECT classification, raised_by FROM governance.views WHERE view = 'population.trial'") == [("personal", "population.resident.birth_date")]
    assert world.rows("SELECT \"column\", source_view, source_column, clause, classification FROM governance.lineage WHERE view = 'population.trial' ORDER BY clause") == [
        (None, "population.resident", "birth_date", "filter", "personal"), ("match_level", "population.resident", "sex_code", "select", "internal")]
    assert [v["classification"] for v in release.kept(world.lake)[0]["views"] if v["name"] == "trial"] == ["personal"]


def change_contract(world, old, new):
    path = world.desk.project.contracts / "population/resident.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new).replace("version: 1.0.0", "version: 1.1.0"))
    world.plans["population.resident"] = compiler.plan(dataset("population.resident", world.desk.project), ())
    world.change()


def test_a_view_broken_by_a_contract_names_view_column_and_version(world):
    world.theme(THEME.format(shows="max(sex_code)", rest="GROUP BY death_month"))
    world.publish()
    before = json.loads((world.lake.releases / "r000001/manifest.json").read_text())
    assert before["relations"]["population.resident"]["contract_version"] == "1.0.0"
    change_contract(world, "customProperties: [{property: mask, value: month}]", "customProperties: [{property: mask, value: omit}]")
    with pytest.raises(BrokenView) as stopped:
        world.publish()
    said = str(stopped.value)
    assert "theme view population.trial does not bind: Column 'death_month'" in said
    assert ("View population.trial reads column death_month of dataset population.resident, which was removed in contract version 1.1.0; "
            "release 1 has it from version 1.0.0.") in said
    assert world.shown() == 2 and said.count("release is stopped") == 1
    change_contract(world, "value: omit", "value: year")
    with pytest.raises(BrokenView, match="death_month"):
        world.publish()


def test_a_view_broken_by_a_changed_type_says_so(world):
    dated = "semanticType: date, classification: internal}"
    change_contract(world, "semanticType: date, classification: personal, customProperties: [{property: mask, value: month}]}", dated)
    world.theme(THEME.format(shows="sex_code", rest="WHERE year(death_date) > 1990"))
    world.publish()
    change_contract(world, dated, "semanticType: text, classification: internal}")
    with pytest.raises(BrokenView, match=r"View population.trial reads column death_date of dataset population.resident, which became VARCHAR \(it was DATE\) in contract version"):
        world.publish()
