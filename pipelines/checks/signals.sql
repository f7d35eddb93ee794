-- Leads of made-up data. Table macros over `seen(place, v)`: one column of a group of batches, `place` being the row's position in
-- the order of submission, in which the rows also lie. A window is 50 rows, and begins every 25: a block of 50 rows fills three quarters of one
-- at least. Fewer than 40 filled rows make no window. Every statistic is compared with its median over the windows (`peers`): what is usual in a
-- file is no signal. Rows are counted by blocks of 25 places, of which two make a window, so that no row is counted twice.

-- A macro is only made where what it reads exists; every look puts its own column in the place of this view.
CREATE OR REPLACE TEMP VIEW seen AS SELECT 0::BIGINT AS place, 0::BIGINT AS v;

-- The share of a window that one value takes. `elsewhere`: the value's share outside the window. A value that fills half a window and one row more
-- follows itself at least once: only windows where a value does so are counted value by value, and 4,000 others for what is usual.
CREATE OR REPLACE TEMP MACRO modal_share() AS TABLE
WITH filled AS (SELECT place, v = lag(v) OVER () AS again FROM seen WHERE v IS NOT NULL),
block AS (SELECT place // 25 AS block, count(*) AS n, count(*) FILTER (again) AS again FROM filled GROUP BY block),
whole AS (SELECT win, sum(n)::BIGINT AS n, sum(again) AS again FROM (SELECT unnest([block, block - 1]) AS win, n, again FROM block) GROUP BY win HAVING sum(n) >= 40),
known AS (SELECT *, row_number() OVER (ORDER BY win) % greatest((SELECT count(*) FROM whole) // 4000, 1) = 0 AS spread FROM whole),
looked AS (SELECT win, n, spread FROM known WHERE spread OR again > 0),
part AS (SELECT unnest([win, win + 1]) AS block, win, n, spread FROM looked),
counted AS (SELECT place // 25 AS block, v, count(*) AS hits, min(place) AS first, max(place) AS last FROM seen WHERE v IS NOT NULL AND place // 25 IN (SELECT block FROM part) GROUP BY ALL),
joined AS (SELECT win, n, spread, v, sum(hits)::BIGINT AS hits, min(first) AS first, max(last) AS last FROM part JOIN counted USING (block) GROUP BY ALL),
best AS (SELECT win, n, spread, max(hits) AS hits, arg_max(v, hits) AS v, arg_max(first, hits) AS first, arg_max(last, hits) AS last FROM joined GROUP BY ALL),
share AS (SELECT *, hits / n AS value, median(hits / n) FILTER (spread) OVER () AS peers, (SELECT count(*) FROM whole) AS windows FROM best),
suspect AS (SELECT * FROM share WHERE value >= peers + 0.5),
total AS (SELECT v, count(*) AS everywhere FROM seen WHERE v IN (SELECT v FROM suspect) GROUP BY v)
SELECT value, peers, n, first, last, everywhere,
    windows * binomial_tail(hits, n, greatest((everywhere - hits) / (SELECT count(v) FROM seen), 0.02)) AS p
FROM suspect JOIN total USING (v);

-- The share of steps of one size from row to row; `v` is a number, NULL where it does not follow its predecessor's series.
CREATE OR REPLACE TEMP MACRO consecutive() AS TABLE
WITH step AS (SELECT place, v - lag(v) OVER () AS step FROM seen WHERE v IS NOT NULL),
block AS (SELECT place // 25 AS block, CASE WHEN step BETWEEN 1 AND 9 THEN step END AS step, count(*) AS hits, min(place) AS first, max(place) AS last FROM step GROUP BY ALL),
counted AS (SELECT win, step, sum(hits)::BIGINT AS hits, min(first) AS first, max(last) AS last FROM (SELECT unnest([block, block - 1]) AS win, * FROM block) GROUP BY win, step),
best AS (SELECT win, sum(hits)::BIGINT AS n, coalesce(max(hits) FILTER (step > 0), 0) AS hits, arg_max(first, hits) FILTER (step > 0) AS first, arg_max(last, hits) FILTER (step > 0) AS last
         FROM counted GROUP BY win HAVING sum(hits) >= 40),
share AS (SELECT *, hits / n AS value, median(hits / n) OVER () AS peers, count(*) OVER () AS windows FROM best)
SELECT value, peers, n, first, last, hits AS everywhere, windows * binomial_tail(hits, n, greatest(peers, 0.1)) AS p FROM share WHERE value >= peers + 0.5;

-- The share of windows' rows for which `v` is true: round amounts, ages ending in 0 or 5.
CREATE OR REPLACE TEMP MACRO share_true() AS TABLE
WITH block AS (SELECT place // 25 AS block, count(*) AS n, count(*) FILTER (v) AS hits, min(place) AS first, max(place) AS last FROM seen WHERE v IS NOT NULL GROUP BY block),
counted AS (SELECT win, sum(n)::BIGINT AS n, sum(hits)::BIGINT AS hits, min(first) AS first, max(last) AS last
            FROM (SELECT unnest([block, block - 1]) AS win, * FROM block) GROUP BY win HAVING sum(n) >= 40),
share AS (SELECT *, hits / n AS value, median(hits / n) OVER () AS peers, count(*) OVER () AS windows FROM counted)
SELECT value, peers, n, first, last, hits AS everywhere, windows * binomial_tail(hits, n, greatest(peers, 0.1)) AS p FROM share WHERE value >= peers + 0.5;

-- Last digits against evenness, per 500 rows: Cramér's V; amounts that are usually round are their own peers.
CREATE OR REPLACE TEMP MACRO last_digits() AS TABLE
WITH counted AS (SELECT place // 500 AS win, v::BIGINT % 10 AS digit, count(*) AS hits, min(place) AS first, max(place) AS last FROM seen WHERE v IS NOT NULL GROUP BY ALL),
size AS (SELECT win, sum(hits) AS n, min(first) AS first, max(last) AS last, sum(hits * hits) AS squares FROM counted GROUP BY win HAVING sum(hits) >= 200),
stat AS (SELECT *, greatest(10 * squares / n - n, 0) AS x FROM size),
share AS (SELECT *, sqrt(x / (9 * n)) AS value, median(sqrt(x / (9 * n))) OVER () AS peers, count(*) OVER () AS windows FROM stat)
SELECT value, peers, n::BIGINT AS n, first, last, n::BIGINT AS everywhere, windows * chi_square_tail(x, 9) AS p FROM share WHERE value >= 2 * peers + 0.1 AND windows > 2;

-- First digits against Benford's law, over the whole column, where it spans three orders of magnitude: mean absolute deviation.
CREATE OR REPLACE TEMP MACRO benford() AS TABLE
WITH digit AS (SELECT floor(v / pow(10, floor(log10(v)))) AS digit, v FROM seen WHERE v > 0),
spread AS (SELECT count(*) AS n, quantile_cont(v, 0.99) / quantile_cont(v, 0.01) AS span FROM digit),
law AS (SELECT d AS digit, log10(1 + 1 / d) AS q FROM range(1, 10) t(d)),
joined AS (SELECT q, n, coalesce(hits, 0) AS hits FROM law LEFT JOIN (SELECT digit, count(*) AS hits FROM digit GROUP BY digit) USING (digit), spread WHERE n >= 500 AND span >= 1000)
SELECT avg(abs(hits / n - q)) AS value, NULL::DOUBLE AS peers, any_value(n)::BIGINT AS n, 0::BIGINT AS first, 0::BIGINT AS last, any_value(n)::BIGINT AS everywhere,
    chi_square_tail(sum((hits - n * q) * (hits - n * q) / (n * q)), 8) AS p
FROM joined HAVING avg(abs(hits / n - q)) > 0.03;

-- Units of one kind (villages, counties) with nearly the same number of rows: variance over mean, 1 where rows fall by chance.
CREATE OR REPLACE TEMP MACRO equal_units() AS TABLE
WITH unit AS (SELECT v, count(*) AS rows FROM seen WHERE v IS NOT NULL GROUP BY v),
stat AS (SELECT count(*) AS units, avg(rows) AS usual, var_samp(rows) AS spread FROM unit)
SELECT spread / usual AS value, 1.0 AS peers, units AS n, 0::BIGINT AS first, 0::BIGINT AS last, units AS everywhere,
    1 - chi_square_tail((units - 1) * greatest(spread / usual, 1e-9), units - 1) AS p
FROM stat WHERE units >= 10 AND usual >= 20 AND spread / usual < 0.2;
