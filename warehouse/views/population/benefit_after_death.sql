-- zh: 死亡次月以后仍发放的待遇（线索，须人工复核）
-- en: Benefits paid for months after the month of death (leads, to be verified by hand)
-- grain: 一人一待遇项目一行 — one row per person and benefit
-- rule: Q5：费款所属期晚于死亡月份；各来源死亡月份不一致时取最晚者 — the month paid for is after the month of death, the
--   latest one where the sources disagree
-- match: exact，公民身份号码的假名相等 — exact, by pseudonym of the citizen identity number
-- needs: population.benefit_payment, population.death
-- left out: 死亡当月的发放；追回情况；只在人口库标注死亡者 — payments for the month of death itself; what was recovered;
--   deaths noted in the population register only
-- columns:
--   rule_id: 规则编号 — Rule
--   person_id: 人员假名 — Pseudonym of the person
--   benefit_item: 待遇项目代码 — Benefit, code
--   benefit: 待遇项目 — Benefit
--   region_code: 统筹区 — Division of the fund that paid last
--   death_month: 死亡月份（最晚） — Month of death, the latest given
--   earliest_death_month: 死亡月份（最早） — Month of death, the earliest given
--   death_sources: 死亡信息来源 — Origins of the death records
--   sources_agree: 各来源死亡月份一致 — The origins agree on the month
--   months_paid: 死亡后发放月数 — Months paid for after death
--   first_period: 最早多发月份 — First month paid for after death
--   last_period: 最近多发月份 — Last month paid for after death
--   amount: 死亡后发放金额（元） — Amount paid for these months, yuan
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('population.benefit_payment', 'population.death')
),
dead AS (
    SELECT person_id, max(death_month) AS death_month, min(death_month) AS earliest_death_month,
        string_agg(DISTINCT source_kind, ', ' ORDER BY source_kind) AS death_sources
    FROM population.death WHERE person_id IS NOT NULL AND death_month IS NOT NULL
    GROUP BY person_id
),
overpaid AS (
    SELECT b.person_id, b.benefit_item, arg_max(b.region_code, b.fee_period) AS region_code, any_value(d.death_month) AS death_month,
        any_value(d.earliest_death_month) AS earliest_death_month, any_value(d.death_sources) AS death_sources,
        count(DISTINCT b.fee_period) AS months_paid, min(b.fee_period) AS first_period, max(b.fee_period) AS last_period, sum(b.amount) AS amount
    FROM population.benefit_payment b JOIN dead d ON d.person_id = b.person_id AND b.fee_period > d.death_month
    GROUP BY b.person_id, b.benefit_item
)
SELECT
    'Q5.benefit_after_death' AS rule_id, o.person_id, o.benefit_item, i.name AS benefit, o.region_code, o.death_month,
    o.earliest_death_month, o.death_sources, o.death_month = o.earliest_death_month AS sources_agree, o.months_paid,
    o.first_period, o.last_period, o.amount, 'exact' AS match_level, today.as_of
FROM overpaid o
LEFT JOIN reference.benefit_item i ON i.code = o.benefit_item
CROSS JOIN today
