"""The life of a problem as a function: any order of arrival gives one state, officers' acts stand where they were made, waivers and false alarms end."""
from __future__ import annotations

import itertools
import random

import pytest

from pipelines.lifecycle import FALSE_ALARM, IN_PROGRESS, MENDED, OPEN, VERIFIED, WAIVED, Act, Result, Waiver, standing

A, B = ("police", "640100"), ("police", "640200")


def at(day: int, revision: int = 1, stream=A) -> tuple:
    return f"2026-11-{day:02}", 1, f"d~{'~'.join(stream)}~2026-11-{day:02}~1", revision


def result(day: int, outcome: str, stream=A, revision: int = 1, **more) -> Result:
    failed = {"fail": 5, "pass": 0, "not_measured": 0}[outcome]
    return Result(at(day, revision, stream), stream, outcome, **{"applicable": 10 * (outcome != "not_measured"), "failed": failed, "at_least": 0.9, "definition": "d1"} | more)


@pytest.mark.parametrize("many, state, reopened, shown", [
    ([], None, 0, None),
    ([result(1, "pass")], None, 0, None),
    ([result(1, "not_measured"), result(2, "not_measured")], None, 0, None),
    ([result(1, "fail")], OPEN, 0, 1),
    ([result(1, "fail"), result(2, "not_measured")], OPEN, 0, 1),
    ([result(1, "fail"), result(2, "fail")], OPEN, 0, 2),
    ([result(1, "fail"), result(2, "pass")], VERIFIED, 0, 2),
    ([result(1, "fail"), result(1, "pass", revision=2)], VERIFIED, 0, 1),
    ([result(1, "fail"), result(2, "pass"), result(3, "fail")], OPEN, 1, 3),
    ([result(1, "fail"), result(2, "pass", B)], OPEN, 0, 1),
    ([result(1, "fail"), result(1, "fail", B), result(2, "pass")], OPEN, 0, 1),
    ([result(1, "fail"), result(1, "fail", B), result(2, "pass"), result(2, "pass", B)], VERIFIED, 0, 2),
])
def test_any_order_of_arrival_gives_the_same_state(many, state, reopened, shown):
    orders = list(itertools.permutations(many))
    found = {standing(order) for order in orders}
    assert len(found) == 1
    one = found.pop()
    assert (one and one.state, one and one.reopened or 0) == (state, reopened)
    assert shown is None or one.shown[-1].place[0] == f"2026-11-{shown:02}"


def test_random_histories_with_acts_agree_in_every_order():
    chance = random.Random(5)
    for _ in range(300):
        many = [result(day, chance.choice(("fail", "pass", "not_measured")), chance.choice((A, B))) for day in range(1, 9)]
        acts = [Act(at(chance.randint(1, 8)), chance.choice((IN_PROGRESS, MENDED, OPEN, FALSE_ALARM)), "d1") for _ in range(3)]
        first = standing(many, acts)
        for _ in range(5):
            chance.shuffle(many)
            assert standing(many, acts) == first


def test_an_act_stands_after_what_it_saw():
    fails = [result(1, "fail")]
    assert standing(fails, [Act(at(1), IN_PROGRESS)]).state == IN_PROGRESS
    mended = [Act(at(1), IN_PROGRESS), Act(at(1), MENDED)]
    assert standing(fails, mended).state == MENDED
    assert standing([*fails, result(2, "pass")], mended).state == VERIFIED
    again = standing([*fails, result(2, "fail")], mended)
    assert (again.state, again.reopened) == (OPEN, 1)
    assert standing([*fails, result(2, "fail")], [Act(at(1), IN_PROGRESS)]).state == IN_PROGRESS, "work goes on"
    late = standing([Result(("2026-10-01", 1, "x", 1), A, "fail", 10, 5, 0, 0.9), *fails], mended)
    assert (late.state, late.reopened) == (MENDED, 0), "what is older than the act does not undo it"


def test_a_false_alarm_stands_until_the_rule_says_something_else():
    alarm = [Act(at(1), FALSE_ALARM, "d1")]
    assert standing([result(1, "fail"), result(2, "fail")], alarm).state == FALSE_ALARM
    assert standing([result(1, "fail"), result(2, "fail", definition="d2")], alarm).state == OPEN
    assert standing([result(1, "fail", definition="d2")], alarm).state == OPEN, "the same batch, judged again under another rule"
    assert standing([result(1, "fail")], [*alarm, Act(at(1), OPEN)]).state == OPEN


def test_a_waiver_covers_its_stream_until_its_day():
    whole, part, other = (Waiver("police", p, "2026-11-10", False) for p in ("", "640100", "640200"))
    fails = [result(1, "fail")]
    assert standing(fails, [], [whole]).state == standing(fails, [], [part]).state == WAIVED
    assert standing(fails, [], [other]).state == OPEN
    assert standing([*fails, result(1, "fail", B)], [], [part]).state == OPEN
    assert standing([*fails, result(1, "fail", B)], [], [part, other]).state == WAIVED
    assert standing([*fails, result(11, "fail")], [], [whole]).state == OPEN, "a batch dated after the waiver is not covered"


def test_what_passes_only_by_a_waiver_fails_when_it_ends():
    judged = [result(1, "fail"), result(2, "pass", applicable=6, failed=0, waived=4)]
    keyed = Waiver("police", "", "2026-11-10", True)
    assert standing(judged, [], [keyed]).state == WAIVED
    assert standing(judged).state == OPEN
    assert standing([result(1, "fail")], [], [keyed]).state == OPEN, "a waiver for single keys covers what was judged under it"
    assert standing([*judged, result(3, "pass")]).state == VERIFIED
    assert standing([result(1, "fail"), result(2, "not_measured", waived=4)]).state == OPEN, "all rows that it applied to are waived"
