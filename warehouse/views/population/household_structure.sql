-- zh: 家庭户结构：各县按户规模和代际（统计，小单元抑制）
-- en: Households by county, size and generations (statistics, small cells hidden)
-- grain: 一县一户规模一代际类型一行 — one row per county, size and kind of household
-- rule: V：成员为未离户者；代际按与户主关系：单人、一代（户主、配偶、兄弟姐妹）、两代（有子女或父母）、三代及以上（有孙辈、祖辈，或既有子女又有父母）、其他（含关系未填）；少于 10 户的单元
--   为空，必要时再抑制一个单元 — members who have not left; generations by relation to the head: single, one, two, three or more, other (also where a relation is not given); cells under 10
--   households are empty, with a second one where needed
-- match: exact，户号的假名相等 — exact, by pseudonym of the household number
-- needs: population.household_member
-- left out: 户号缺失的成员；成员所在区划不一致时取户主的，没有户主取最小代码；集体户未区分 — members without a household number; where divisions of members differ, that of
--   the head, or the smallest code; collective households are not told apart
-- columns:
--   rule_id: 规则编号 — Rule
--   region_code: 户籍地区划 — Division of registration
--   region_name: 区划名称 — Name of the division
--   household_size: 户规模（7 为七人及以上） — Members, 7 stands for seven and more
--   structure: 代际类型 — Kind: single, one_generation, two_generations, three_generations or other
--   households: 户数，抑制时为空 — Households, empty when hidden
--   suppressed: 已抑制 — Hidden
--   region_households: 全县户数，少于 10 时为空 — Households of the county, empty under 10
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('population.household_member')
),
household AS (
    SELECT household_no_pseudonym AS household, count(*) AS members,
        coalesce(min(region_code) FILTER (WHERE relation_code IN ('01', '02')), min(region_code)) AS region_code,
        bool_or(relation_code BETWEEN '20' AND '39') AS with_children, bool_or(relation_code BETWEEN '50' AND '59') AS with_parents,
        bool_or(relation_code BETWEEN '40' AND '49' OR relation_code BETWEEN '60' AND '69') AS with_others_in_line,
        bool_and(coalesce(relation_code IN ('01', '02') OR relation_code BETWEEN '10' AND '12' OR relation_code BETWEEN '70' AND '79', false)) AS same_generation
    FROM population.household_member WHERE household_no_pseudonym IS NOT NULL AND person_id IS NOT NULL AND leave_year IS NULL
    GROUP BY household_no_pseudonym
),
cell AS (
    SELECT region_code, least(members, 7)::INTEGER AS household_size,
        CASE WHEN members = 1 THEN 'single' WHEN with_others_in_line OR with_children AND with_parents THEN 'three_generations'
             WHEN with_children OR with_parents THEN 'two_generations' WHEN same_generation THEN 'one_generation' ELSE 'other' END AS structure,
        count(*) AS households
    FROM household GROUP BY 1, 2, 3
),
judged AS (
    SELECT region_code, household_size, structure, households, is_suppressed(households, region_code, (household_size, structure)) AS suppressed,
        (sum(households) OVER (PARTITION BY region_code))::BIGINT AS region_households
    FROM cell
)
SELECT
    'V.household_structure' AS rule_id, j.region_code, r.full_name AS region_name, j.household_size, j.structure,
    unless_suppressed(j.households, j.suppressed) AS households, j.suppressed,
    unless_suppressed(j.region_households, is_small(j.region_households)) AS region_households, 'exact' AS match_level, today.as_of
FROM judged j
LEFT JOIN reference.admin_division r ON r.code = j.region_code
CROSS JOIN today
