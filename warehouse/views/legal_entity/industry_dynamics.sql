-- zh: 各县各行业门类的新设、退出和存活率（统计）
-- en: Entries, exits and survival of enterprises by section of industry and county (statistics)
-- grain: 一县一行业门类一年一行 — one row per county, section and year
-- rule: Q17：新设按成立年份，退出按状态 2 至 6（吊销、注销、撤销、迁出）的状态日期年份；存活率为当年新设主体中满 12、24、36 个月时仍存续的比例，全年新设主体
--   都已满期才计算 — entries by year of establishment, exits by year of leaving status 1; survival is the share of the year's entrants alive
--   after 12, 24 and 36 months, given only when all of them are that old
-- match: exact，单一登记数据，不作匹配 — exact: one register, nothing is matched
-- needs: legal_entity.enterprise
-- left out: 地区生产总值（尚无宏观数据资源）；退出无日期的主体不计退出和存活率；状态 9（其他）；按现住所计，不还原迁移 — GDP (no macro dataset yet); exits
--   without a date count neither as exits nor in survival; status 9; counted at today's domicile. Entities are no persons: nothing is suppressed
-- columns:
--   rule_id: 规则编号 — Rule
--   year: 年份 — Year
--   region_code: 住所区划 — Division of the domicile
--   region_name: 区划名称 — Name of the division
--   section_code: 行业门类代码 — Section, code
--   section: 行业门类 — Section
--   entries: 新设数 — Entities established in the year
--   exits: 退出数 — Entities that left in the year
--   survival_12: 满 12 个月存活率 — Share alive after 12 months
--   survival_24: 满 24 个月存活率 — Share alive after 24 months
--   survival_36: 满 36 个月存活率 — Share alive after 36 months
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('legal_entity.enterprise')
),
entity AS (
    SELECT region_code, industry_section, establish_date, status_code = '1' AS is_active, CASE WHEN status_code <> '1' THEN status_date END AS left_on
    FROM legal_entity.enterprise WHERE status_code IN ('1', '2', '3', '4', '5', '6')
),
counted AS (
    SELECT year(establish_date) AS year, region_code, industry_section, count(*) AS entries, 0 AS exits,
        count(*) FILTER (WHERE is_active OR left_on IS NOT NULL) AS known,
        count(*) FILTER (WHERE is_active OR left_on >= establish_date + INTERVAL 12 MONTH) AS alive_12,
        count(*) FILTER (WHERE is_active OR left_on >= establish_date + INTERVAL 24 MONTH) AS alive_24,
        count(*) FILTER (WHERE is_active OR left_on >= establish_date + INTERVAL 36 MONTH) AS alive_36
    FROM entity WHERE establish_date IS NOT NULL
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT year(left_on), region_code, industry_section, 0, count(*), 0, 0, 0, 0
    FROM entity WHERE left_on IS NOT NULL
    GROUP BY 1, 2, 3
),
summed AS (
    SELECT year, region_code, industry_section, sum(entries)::BIGINT AS entries, sum(exits)::BIGINT AS exits, sum(known) AS known,
        sum(alive_12) AS alive_12, sum(alive_24) AS alive_24, sum(alive_36) AS alive_36
    FROM counted GROUP BY year, region_code, industry_section
)
SELECT
    'Q17.industry_dynamics' AS rule_id, s.year, s.region_code, r.full_name AS region_name, s.industry_section AS section_code, i.name AS section,
    s.entries, s.exits,
    CASE WHEN make_date(s.year + 1, 1, 1) + INTERVAL 12 MONTH <= today.as_of THEN round(s.alive_12 / nullif(s.known, 0), 4) END AS survival_12,
    CASE WHEN make_date(s.year + 1, 1, 1) + INTERVAL 24 MONTH <= today.as_of THEN round(s.alive_24 / nullif(s.known, 0), 4) END AS survival_24,
    CASE WHEN make_date(s.year + 1, 1, 1) + INTERVAL 36 MONTH <= today.as_of THEN round(s.alive_36 / nullif(s.known, 0), 4) END AS survival_36,
    'exact' AS match_level, today.as_of
FROM summed s
LEFT JOIN reference.admin_division r ON r.code = s.region_code
LEFT JOIN reference.industry i ON i.code = s.industry_section
CROSS JOIN today
