-- zh: 认缴期限已过而未缴足的出资（线索，非结论）
-- en: Contributions that are due and not paid in full (leads, not findings)
-- grain: 一企业一笔出资一行 — one row per enterprise and contribution
-- rule: Q9：企业未注销（状态 1、2），实缴额小于认缴额，到期日早于数据截至日期。到期日取约定认缴日期和法定最后日期中较早者；法定最后日期只对有限责任公司：
--   2024-07-01 起成立的为成立满五年，此前成立的为 2032-06-30（公司法第四十七条和国务院过渡规定） — paid less than subscribed and due before
--   the state of the data; due is the earlier of the agreed day and, for limited companies, five years after establishment (2032-06-30 if older)
-- match: exact，统一社会信用代码相等 — exact, by unified social credit code
-- needs: legal_entity.enterprise, legal_entity.shareholder
-- left out: 没有填报实缴额的出资；没有约定日期的非有限责任公司；币种未折算；自然人股东姓名不发布 — contributions whose paid amount is not given;
--   companies other than limited ones without an agreed day; currencies are not converted; names of natural persons are not published
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 企业统一社会信用代码 — Unified social credit code of the enterprise
--   enterprise_name: 企业名称 — Enterprise
--   region_code: 住所区划 — Division of the domicile
--   establish_date: 成立日期 — Date of establishment
--   investment_id: 出资记录号 — Number of the contribution
--   investor_type: 股东类型代码 — Kind of investor, code
--   investor_person_id: 自然人股东假名 — Pseudonym of a natural investor
--   investor_uscc: 股东统一社会信用代码 — Unified social credit code of the investor
--   subscribed: 认缴额（万元） — Subscribed, 10,000 yuan
--   paid: 实缴额（万元） — Paid, 10,000 yuan
--   unpaid: 未缴额（万元） — Still to pay, 10,000 yuan
--   due_on: 到期日 — Day it was due
--   due_basis: 到期依据 — Why then: agreed or statutory
--   days_overdue: 逾期天数 — Days since then
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('legal_entity.enterprise', 'legal_entity.shareholder')
),
owed AS (
    SELECT e.uscc, e.name, e.region_code, e.establish_date, s.investment_id, s.investor_type, s.investor_person_id, s.investor_uscc,
        s.subscribed, s.paid, s.subscribed_date AS agreed_on,
        CASE WHEN left(e.entity_type_code, 2) NOT IN ('11', '51', '61') THEN NULL
             WHEN e.establish_date >= DATE '2024-07-01' THEN (e.establish_date + INTERVAL 5 YEAR)::DATE
             WHEN e.establish_date IS NOT NULL THEN DATE '2032-06-30' END AS statutory_on
    FROM legal_entity.shareholder s
    JOIN legal_entity.enterprise e ON e.uscc = s.uscc AND e.status_code IN ('1', '2')
    WHERE s.paid < s.subscribed
)
SELECT
    'Q9.capital_overdue' AS rule_id, o.uscc, o.name AS enterprise_name, o.region_code, o.establish_date, o.investment_id, o.investor_type,
    o.investor_person_id, o.investor_uscc, o.subscribed, o.paid, o.subscribed - o.paid AS unpaid, least(o.agreed_on, o.statutory_on) AS due_on,
    CASE WHEN o.agreed_on <= coalesce(o.statutory_on, o.agreed_on) THEN 'agreed' ELSE 'statutory' END AS due_basis,
    today.as_of - least(o.agreed_on, o.statutory_on) AS days_overdue, 'exact' AS match_level, today.as_of
FROM owed o
CROSS JOIN today
WHERE least(o.agreed_on, o.statutory_on) < today.as_of
