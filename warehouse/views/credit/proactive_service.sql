-- zh: 30、60、90 天内到期的许可和经营期限（主动服务名单）
-- en: Licences and terms of business that end within 30, 60 or 90 days (for reminding)
-- grain: 一许可或一主体的经营期限一行 — one row per licence or term of business
-- rule: Q16：许可状态有效且有效期至在数据截至日起 90 天内；或存续主体的经营期限至在 90 天内 — a licence in force, or the term of an active entity, that
--   ends within 90 days from the state of the data
-- match: exact，单条记录自身日期，不作匹配 — exact: by the record's own dates, nothing is matched
-- needs: credit.administrative_licence, legal_entity.enterprise
-- left out: 电子证照（尚无数据资源）；自然人的许可；个人满龄提醒见 population.proactive_service — electronic certificates (no dataset yet); licences of natural
--   persons; persons who reach an age are in population.proactive_service
-- columns:
--   rule_id: 规则编号 — Rule
--   record_kind: 类别 — Kind: licence or term_of_business
--   uscc: 统一社会信用代码 — Unified social credit code
--   entity_name: 名称 — Name
--   licence_no: 许可编号 — Number of the licence
--   licence_name: 许可证书名称 — Title of the licence
--   agency_name: 许可机关或登记机关 — Agency that decided, or registration authority
--   ends_on: 到期日 — Last day
--   days_left: 剩余天数 — Days left
--   due_within: 到期窗口（30、60、90 天） — Window: 30, 60 or 90 days
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets WHERE dataset IN ('credit.administrative_licence', 'legal_entity.enterprise')
),
ending AS (
    SELECT 'licence' AS record_kind, uscc, subject_name AS entity_name, licence_no, licence_name, agency_name, valid_to AS ends_on
    FROM credit.administrative_licence WHERE status_code = '1'
    UNION ALL
    SELECT 'term_of_business', uscc, name, NULL, NULL, reg_org, term_to FROM legal_entity.enterprise WHERE status_code = '1'
)
SELECT
    'Q16.proactive_service' AS rule_id, n.record_kind, n.uscc, n.entity_name, n.licence_no, n.licence_name, n.agency_name, n.ends_on,
    n.ends_on - today.as_of AS days_left, CASE WHEN n.ends_on <= today.as_of + 30 THEN 30 WHEN n.ends_on <= today.as_of + 60 THEN 60 ELSE 90 END AS due_within,
    'exact' AS match_level, today.as_of
FROM ending n
CROSS JOIN today
WHERE n.ends_on BETWEEN today.as_of AND today.as_of + 90
