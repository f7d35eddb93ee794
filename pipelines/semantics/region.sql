-- reference.region: every division code that is or was in force, one row per (code, name, period).
-- Years of the sources become whole days, inclusive: a code changed in 2021 is in force until 2021-12-31, and its
-- successor from 2021-01-01 (the snapshots are years apart; the change records say the year).
-- A successor in another province is none (the source matched names: 南宁城北区 is not 西宁城北区), but for Hainan, which
-- left Guangdong, and Chongqing, which left Sichuan. `region_change` corrects others and says into what a division was split.
CREATE OR REPLACE TABLE reference.region AS
WITH ended AS (
    SELECT code, name, level::INTEGER AS level, valid_from::INTEGER AS first,
           CASE WHEN left(code, 2) = left(successor_code, 2) OR left(code, 2) || left(successor_code, 2) IN ('4446', '5150') THEN successor_code END AS given,
           greatest(valid_to::INTEGER, coalesce(CASE WHEN method = 'event' THEN try_cast(change_year AS INTEGER) END, 0)) AS last
    FROM reference.admin_division_obsolete
), mended AS (
    SELECT code, name, year::INTEGER AS year, min(successor_code) AS successor, count(*) AS parts
    FROM reference.region_change WHERE kind <> 'transfer' GROUP BY ALL
), told AS (
    SELECT e.code, e.name, e.level, e.first, e.last,
           CASE WHEN m.code IS NULL THEN e.given WHEN m.parts = 1 THEN m.successor END AS successor_code
    FROM ended e LEFT JOIN mended m ON m.code = e.code AND m.name = e.name
), created AS (
    SELECT successor_code AS code, max(year) AS year
    FROM (SELECT code, successor_code, last AS year FROM told UNION ALL SELECT code, successor_code, year::INTEGER FROM reference.region_change)
    WHERE successor_code <> code GROUP BY ALL
), current AS (
    SELECT d.code, d.name, d.level::INTEGER AS level, d.full_name,
           CASE WHEN c.year < d.first_seen_year::INTEGER AND c.year > coalesce(e.last, 0) THEN c.year ELSE d.first_seen_year::INTEGER END AS first
    FROM reference.admin_division d
    LEFT JOIN created c USING (code)
    LEFT JOIN (SELECT code, max(last) AS last FROM told GROUP BY code) e USING (code)
)
SELECT code, name, level, full_name, make_date(first, 1, 1) AS valid_from, NULL::DATE AS valid_to,
       NULL::VARCHAR AS successor_code, code AS current_code, true AS is_current
FROM current
UNION ALL
SELECT code, name, level, NULL, make_date(first, 1, 1), make_date(last, 12, 31), successor_code, NULL, false
FROM told
ORDER BY code, valid_from, valid_to;

-- Eras: the periods of region, disjoint per code, cut at the end of a year in which a part was handed over.
CREATE OR REPLACE TEMP TABLE region_era AS
WITH cut AS (
    SELECT code, name, level, successor_code, is_current, valid_from, valid_to,
           least(valid_to, lead(valid_from) OVER (PARTITION BY code ORDER BY valid_from, valid_to NULLS LAST) - 1) AS until
    FROM reference.region
), handed AS (
    SELECT c.*, list_sort(list(DISTINCT make_date(t.year::INTEGER, 12, 31)) FILTER (t.year IS NOT NULL)) AS cuts
    FROM cut c LEFT JOIN reference.region_change t
      ON t.kind = 'transfer' AND t.code = c.code AND make_date(t.year::INTEGER, 12, 31) BETWEEN c.valid_from AND coalesce(c.until, DATE '9999-12-31')
    WHERE c.until IS NULL OR c.until >= c.valid_from GROUP BY ALL
), piece AS (
    SELECT code, name, level, successor_code, is_current, valid_to, until, cuts,
           unnest(list_concat([NULL::DATE], coalesce(cuts, []))) AS after, valid_from AS began
    FROM handed
)
SELECT row_number() OVER (ORDER BY code, coalesce(after + 1, began), name)::INTEGER AS era, code, name, level, successor_code,
       coalesce(after + 1, began)::DATE AS valid_from,
       coalesce(list_min(list_filter(cuts, lambda d: d > coalesce(after, DATE '0001-01-01'))), until)::DATE AS valid_to,
       coalesce(list_min(list_filter(cuts, lambda d: d > coalesce(after, DATE '0001-01-01'))), valid_to)::DATE AS ended,
       len(list_filter(coalesce(cuts, []), lambda d: d > coalesce(after, DATE '0001-01-01'))) > 0 AS hands_over
