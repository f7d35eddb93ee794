-- zh: 人户分离：各县户籍在册人口与参保地（统计，小单元抑制）
-- en: Where people are registered and where they are insured, by county (statistics, small cells hidden)
-- grain: 一县一行，月份为数据截至月份 — one row per county; the month is that of the data
-- rule: Q12：在册口径同人口金字塔；一人取最近开始的正常参保的统筹区；本县户籍分为本县参保、外县参保、未参保，本县参保分为本县户籍和其他。任一分项为 1 至 9 人时，该县分项全部
--   抑制；合计少于 10 人时也抑制 — registered as in population_pyramid; the division of a person's insurance in force that began last; when one of the parts of a
--   county holds 1 to 9 persons, all its parts are hidden, and totals under 10 as well
-- match: exact，公民身份号码的假名相等 — exact, by pseudonym of the citizen identity number
-- needs: population.person, population.social_insurance
-- left out: 居住证和流动人口登记（尚无数据资源）；乡镇级；参保地不等于居住地；逐月流量须挂接以往发布比较 — residence permits and registrations of migrants (no dataset
--   yet); townships; being insured somewhere is not living there; flows by month are differences to releases attached beside
-- columns:
--   rule_id: 规则编号 — Rule
--   month: 月份 — Month of the data
--   region_code: 区划 — Division
--   region_name: 区划名称 — Name of the division
--   registered: 户籍在册人数 — Registered here
--   insured: 在此参保人数 — Insured here
--   registered_insured_here: 本县户籍在本县参保 — Registered and insured here
--   registered_insured_elsewhere: 本县户籍在外县参保（流出） — Registered here, insured elsewhere (out)
--   registered_uninsured: 本县户籍未参保 — Registered here, not insured
--   insured_from_elsewhere: 非本县在册户籍在本县参保（流入） — Insured here, not registered here (in)
--   net_flow: 净流入 — In less out
--   suppressed: 分项已抑制 — The parts are hidden
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('population.person', 'population.social_insurance')
),
insured AS (
    SELECT i.person_id, arg_max(i.region_code, i.start_ym || i.region_code) AS region_code
    FROM population.social_insurance i CROSS JOIN today
    WHERE i.status_code = '1' AND (i.end_ym IS NULL OR i.end_ym >= strftime(today.as_of, '%Y-%m')) AND i.person_id IS NOT NULL AND i.region_code IS NOT NULL
    GROUP BY i.person_id
),
pair AS (
    SELECT p.hukou_region_code AS home, i.region_code AS place, count(*) AS persons
    FROM population.person p LEFT JOIN insured i ON i.person_id = p.person_id
    WHERE is_registered(p.cancel_flag, p.death_year, p.moveout_year)
    GROUP BY p.hukou_region_code, i.region_code
),
part AS (
    SELECT home AS region_code, persons AS registered, 0 AS insured, CASE WHEN place = home THEN persons ELSE 0 END AS stays,
        CASE WHEN place <> home THEN persons ELSE 0 END AS leaves, CASE WHEN place IS NULL THEN persons ELSE 0 END AS uninsured
    FROM pair WHERE home IS NOT NULL
    UNION ALL
    SELECT region_code, 0, count(*), 0, 0, 0 FROM insured GROUP BY region_code
),
region AS (
    SELECT region_code, sum(registered)::BIGINT AS registered, sum(insured)::BIGINT AS insured, sum(stays)::BIGINT AS stays, sum(leaves)::BIGINT AS leaves,
        sum(uninsured)::BIGINT AS uninsured, sum(insured)::BIGINT - sum(stays)::BIGINT AS comes
    FROM part GROUP BY region_code
),
judged AS (
    SELECT region_code, registered, insured, stays, leaves, uninsured, comes,
        is_small(stays) OR is_small(leaves) OR is_small(uninsured) OR is_small(comes) AS suppressed
    FROM region
)
SELECT
    'Q12.population_flow' AS rule_id, strftime(today.as_of, '%Y-%m') AS month, j.region_code, r.full_name AS region_name,
    unless_suppressed(j.registered, is_small(j.registered)) AS registered, unless_suppressed(j.insured, is_small(j.insured)) AS insured,
    unless_suppressed(j.stays, j.suppressed) AS registered_insured_here, unless_suppressed(j.leaves, j.suppressed) AS registered_insured_elsewhere,
    unless_suppressed(j.uninsured, j.suppressed) AS registered_uninsured, unless_suppressed(j.comes, j.suppressed) AS insured_from_elsewhere,
    unless_suppressed(j.comes - j.leaves, j.suppressed) AS net_flow, j.suppressed, 'exact' AS match_level, today.as_of
FROM judged j
LEFT JOIN reference.admin_division r ON r.code = j.region_code
CROSS JOIN today
