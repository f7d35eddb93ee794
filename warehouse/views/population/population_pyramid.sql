-- zh: 人口金字塔：各县在册人口的性别和五岁组（统计，小单元抑制）
-- en: Population pyramid: registered persons by county, sex and age band of five (statistics, small cells hidden)
-- grain: 一县一性别一年龄组一行 — one row per county, sex and age band
-- rule: V：在册指未注销、未登记死亡、未迁出；年龄为数据截至年份减出生年份（分析库只有年份）；少于 10 人的单元为空，必要时再抑制一个单元 — registered
--   means not cancelled, no death noted, not moved out; age is the year of the data less the year of birth; cells under 10 are empty, with a second one where needed
-- match: exact，单一登记数据，不作匹配 — exact: one register, nothing is matched
-- needs: population.person
-- left out: 死亡库中有而人口库未注销者；性别、户籍区划或出生年份缺失者自成一行；没有人的单元没有行 — the dead whom the register does not know as dead; persons without
--   sex, division or year of birth have rows of their own; empty cells have no row
-- columns:
--   rule_id: 规则编号 — Rule
--   region_code: 户籍地区划 — Division of registration
--   region_name: 区划名称 — Name of the division
--   sex_code: 性别代码 — Sex, code
--   sex: 性别 — Sex
--   age_from: 年龄组下限，空为未知 — First age of the band, empty when not known
--   age_band: 年龄组 — Age band
--   persons: 人数，抑制时为空 — Persons, empty when hidden
--   suppressed: 已抑制 — Hidden
--   region_persons: 全县在册人数，少于 10 时为空 — Registered persons of the county, empty under 10
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('population.person')
),
year_of_birth AS (
    SELECT hukou_region_code AS region_code, sex_code, birth_year, count(*) AS persons
    FROM population.person WHERE is_registered(cancel_flag, death_year, moveout_year)
    GROUP BY hukou_region_code, sex_code, birth_year
),
cell AS (
    SELECT y.region_code, y.sex_code, age_band_from(year(today.as_of) - y.birth_year) AS age_from, sum(y.persons)::BIGINT AS persons, any_value(today.as_of) AS as_of
    FROM year_of_birth y CROSS JOIN today
    GROUP BY y.region_code, y.sex_code, age_band_from(year(today.as_of) - y.birth_year)
),
judged AS (
    SELECT region_code, sex_code, age_from, persons, is_suppressed(persons, region_code, (sex_code, age_from)) AS suppressed,
        (sum(persons) OVER (PARTITION BY region_code))::BIGINT AS region_persons, as_of
    FROM cell
)
SELECT
    'V.population_pyramid' AS rule_id, j.region_code, r.full_name AS region_name, j.sex_code, s.name AS sex, j.age_from, age_band(j.age_from) AS age_band,
    unless_suppressed(j.persons, j.suppressed) AS persons, j.suppressed, unless_suppressed(j.region_persons, is_small(j.region_persons)) AS region_persons,
    'exact' AS match_level, j.as_of
FROM judged j
LEFT JOIN reference.admin_division r ON r.code = j.region_code
LEFT JOIN reference.sex s ON s.code = j.sex_code
