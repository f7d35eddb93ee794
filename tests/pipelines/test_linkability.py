"""Linkability: the groups that county, year of birth, sex and codes make, counted as a person would count them by hand; only what is new is measured."""
from __future__ import annotations

from collections import Counter

import pytest

from pipelines import compiler, linkability
from pipelines.contract import datasets
from pipelines.settings import Project
from tests.pipelines.test_release import World
from tests.states import state
from tests.support import REPOSITORY, resident_id

PEOPLE = [{"id_number": resident_id(n, birth=f"{year}0101"), "sex_code": sex, "birth_date": f"{year}-01-01", "region_code": "640104"}
          for n, (year, sex) in enumerate([(1990, "1")] * 6 + [(1990, "2")] * 3 + [(1991, "1")] + [(1992, "2")] * 5, 1)]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.states["population.resident"] = state(made.lake, made.plans["population.resident"], PEOPLE, "v3")
    return made


def measured(world):
    return world.rows("SELECT columns, groups, smallest, rows_in_small_groups, rows, counted_share FROM governance.reidentification WHERE dataset = 'population.resident'")


def test_groups_are_those_counted_by_hand(world):
    world.publish()
    sizes = Counter((p["birth_date"], p["sex_code"]) for p in PEOPLE)
    assert measured(world) == [("sex_code, birth_year, region_code, committee_county_code", len(sizes), min(sizes.values()), sum(n for n in sizes.values() if n < 5), 15, 1.0)]
    assert world.rows("SELECT count(*) FROM governance.reidentification WHERE dataset = 'credit.notice'") == [(0,)], "no person is in a row"


def test_only_what_is_new_is_measured(world, monkeypatch):
    world.publish()
    monkeypatch.setattr(linkability, "_measure", lambda *_: pytest.fail("measured again"))
    world.states["credit.notice"] = state(world.lake, world.plans["credit.notice"], [], "v9")
    assert world.publish()["written"] == ["credit.notice"]
    assert len(measured(world)) == 1


def test_of_many_rows_a_share_of_whole_groups_is_counted(world, monkeypatch):
    monkeypatch.setattr(linkability, "ROWS", 4)
    world.publish()
    [(_, groups, smallest, small, rows, share)] = measured(world)
    assert share == 1 / 4 and rows == 15 and groups % 4 == 0 and small % 4 == 0 and (smallest is None or smallest in (6, 3, 1, 5))


def test_persons_are_counted_and_their_codes_are_read():
    plans = {d.id: compiler.plan(d, ()) for d in datasets(Project(REPOSITORY))}
    basic, codes = linkability.quasi_identifiers(plans["population.person"])
    assert {"sex_code", "birth_year", "hukou_region_code"} <= set(basic) and {"marital_code", "education_code", "ethnic_code"} <= set(codes)
    assert linkability._combinations(plans["credit.abnormal_list"]) == []
