-- Tails of distributions, because DuckDB has none. Tested against SciPy.

-- P(Z > z) of the standard normal; Abramowitz and Stegun 26.2.17, relative error below 1 % up to z = 8.
CREATE OR REPLACE TEMP MACRO _upper_normal(z, t) AS
  exp(-z * z / 2) / 2.5066282746310002 * t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
CREATE OR REPLACE TEMP MACRO normal_tail(z) AS
  CASE WHEN z >= 0 THEN _upper_normal(least(z, 38), 1 / (1 + 0.2316419 * least(z, 38)))
       ELSE 1 - _upper_normal(least(-z, 38), 1 / (1 + 0.2316419 * least(-z, 38))) END;

-- P(X > x) of chi-square with k degrees of freedom; Abramowitz and Stegun 26.4.4 and 26.4.5, exact sums.
CREATE OR REPLACE TEMP MACRO chi_square_tail(x, k) AS
  CASE WHEN x <= 0 THEN 1.0
       WHEN k::BIGINT % 2 = 0 THEN list_sum(list_transform(range(0, k::BIGINT // 2), lambda i: exp(i * ln(x / 2) - x / 2 - lgamma(i + 1))))
       ELSE 2 * normal_tail(sqrt(x))
            + coalesce(list_sum(list_transform(range(1, (k::BIGINT + 1) // 2), lambda i: exp((i - 0.5) * ln(x / 2) - x / 2 - lgamma(i + 0.5)))), 0) END;

-- An upper bound of P(at least `hits` of n) where each has chance q; Chernoff, so it never claims more than is there.
CREATE OR REPLACE TEMP MACRO binomial_tail(hits, n, q) AS
  CASE WHEN hits <= n * q THEN 1.0
       WHEN q <= 0 THEN 0.0
       ELSE exp(-(hits * ln(hits / (n * q)) + CASE WHEN hits < n THEN (n - hits) * ln((n - hits) / (n * (1 - q))) ELSE 0 END)) END;