FROM piece;

-- One step: era → the eras that take its place. Of a code with several eras the first that ends later does, else one that ends in the same year.
CREATE OR REPLACE TEMP TABLE region_step AS
WITH target AS (
    SELECT era, code AS successor FROM region_era WHERE hands_over
    UNION
    SELECT e.era, t.successor_code FROM region_era e JOIN reference.region_change t ON t.code = e.code
    WHERE CASE t.kind WHEN 'transfer' THEN e.hands_over AND t.year::INTEGER = year(e.ended) ELSE t.name = e.name AND NOT e.hands_over END
    UNION
    SELECT era, successor_code FROM region_era WHERE ended IS NOT NULL AND NOT hands_over AND successor_code IS NOT NULL
)
SELECT t.era, n.era AS next, t.successor
FROM target t JOIN region_era e ON e.era = t.era
LEFT JOIN region_era n ON n.code = t.successor AND n.era <> e.era AND coalesce(n.ended, DATE '9999-12-31') >= e.ended
     AND (n.code <> e.code OR n.valid_from > e.valid_from)
QUALIFY row_number() OVER (PARTITION BY t.era, t.successor ORDER BY coalesce(n.ended > e.ended, true) DESC, n.valid_from, n.era) = 1;

-- Era → every era that stands for it later, itself included, and the first day from which it does: in the year of a change the successor.
CREATE OR REPLACE TEMP TABLE region_way AS
WITH RECURSIVE way AS (
    SELECT era, era AS later, valid_from AS since, [era] AS passed FROM region_era
    UNION ALL
    SELECT w.era, s.next, greatest(w.since, make_date(year(e.ended), 1, 1)), list_append(w.passed, s.next)
    FROM way w JOIN region_step s ON s.era = w.later JOIN region_era e ON e.era = w.later
    WHERE s.next IS NOT NULL AND NOT list_contains(w.passed, s.next)
)
SELECT era, later, min(since) AS since, min(len(passed) - 1)::INTEGER AS steps FROM way GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE region_end AS
SELECT w.era, max(w.steps) AS steps, list_sort(list(DISTINCT e.code) FILTER (e.ended IS NULL)) AS codes,
       bool_or(e.ended IS NOT NULL AND w.later NOT IN (SELECT era FROM region_step WHERE next IS NOT NULL)) AS lost
FROM region_way w JOIN region_era e ON e.era = w.later GROUP BY ALL;

-- Which eras of other codes, a year before an era ended, have become the same division?
CREATE OR REPLACE TEMP TABLE region_merged AS
WITH point AS (
    SELECT e.era, e.code, e.level, greatest(e.valid_from, (e.ended - INTERVAL 1 YEAR)::DATE) AS at, unnest(n.codes) AS today
    FROM region_era e JOIN region_end n USING (era) WHERE e.ended IS NOT NULL
)
SELECT DISTINCT p.era FROM point p JOIN point o ON o.today = p.today AND o.code <> p.code AND o.level = p.level
JOIN region_era e ON e.era = o.era AND e.valid_from <= p.at AND e.valid_to >= p.at
UNION
SELECT DISTINCT p.era FROM point p JOIN region_era e ON e.ended IS NULL AND e.code = p.today AND e.code <> p.code AND e.valid_from <= p.at;

CREATE OR REPLACE TABLE reference.region_successor AS
SELECT e.code, e.name, e.valid_from, e.ended AS valid_to, s.successor AS successor_code, n.name AS successor_name,
       CASE WHEN s.next IS NULL THEN 'unknown' WHEN e.hands_over THEN CASE WHEN s.successor = e.code THEN 'remains' ELSE 'transferred' END
            WHEN count(*) OVER (PARTITION BY e.era) > 1 THEN 'split' WHEN n.level <> e.level THEN 'level'
            WHEN m.era IS NOT NULL THEN 'merged' WHEN n.code = e.code THEN 'renamed' ELSE 'recoded' END AS kind
