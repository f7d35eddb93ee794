-- zh: 登记存续但没有经营迹象的市场主体（线索，非结论）
-- en: Entities that are active in the register and show no activity (leads, not findings)
-- grain: 一主体一行 — one row per entity
-- rule: Q7：登记状态为 1，成立满一年；近 12 个月没有人员在该单位参保；仍在经营异常名录，原因为未报年报（1）、未公示（2）或无法联系（4） —
--   active and older than a year; nobody was insured there in the last 12 months; still on the abnormal list for a missing report, missing
--   information or because it cannot be reached
-- match: exact，统一社会信用代码相等 — exact, by unified social credit code
-- needs: credit.abnormal_list, legal_entity.enterprise, population.social_insurance
-- left out: 税务非正常户、社保缴费、年报本身（尚无数据资源）；信用代码缺失的参保和名录记录 — tax
--   states, contributions paid and the reports themselves (no datasets yet); insurances and listings without a code
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 统一社会信用代码 — Unified social credit code
--   name: 名称 — Name
--   region_code: 住所区划 — Division of the domicile
--   industry_section: 行业门类 — Section of industry
--   establish_date: 成立日期 — Date of establishment
--   approve_date: 最近核准日期 — Latest approval of a registration
--   last_insured_month: 最后参保月份，空为从未 — Last month somebody was insured there, empty when never
--   listings: 未移出的名录记录数 — Entries on the abnormal list not removed
--   reasons: 列入原因代码 — Reasons of the entries, codes
--   listed_on: 最早列入日期 — Earliest date of entry
--   years_listed: 列入满几年 — Whole years on the list
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.abnormal_list', 'legal_entity.enterprise', 'population.social_insurance')
),
listed AS (
    SELECT uscc, count(*) AS listings, string_agg(DISTINCT include_reason, ', ' ORDER BY include_reason) AS reasons, min(include_date) AS listed_on
    FROM credit.abnormal_list
    WHERE uscc IS NOT NULL AND remove_date IS NULL AND include_reason IN ('1', '2', '4')
    GROUP BY uscc
),
insured AS (
    SELECT i.employer_uscc AS uscc, max(coalesce(i.end_ym, CASE WHEN i.status_code = '1' THEN strftime(today.as_of, '%Y-%m') END)) AS last_month
    FROM population.social_insurance i CROSS JOIN today
    WHERE i.employer_uscc IN (SELECT uscc FROM listed)
    GROUP BY i.employer_uscc
)
SELECT
    'Q7.zombie' AS rule_id, e.uscc, e.name, e.region_code, e.industry_section, e.establish_date, e.approve_date,
    i.last_month AS last_insured_month, l.listings, l.reasons, l.listed_on, date_sub('year', l.listed_on, today.as_of) AS years_listed,
    'exact' AS match_level, today.as_of
FROM legal_entity.enterprise e
JOIN listed l ON l.uscc = e.uscc
LEFT JOIN insured i ON i.uscc = e.uscc
CROSS JOIN today
WHERE e.status_code = '1' AND e.establish_date + INTERVAL 1 YEAR <= today.as_of
  AND (i.last_month IS NULL OR i.last_month <= strftime(today.as_of - INTERVAL 12 MONTH, '%Y-%m'))
