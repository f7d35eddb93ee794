"""Small cells stay hidden: what the statistics over persons publish is a system of sums, and no sum or difference of them is a hidden cell.

Random populations with many small cells; every figure of `population_pyramid`, `population_flow` and `proactive_service`, with their totals, is an
equation over the groups of persons it counts. A hidden cell is derivable by sums and differences exactly when its own equation is a combination of
these. What is known to be empty (a cell without a row, a part shown as 0) is taken out, as a reader would.
"""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

import numpy
import pytest

from tests.warehouse.hand import AS_OF, Hand

REGIONS = ("640104", "640106", "640181", "640121", "640122")
TOLD = (15, 16, 59, 60, 79, 80)      # ages of proactive_service


@pytest.fixture(scope="module")
def hand():
    made = Hand()
    yield made
    made.close()


def population(seed: int) -> list[tuple[str, str | None, str | None, int | None, str | None]]:
    """(person, region, sex, year of birth, insured in): a county where half of the cells are small, one with few, persons of no county, and
    three counties with one thing each that a subtraction would show."""
    draw, people = random.Random(seed), []
    for region, share in zip((*REGIONS[:2], None), (0.5, 0.05, 0.3)):
        years = draw.sample([*range(1926, 2026), None], 12) + [2010, 2011, 1966, 1967, 1964, 1946]
        for n, (sex, year) in enumerate((sex, year) for sex in ("1", "2", None if share > 0.2 else "1") for year in years):
            size = draw.choice([1, 2, 4, 7, 9]) if draw.random() < share else draw.choice([10, 11, 12, 25, 40])
            away = draw.choice(REGIONS) if draw.random() < share / 2 else draw.choice([region, region, None])
            people += [(f"{region}-{n}-{k}", region, sex, year, away) for k in range(size)]
    # One county with a single small cell, one whose 15–19 are small but for those who turn 16, one that four leave.
    planted = [("640122", "1", 1980, 4), ("640122", "2", 1980, 20), ("640122", "1", 1970, 30), *(("640181", sex, year, size) for sex in "12" for year, size in ((2010, 12), (2008, 3)))]
    people += [(f"p{n}-{k}", region, sex, year, region) for n, (region, sex, year, size) in enumerate(planted) for k in range(size)]
    return people + [(f"q{n}-{k}", "640121", "1", 1975, place) for n, (place, size) in enumerate((("640121", 20), ("640122", 4), (None, 15))) for k in range(size)]


