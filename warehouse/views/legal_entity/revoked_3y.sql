-- zh: 被吊销满三年仍未注销的市场主体（线索，非结论）
-- en: Entities whose licence was revoked more than three years ago and that are not deregistered (leads, not findings)
-- grain: 一主体一行 — one row per entity
-- rule: Q4：登记状态为 2（吊销，未注销），吊销日期加三年早于数据截至日期（国务院实施公司法注册资本登记管理规定第八条）— status 2 and
--   the day of revocation plus three years lies before the state of the data
-- match: exact，单一登记数据，不作匹配 — exact: one register, nothing is matched
-- needs: legal_entity.enterprise
-- left out: 没有吊销日期者；已公告拟强制注销或在清算、诉讼中者未剔除 — revocations without a date; removals already announced, liquidations
--   and lawsuits are not taken out
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 统一社会信用代码 — Unified social credit code
--   name: 名称 — Name
--   region_code: 住所区划 — Division of the domicile
--   reg_org: 登记机关 — Registration authority
--   entity_type_code: 类型代码 — Kind of entity, code
--   revoked_on: 吊销日期 — Day of revocation
--   overdue_since: 满三年之日 — Day on which three years were over
--   days_overdue: 逾期天数 — Days since then
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('legal_entity.enterprise')
)
SELECT
    'Q4.revoked_3y' AS rule_id, e.uscc, e.name, e.region_code, e.reg_org, e.entity_type_code, e.status_date AS revoked_on,
    (e.status_date + INTERVAL 3 YEAR)::DATE AS overdue_since, today.as_of - (e.status_date + INTERVAL 3 YEAR)::DATE AS days_overdue,
    'exact' AS match_level, today.as_of
FROM legal_entity.enterprise e
CROSS JOIN today
WHERE e.status_code = '2' AND e.status_date + INTERVAL 3 YEAR < today.as_of
