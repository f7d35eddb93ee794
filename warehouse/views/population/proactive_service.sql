-- zh: 今明两年年满 16、60、80 周岁的人数，按县（统计，小单元抑制）
-- en: Persons who turn 16, 60 or 80 this year and next, by county (statistics, small cells hidden)
-- grain: 一县一年龄一满龄年份一行 — one row per county, age and year in which it is reached
-- rule: Q16：分析库只有出生年份，故按年计；在册口径和年龄组同人口金字塔。与同一五岁组其余年龄合看，任一部分为 1 至 9 人，或人口金字塔中该组有抑制，即抑制，使其不能由人口金字塔减出 — by year,
--   because the analysts' file has the year of birth only; hidden where it, or what it leaves of its age band of five, holds 1 to 9 persons, or where the pyramid hides a
--   cell of that band, so that neither gives the other away
-- match: exact，单一登记数据，不作匹配 — exact: one register, nothing is matched
-- needs: population.person
-- left out: 逐月名单和姓名、确切出生日期（须有授权的文件）；户籍区划缺失者 — lists by month, names and exact dates of birth (in files made for a grant); persons
--   without a division
-- columns:
--   rule_id: 规则编号 — Rule
--   region_code: 户籍地区划 — Division of registration
--   region_name: 区划名称 — Name of the division
--   turns: 年满岁数（16 身份证、劳动年龄；60 养老；80 高龄津贴） — Age reached: 16, 60 or 80
--   in_year: 满龄年份 — Year in which it is reached
--   persons: 人数，抑制时为空 — Persons, empty when hidden
--   suppressed: 已抑制 — Hidden
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('population.person')
),
year_of_birth AS (
    SELECT p.hukou_region_code AS region_code, p.sex_code, year(today.as_of) - p.birth_year AS age, count(*) AS persons
    FROM population.person p CROSS JOIN today
    WHERE is_registered(p.cancel_flag, p.death_year, p.moveout_year)
    GROUP BY p.hukou_region_code, p.sex_code, year(today.as_of) - p.birth_year
),
-- The cells of population_pyramid: where one of a band is hidden there, an age of that band would tell about it.
pyramid AS (
    SELECT region_code, age_from, is_suppressed(persons, region_code, (sex_code, age_from)) AS suppressed
    FROM (SELECT region_code, sex_code, age_band_from(age) AS age_from, sum(persons)::BIGINT AS persons FROM year_of_birth GROUP BY region_code, sex_code, age_band_from(age))
),
band AS (
    SELECT region_code, age_from, bool_or(suppressed) AS suppressed FROM pyramid WHERE region_code IS NOT NULL GROUP BY region_code, age_from
),
cell AS (
    SELECT region_code, age_band_from(age) AS age_from, CASE WHEN age IN (16, 60, 80, 15, 59, 79) THEN age END AS age, sum(persons)::BIGINT AS persons
    FROM year_of_birth WHERE region_code IS NOT NULL AND age IS NOT NULL
    GROUP BY region_code, age_band_from(age), CASE WHEN age IN (16, 60, 80, 15, 59, 79) THEN age END
),
judged AS (
    SELECT c.region_code, c.age, c.persons, b.suppressed OR is_suppressed(c.persons, (c.region_code, c.age_from), c.age) AS suppressed
    FROM cell c JOIN band b ON b.region_code = c.region_code AND b.age_from = c.age_from
)
SELECT
    'Q16.proactive_service' AS rule_id, j.region_code, r.full_name AS region_name, CASE WHEN j.age IN (15, 59, 79) THEN j.age + 1 ELSE j.age END AS turns,
    year(today.as_of) + CASE WHEN j.age IN (15, 59, 79) THEN 1 ELSE 0 END AS in_year, unless_suppressed(j.persons, j.suppressed) AS persons, j.suppressed,
    'exact' AS match_level, today.as_of
FROM judged j
LEFT JOIN reference.admin_division r ON r.code = j.region_code
CROSS JOIN today
WHERE j.age IS NOT NULL