def band(year: int | None) -> int | None:
    return None if year is None else min((AS_OF.year - year) // 5 * 5, 90)


Group = tuple      # (region, sex, year of birth, insured in): persons that no figure tells apart
Figure = tuple[int | None, Callable[[Group], bool]]


def figures(hand: Hand) -> list[Figure]:
    """(value, which groups it counts) of every figure in all the views, None where it is hidden."""
    found: list[Figure] = []
    for region, sex, first, persons, total in hand.ask("SELECT region_code, sex_code, age_from, persons, region_persons FROM population.population_pyramid"):
        found += [(persons, lambda g, cell=(region, sex, first): (g[0], g[1], band(g[2])) == cell), (total, lambda g, r=region: g[0] == r)]
    for region, registered, insured, stays, leaves, none, comes in hand.ask(
            "SELECT region_code, registered, insured, registered_insured_here, registered_insured_elsewhere, registered_uninsured, insured_from_elsewhere FROM population.population_flow"):
        found += [(registered, lambda g, r=region: g[0] == r), (insured, lambda g, r=region: g[3] == r), (stays, lambda g, r=region: g[0] == r == g[3]),
                  (leaves, lambda g, r=region: g[0] == r and g[3] not in (r, None)), (none, lambda g, r=region: g[0] == r and g[3] is None), (comes, lambda g, r=region: g[0] != r == g[3])]
    found += [(persons, lambda g, cell=(region, year - turns): (g[0], g[2]) == cell)
              for region, turns, year, persons in hand.ask("SELECT region_code, turns, in_year, persons FROM population.proactive_service")]
    return found


def possible(hand: Hand) -> list[Group]:
    """Every group that the views' rows leave possible: a cell without a row, and a part that is shown as 0, hold nobody."""
    cells = hand.ask("SELECT region_code, sex_code, age_from FROM population.population_pyramid")
    ages = {(region, AS_OF.year - (year - turns)) for region, turns, year in hand.ask("SELECT region_code, turns, in_year FROM population.proactive_service")}
    groups = [(region, sex, None if age is None else AS_OF.year - age, place) for region, sex, first in cells for age in ([None] if first is None else range(first, 101 if first == 90 else first + 5))
              if age not in TOLD or region is None or (region, age) in ages for place in (*REGIONS, None)]
    empty = [counts for value, counts in figures(hand) if value == 0]
    return [g for g in groups if not any(counts(g) for counts in empty)]


def put(hand: Hand, people: list[tuple]) -> None:
    hand.clear()
    hand.fill("population.person", "person_id, hukou_region_code, sex_code, birth_year", [p[:4] for p in people])
    hand.fill("population.social_insurance", "person_id, region_code, start_ym, status_code", [(p[0], p[4], "2020-01", "1") for p in people if p[4]])


@pytest.mark.parametrize("seed", range(4))
def test_no_hidden_cell_is_a_sum_or_difference_of_what_is_shown(hand, seed):
    people = population(seed)
    put(hand, people)
    truth, groups, found = Counter(p[1:] for p in people), possible(hand), figures(hand)
    assert set(truth) <= set(groups)
    persons = [sum(n for g, n in truth.items() if counts(g)) for _, counts in found]
    assert all(value in (None, n) for (value, _), n in zip(found, persons)), "what is shown is true"
    assert not any(value and value < 10 for value, _ in found)
    parts = [counts for _, counts in found] + [lambda g, r=r, f=f: g[0] == r and band(g[2]) == f and AS_OF.year - g[2] not in TOLD for r in REGIONS for f in (15, 55, 60, 75, 80)]
    small = [counts for counts in parts if 0 < sum(n for g, n in truth.items() if counts(g)) < 10]
    assert len(small) > 10
    equations = numpy.array([[counts(g) for g in groups] for value, counts in found if value], dtype=float).T
    targets = numpy.array([[counts(g) for g in groups] for counts in small], dtype=float).T
    weights = numpy.linalg.lstsq(equations, targets, rcond=None)[0]
    assert numpy.abs(equations @ weights - targets).max(axis=0).min() > 1e-6, "a hidden cell can be computed from what is shown"


def test_an_age_is_hidden_where_its_band_is_in_the_pyramid(hand):
    hand.clear()
    hand.fill("population.person", "person_id, hukou_region_code, sex_code, birth_year", [(f"{sex}{n}", "640104", sex, 2010) for sex, size in (("1", 5), ("2", 30)) for n in range(size)])
    assert hand.ask("SELECT persons, suppressed FROM population.proactive_service") == [(None, True)]


def test_the_proof_finds_what_can_be_subtracted(hand):
    """The same computation over cells of which one only is hidden."""
    cells, total, hidden = numpy.eye(4)[:, :3], numpy.ones((4, 1)), numpy.eye(4)[:, 3:]
    equations = numpy.hstack([cells, total])
    weights = numpy.linalg.lstsq(equations, hidden, rcond=None)[0]
    assert numpy.abs(equations @ weights - hidden).max() < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_what_a_total_leaves_over_is_never_small_and_no_cell_is_hidden_for_nothing(hand, seed):
    people = population(seed)
    put(hand, people)
    truth = Counter((p[1], p[2], band(p[3])) for p in people)
    found = {row[:3]: row[3:] for row in hand.ask("SELECT region_code, sex_code, age_from, persons, suppressed FROM population.population_pyramid")}
    assert set(found) == set(truth)
    for region in {cell[0] for cell in truth}:
        cells = {cell: n for cell, n in truth.items() if cell[0] == region}
        small, hidden = [n for n in cells.values() if n < 10], [n for cell, n in cells.items() if found[cell] == (None, True)]
        large = sorted(n for n in cells.values() if n >= 10)
        alone = bool(small) and (len(small) == 1 or sum(small) < 10)
        assert sorted(hidden) == sorted(small + (large[:1] if alone else []))
        assert all(found[cell] == (n, False) for cell, n in cells.items() if found[cell][1] is False)


def test_households_hide_like_persons(hand):
    hand.clear()
    sizes = {1: 12, 2: 30, 3: 9, 4: 11}
    members = [(f"{size}-{n}", f"{size}-{n}-{k}", "02" if k == 0 else "20", "640104") for size, count in sizes.items() for n in range(count) for k in range(size)]
    hand.fill("population.household_member", "household_no_pseudonym, person_id, relation_code, region_code", members)
    assert hand.ask("SELECT household_size, structure, households, suppressed, region_households FROM population.household_structure ORDER BY 1") == [
        (1, "single", 12, False, 62), (2, "two_generations", 30, False, 62), (3, "two_generations", None, True, 62), (4, "two_generations", None, True, 62)]


@pytest.mark.parametrize("relations, structure", [
    (["02"], "single"), (["02", "11", "73"], "one_generation"), (["02", "12", "21"], "two_generations"), (["02", "51"], "two_generations"), (["02", "21", "41"], "three_generations"),
    (["02", "51", "32"], "three_generations"), (["02", "61"], "three_generations"), (["02", "99"], "other"), (["02", "81"], "other"), (["02", None], "other"), (["02", None, "21"], "two_generations")])
def test_generations_by_relation(hand, relations, structure):
    hand.clear()
    hand.fill("population.household_member", "household_no_pseudonym, person_id, relation_code, region_code", [(f"h{n}", f"{n}-{k}", r, "640104") for n in range(10) for k, r in enumerate(relations)])
    assert hand.ask("SELECT structure, households FROM population.household_structure") == [(structure, 10)]


def test_working_days_leave_out_weekends(hand):
    days = [date(2026, 9, 25) + timedelta(n) for n in range(24)]
    for since in days[:8]:
        got = hand.ask("SELECT " + ", ".join(f"working_days(DATE '{since}', DATE '{until}')" for until in days if until >= since))[0]
        assert list(got) == [int(numpy.busday_count(since + timedelta(1), until + timedelta(1))) for until in days if until >= since]


def test_bands_of_five(hand):
    assert hand.ask("SELECT age_band_from(a), age_band(age_band_from(a)) FROM (VALUES (0), (4), (5), (89), (90), (120), (-1), (NULL)) t(a)") == [
        (0, "0-4"), (0, "0-4"), (5, "5-9"), (85, "85-89"), (90, "90+"), (90, "90+"), (None, "未知"), (None, "未知")]
