"""The tails of distributions against SciPy."""
from __future__ import annotations

import pytest
from scipy import stats


@pytest.mark.parametrize("z", [-3.0, -0.5, 0.0, 0.7, 2.0, 4.0, 6.0, 8.0])
def test_the_normal_tail(con, z):
    assert con.execute("SELECT normal_tail($1::DOUBLE)", [z]).fetchone()[0] == pytest.approx(stats.norm.sf(z), rel=1e-2)


@pytest.mark.parametrize(("x", "k"), [(1, 1), (9, 9), (30, 9), (60, 9), (12, 3), (150, 100), (40, 8), (3200, 3000)])
def test_the_chi_square_tail(con, x, k):
    assert con.execute("SELECT chi_square_tail($1::DOUBLE, $2::DOUBLE)", [x, k]).fetchone()[0] == pytest.approx(stats.chi2.sf(x, k), rel=1e-2)


@pytest.mark.parametrize(("hits", "n", "q"), [(10, 50, 0.1), (25, 50, 0.1), (50, 50, 0.02), (3, 50, 0.1)])
def test_the_binomial_tail_never_claims_more_than_there_is(con, hits, n, q):
    found = con.execute("SELECT binomial_tail($1::DOUBLE, $2::DOUBLE, $3::DOUBLE)", [hits, n, q]).fetchone()[0]
    assert stats.binom.sf(hits - 1, n, q) <= found * (1 + 1e-9) and found <= 1


def test_an_impossible_count_has_no_chance(con):
    assert con.execute("SELECT binomial_tail(3, 50, 0), binomial_tail(0, 50, 0.5)").fetchone() == (0, 1)