FROM region_era e LEFT JOIN region_step s USING (era) LEFT JOIN region_era n ON n.era = s.next LEFT JOIN region_merged m ON m.era = e.era
WHERE e.ended IS NOT NULL
ORDER BY ALL;

-- Divisions in force that only together can be compared with the past since 2010: those that share a split or hand-over.
CREATE OR REPLACE TEMP TABLE region_group AS
WITH RECURSIVE shared AS (
    SELECT unnest(codes) AS a, codes FROM region_end JOIN region_era USING (era) WHERE len(codes) > 1 AND ended >= DATE '2010-01-01'
), edge AS (
    SELECT DISTINCT a, unnest(codes) AS b FROM shared
), reach AS (
    SELECT a, b FROM edge
    UNION
    SELECT r.a, e.b FROM reach r JOIN edge e ON e.a = r.b
)
SELECT a AS code, min(b) AS comparable_code, list_sort(list(b)) AS codes FROM reach GROUP BY ALL;

CREATE OR REPLACE TABLE reference.region_today AS
WITH known AS (
    SELECT e.era, e.code, e.name, e.level, e.valid_from, e.valid_to, e.ended, n.steps, n.codes, unnest(coalesce(n.codes, [NULL])) AS today_code
    FROM region_era e JOIN region_end n USING (era)
)
SELECT k.code, k.name, k.valid_from, k.valid_to, k.today_code, d.name AS today_name,
       CASE WHEN k.today_code IS NULL THEN 'unknown' WHEN len(k.codes) > 1 THEN 'split' WHEN d.level::INTEGER <> k.level THEN 'level'
            WHEN k.ended IS NULL THEN 'same' WHEN m.era IS NOT NULL THEN 'merged' WHEN k.today_code = k.code THEN 'renamed' ELSE 'recoded' END AS kind,
       coalesce(len(k.codes), 0) = 1 AND d.level::INTEGER = k.level AS one_to_one,
       CASE WHEN count(DISTINCT coalesce(g.comparable_code, k.today_code)) OVER (PARTITION BY k.era) = 1
            THEN coalesce(g.comparable_code, k.today_code) END AS comparable_code,
       coalesce(g.codes, list_filter([k.today_code], lambda c: c IS NOT NULL)) AS comparable_codes
FROM known k LEFT JOIN reference.admin_division d ON d.code = k.today_code LEFT JOIN region_group g ON g.code = k.today_code
LEFT JOIN region_merged m ON m.era = k.era
ORDER BY k.code, k.valid_from, k.today_code;

CREATE OR REPLACE TABLE reference.region_line AS
SELECT e.code, e.valid_from, e.valid_to, n.code AS other_code, greatest(w.since, n.valid_from) AS other_from,
       CASE WHEN s.era IS NULL THEN n.valid_to ELSE make_date(year(n.ended) - 1, 12, 31) END AS other_to, w.steps
FROM region_way w JOIN region_era e ON e.era = w.era JOIN region_era n ON n.era = w.later
LEFT JOIN (SELECT DISTINCT era FROM region_step WHERE next IS NOT NULL) s ON s.era = n.era
ORDER BY ALL;

UPDATE reference.region SET current_code = t.today_code
FROM (SELECT code, name, valid_from, min(today_code) AS today_code FROM reference.region_today GROUP BY ALL HAVING count(*) = 1) t
WHERE NOT is_current AND t.code = region.code AND t.name = region.name AND t.valid_from = region.valid_from;

-- Spellings by which one division in force can be told: its full name, province + name, prefecture + name.
INSERT INTO reference.code_alias
SELECT 'region', alias, min(code)
FROM (
    SELECT code_key(unnest([full_name, province_name || name, city_name || name, CASE WHEN level::INTEGER < 3 THEN name END])) AS alias, code
    FROM reference.admin_division
) WHERE alias IS NOT NULL GROUP BY alias HAVING count(DISTINCT code) = 1;

DROP TABLE region_era; DROP TABLE region_step; DROP TABLE region_way; DROP TABLE region_end; DROP TABLE region_merged; DROP TABLE region_group;

-- A hash look-up for names, as those of the other lists have.
DROP TYPE IF EXISTS reference.alias_region;
CREATE TYPE reference.alias_region AS ENUM (SELECT alias FROM reference.code_alias WHERE list = 'region' ORDER BY alias);
