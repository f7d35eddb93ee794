-- zh: 领取最低生活保障的家庭中有成员办企业（线索，须人工复核）
-- en: Households on minimum living allowance whose members hold enterprises (leads, to be verified by hand)
-- grain: 一户一行 — one row per household
-- rule: Q10：户内有成员近 12 个月领取最低生活保障金（610），且有成员是在营企业（状态 1）的股东或法定代表人 — a member received item 610 in the last 12 months, and a
--   member is shareholder or legal representative of an active enterprise
-- match: exact，公民身份号码和户号的假名相等 — exact, by pseudonyms of the citizen identity number and the household number
-- needs: legal_entity.enterprise, legal_entity.shareholder, population.benefit_payment, population.household_member
-- left out: 不动产、公积金、车辆（尚无数据资源）；各县认定标准（金额门槛）；户籍家庭不等于共同生活家庭 — homes, housing funds and vehicles (no datasets yet); the
--   counties' thresholds; a registered household is not the family that lives together
-- columns:
--   rule_id: 规则编号 — Rule
--   household: 户号假名 — Pseudonym of the household
--   region_code: 户籍地区划 — Division of registration
--   members: 户内人数 — Members
--   supported: 领取低保人数 — Members on the allowance
--   months_paid: 近 12 个月发放月数 — Months paid within 12 months
--   last_period: 最近发放月份 — Last month paid for
--   amount: 近 12 个月发放金额（元） — Paid within 12 months, yuan
--   holders: 持股或任法定代表人的成员数 — Members who hold shares or represent
--   enterprises: 涉及在营企业数 — Active enterprises
--   usccs: 企业统一社会信用代码 — Unified social credit codes of the enterprises
--   subscribed: 认缴合计（万元） — Subscribed by members, 10,000 yuan
--   paid: 实缴合计（万元） — Paid by members, 10,000 yuan
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('legal_entity.enterprise', 'legal_entity.shareholder', 'population.benefit_payment', 'population.household_member')
),
support AS (
    SELECT b.person_id, b.fee_period, sum(b.amount) AS amount
    FROM population.benefit_payment b CROSS JOIN today
    WHERE b.benefit_item = '610' AND b.person_id IS NOT NULL AND b.fee_period > strftime(today.as_of - INTERVAL 12 MONTH, '%Y-%m')
    GROUP BY b.person_id, b.fee_period
),
supported AS (
    SELECT m.household_no_pseudonym AS household, count(DISTINCT s.person_id) AS supported, count(DISTINCT s.fee_period) AS months_paid, max(s.fee_period) AS last_period,
        sum(s.amount) AS amount
    FROM support s JOIN population.household_member m ON m.person_id = s.person_id
    WHERE m.leave_year IS NULL AND m.household_no_pseudonym IS NOT NULL
    GROUP BY m.household_no_pseudonym
),
member AS (
    SELECT m.household_no_pseudonym AS household, m.person_id, m.region_code
    FROM population.household_member m JOIN supported s ON s.household = m.household_no_pseudonym
    WHERE m.leave_year IS NULL AND m.person_id IS NOT NULL
),
holding AS (
    SELECT h.investor_person_id AS person_id, h.uscc, h.subscribed, h.paid
    FROM legal_entity.shareholder h JOIN legal_entity.enterprise e ON e.uscc = h.uscc AND e.status_code = '1'
    WHERE h.investor_person_id IN (SELECT person_id FROM member)
    UNION ALL
    SELECT legal_rep_person_id, uscc, NULL, NULL
    FROM legal_entity.enterprise WHERE status_code = '1' AND legal_rep_person_id IN (SELECT person_id FROM member)
),
held AS (
    SELECT m.household, count(DISTINCT g.person_id) AS holders, count(DISTINCT g.uscc) AS enterprises, list_sort(list(DISTINCT g.uscc)) AS usccs,
        sum(g.subscribed) AS subscribed, sum(g.paid) AS paid
    FROM holding g JOIN member m ON m.person_id = g.person_id
    GROUP BY m.household
),
household AS (
    SELECT household, count(*) AS members, min(region_code) AS region_code FROM member GROUP BY household
)
SELECT
    'Q10.support_eligibility' AS rule_id, h.household, h.region_code, h.members, s.supported, s.months_paid, s.last_period, s.amount,
    g.holders, g.enterprises, g.usccs, g.subscribed, g.paid, 'exact' AS match_level, today.as_of
FROM held g
JOIN supported s ON s.household = g.household
JOIN household h ON h.household = g.household
CROSS JOIN today
