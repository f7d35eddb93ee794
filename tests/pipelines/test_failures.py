"""What is said about an exception holds no submitted value."""
from __future__ import annotations

import duckdb
import pytest
import sqlalchemy.exc

from pipelines import sql
from pipelines.failures import may_pass, tell
from pipelines.settings import WrongUse


def test_our_own_words_pass():
    assert tell(WrongUse("population.person has no source 'x'.")) == "population.person has no source 'x'."


def test_an_engine_error_is_told_by_class_and_place():
    try:
        sql.text(_Unprintable())
    except ValueError as error:
        told = tell(error)
    assert told.startswith("ValueError at sql.py:")
    assert "110105194912310021" not in told


def test_a_file_error_tells_its_reason_but_not_the_file():
    told = tell(FileNotFoundError(2, "No such file or directory", "张三-110105194912310021.csv"))
    assert "No such file or directory" in told
    assert "张三" not in told


@pytest.mark.parametrize("error, passing", [
    (OSError(28, "x"), True), (duckdb.IOException("x"), True), (duckdb.OutOfMemoryException("x"), True),
    (sqlalchemy.exc.OperationalError("x", None, Exception()), True), (sqlalchemy.exc.IntegrityError("x", None, Exception()), True),
    (duckdb.ConversionException("x"), False), (WrongUse("x"), False), (ValueError("x"), False),
])
def test_only_trouble_outside_the_data_may_pass(error, passing):
    assert may_pass(error) is passing


class _Unprintable:
    def __str__(self):
        raise ValueError("110105194912310021")
