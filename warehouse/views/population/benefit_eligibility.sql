-- zh: 按出生年份已达待遇年龄而近 12 个月没有发放记录的人员（线索，须人工复核）
-- en: Persons old enough for a benefit by year of birth who received none in 12 months (leads, to be verified by hand)
-- grain: 一人一待遇一行 — one row per person and benefit
-- rule: V：在册且不在死亡库；old_age_allowance：年满 80 而无高龄津贴（620）；pension：年满 60 而无养老金（110、120、130）。年龄为数据截至年份减出生年份，等于界限者
--   `certain` 为否 — registered and not among the deaths; 80 or over without item 620; 60 or over without a pension; by year, not certain where the age is the bound itself
-- match: exact，公民身份号码的假名相等 — exact, by pseudonym of the citizen identity number
-- needs: population.benefit_payment, population.death, population.person
-- left out: 申请、户籍年限和收入等条件；在外省领取的；女性和特殊工种的提前退休 — applications, years of registration, income; benefits drawn in other provinces;
--   earlier retirement of women and in hard trades
-- columns:
--   rule_id: 规则编号 — Rule
--   person_id: 人员假名 — Pseudonym of the person
--   region_code: 户籍地区划 — Division of registration
--   birth_year: 出生年份 — Year of birth
--   benefit: 待遇 — Benefit: old_age_allowance or pension
--   turned_in: 达到年龄的年份 — Year in which the age was reached
--   certain: 肯定已满龄 — The age has been reached for certain
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('population.benefit_payment', 'population.death', 'population.person')
),
paid AS (
    SELECT b.person_id, bool_or(b.benefit_item = '620') AS has_allowance, bool_or(b.benefit_item IN ('110', '120', '130')) AS has_pension
    FROM population.benefit_payment b CROSS JOIN today
    WHERE b.benefit_item IN ('110', '120', '130', '620') AND b.fee_period > strftime(today.as_of - INTERVAL 12 MONTH, '%Y-%m') AND b.person_id IS NOT NULL
    GROUP BY b.person_id
),
old AS (
    SELECT p.person_id, p.hukou_region_code AS region_code, p.birth_year, coalesce(d.has_allowance, false) AS has_allowance, coalesce(d.has_pension, false) AS has_pension
    FROM population.person p
    LEFT JOIN paid d ON d.person_id = p.person_id
    CROSS JOIN today
    WHERE p.birth_year <= year(today.as_of) - 60 AND is_registered(p.cancel_flag, p.death_year, p.moveout_year)
      AND NOT EXISTS (SELECT 1 FROM population.death x WHERE x.person_id = p.person_id)
),
lacking AS (
    SELECT person_id, region_code, birth_year, 'pension' AS benefit, birth_year + 60 AS turned_in FROM old WHERE NOT has_pension
    UNION ALL
    SELECT o.person_id, o.region_code, o.birth_year, 'old_age_allowance', o.birth_year + 80
    FROM old o CROSS JOIN today WHERE NOT o.has_allowance AND o.birth_year <= year(today.as_of) - 80
)
SELECT
    'V.benefit_eligibility' AS rule_id, l.person_id, l.region_code, l.birth_year, l.benefit, l.turned_in, l.turned_in < year(today.as_of) AS certain,
    'exact' AS match_level, today.as_of
FROM lacking l
CROSS JOIN today
