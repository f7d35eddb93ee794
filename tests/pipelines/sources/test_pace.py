"""Rows per second, connections at once, hours of the day."""
from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime

import pytest

from pipelines.settings import Lake, Later
from pipelines.sources.declaration import Database
from pipelines.sources.pace import LOCAL, Throttle, must_be_open, slots


def _database(**keys) -> Database:
    return Database("mysql", "office", "t", "full", **keys)


class Clock:
    """A clock that only sleeping moves, and work where a test says so."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def test_no_more_rows_a_second_than_admitted_and_lost_time_is_not_caught_up_for():
    clock = Clock()
    throttle = Throttle(1_000, clock.sleep, clock)
    for _ in range(10):
        throttle.took(500)
    assert clock.now == pytest.approx(5.0)
    clock.now += 60      # the source was slow
    throttle.took(500)
    before = clock.now
    for _ in range(4):
        throttle.took(500)
    assert clock.now - before == pytest.approx(2.0)


@pytest.mark.parametrize(("window", "at", "open_"), [
    ("22:00-06:00", "21:59", False), ("22:00-06:00", "22:00", True), ("22:00-06:00", "00:00", True), ("22:00-06:00", "05:59", True),
    ("22:00-06:00", "06:00", False), ("01:30-04:00", "01:29", False), ("01:30-04:00", "01:30", True), ("01:30-04:00", "04:00", False), (None, "12:00", True)])
def test_a_source_is_read_in_its_window_only(window, at, open_):
    now = datetime(2026, 11, 1, *map(int, at.split(":")), tzinfo=LOCAL)
    if open_:
        return must_be_open(_database(window=window), now)
    with pytest.raises(Later, match=f"from {window[:5]} to {window[-5:]} .*it is {at}"):
        must_be_open(_database(window=window), now)


def test_connections_are_counted_over_everything_that_names_the_connection(tmp_path):
    lake = Lake.open(tmp_path / "lake")
    with ExitStack() as held:
        assert held.enter_context(slots(lake, _database(connections=3))) is True, "a second one was free"
        assert held.enter_context(slots(lake, _database(connections=3))) is False, "the last one"
        with pytest.raises(Later, match="office admits 3 connections"), slots(lake, _database(connections=3), wait=0):
            pass
        with slots(lake, Database("mysql", "other", "t", "full"), wait=0) as second:
            assert second is False
    with slots(lake, _database(), wait=0) as second:
        assert second is False
