-- reference.region: every division code that is or was in force, one row per (code, name, period).
-- Years of the sources become whole days, inclusive: a code changed in 2021 is in force until 2021-12-31, and its
-- successor from 2021-01-01 (the snapshots are years apart; the change records say the year).
CREATE OR REPLACE TABLE reference.region AS
WITH ended AS (
    SELECT code, name, level::INTEGER AS level, valid_from::INTEGER AS first, successor_code, current_code,
           greatest(valid_to::INTEGER, coalesce(CASE WHEN method = 'event' THEN try_cast(change_year AS INTEGER) END, 0)) AS last
    FROM reference.admin_division_obsolete
), created AS (
    SELECT successor_code AS code, max(last) AS year FROM ended WHERE successor_code <> code GROUP BY ALL
), current AS (
    SELECT d.code, d.name, d.level::INTEGER AS level, d.full_name,
           CASE WHEN c.year < d.first_seen_year::INTEGER AND c.year > coalesce(e.last, 0) THEN c.year ELSE d.first_seen_year::INTEGER END AS first
    FROM reference.admin_division d
    LEFT JOIN created c USING (code)
    LEFT JOIN (SELECT code, max(last) AS last FROM ended GROUP BY code) e USING (code)
)
SELECT code, name, level, full_name, make_date(first, 1, 1) AS valid_from, NULL::DATE AS valid_to,
       NULL::VARCHAR AS successor_code, code AS current_code, true AS is_current
FROM current
UNION ALL
SELECT code, name, level, NULL, make_date(first, 1, 1), make_date(last, 12, 31), successor_code, current_code, false
FROM ended
ORDER BY code, valid_from;

-- Spellings by which one division in force can be told: its full name, province + name, prefecture + name.
INSERT INTO reference.code_alias
SELECT 'region', alias, min(code)
FROM (
    SELECT code_key(unnest([full_name, province_name || name, city_name || name, CASE WHEN level::INTEGER < 3 THEN name END])) AS alias, code
    FROM reference.admin_division
) WHERE alias IS NOT NULL GROUP BY alias HAVING count(DISTINCT code) = 1;
