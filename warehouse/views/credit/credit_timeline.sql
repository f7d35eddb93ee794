-- zh: 企业信用时间线：登记、许可、处罚、名录、失信的每件事
-- en: Credit timeline of enterprises: every registration, licence, penalty, listing and default
-- grain: 一主体一事件一行 — one row per entity and event
-- rule: V：事件日期取各记录的决定、列入、移出、立案、发布和有效期届满日期；未来的届满日期也列出 — the date of an event is that of decision, entry, removal,
--   filing, publication or expiry; expiries to come are listed, too
-- match: exact 为记录中的统一社会信用代码；bridge 为缺信用代码而组织机构代码相等（失信被执行人只有组织机构代码） — exact by the unified social credit code of
--   the record; bridge by organisation code where it has none (defaulters have no other)
-- needs: credit.abnormal_list, credit.administrative_licence, credit.administrative_penalty, credit.judgment_defaulter, legal_entity.enterprise
-- left out: 没有日期的事件；自然人；信用修复、严重失信名单、变更登记（尚无数据资源）；法定代表人本人失信（见 legal_rep_defaulter） — events without a date; natural
--   persons; repairs, serious list and changes of registration (no datasets yet); defaults of the representative in person
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 统一社会信用代码 — Unified social credit code
--   event_date: 事件日期 — Date of the event
--   event: 事件类别 — Kind: established, revoked, left_register, licence_granted, licence_expires, penalised, listed, delisted, default_filed, default_published
--   event_zh: 事件 — Event, in Chinese
--   record_no: 文书号、案号或名录记录号 — Number of the decision, case or entry
--   detail: 内容：许可名称、处罚类别、列入原因、法院 — Licence, kinds of penalty, reason of the entry, or court
--   amount: 金额（万元） — Amount, 10,000 yuan
--   agency_name: 机关 — Agency
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.abnormal_list', 'credit.administrative_licence', 'credit.administrative_penalty', 'credit.judgment_defaulter', 'legal_entity.enterprise')
),
-- A record with two dates is two events: doubled here, so that a look-up of one entity reaches every scan once.
moment AS (
    SELECT * FROM (VALUES (1), (2)) AS pair(nth)
),
licence AS (
    SELECT uscc, decision_no, licence_name, decision_date, valid_to, agency_name, 'exact' AS match_level FROM credit.administrative_licence WHERE uscc IS NOT NULL
    UNION ALL
    SELECT e.uscc, l.decision_no, l.licence_name, l.decision_date, l.valid_to, l.agency_name, 'bridge'
    FROM credit.administrative_licence l JOIN legal_entity.enterprise e ON substr(e.uscc, 9, 9) = l.org_code WHERE l.uscc IS NULL
),
penalty AS (
    SELECT uscc, decision_no, penalty_kinds, decision_date, fine_amount, agency_name, 'exact' AS match_level FROM credit.administrative_penalty WHERE uscc IS NOT NULL
    UNION ALL
    SELECT e.uscc, p.decision_no, p.penalty_kinds, p.decision_date, p.fine_amount, p.agency_name, 'bridge'
    FROM credit.administrative_penalty p JOIN legal_entity.enterprise e ON substr(e.uscc, 9, 9) = p.org_code WHERE p.uscc IS NULL
),
event AS (
    SELECT e.uscc, CASE WHEN m.nth = 1 THEN e.establish_date WHEN e.status_code IN ('2', '3', '4', '5', '6') THEN e.status_date END AS event_date,
        CASE WHEN m.nth = 1 THEN 'established' WHEN e.status_code = '2' THEN 'revoked' ELSE 'left_register' END AS event,
        CASE WHEN m.nth = 1 THEN '成立' WHEN e.status_code = '2' THEN '吊销' ELSE '注销、撤销或迁出' END AS event_zh,
        e.reg_no AS record_no, NULL::VARCHAR AS detail, NULL::DECIMAL(18, 6) AS amount, e.reg_org AS agency_name, 'exact' AS match_level
    FROM legal_entity.enterprise e CROSS JOIN moment m
    UNION ALL
    SELECT l.uscc, CASE m.nth WHEN 1 THEN l.decision_date ELSE l.valid_to END, CASE m.nth WHEN 1 THEN 'licence_granted' ELSE 'licence_expires' END,
        CASE m.nth WHEN 1 THEN '许可' ELSE '许可到期' END, l.decision_no, l.licence_name, NULL, l.agency_name, l.match_level
    FROM licence l CROSS JOIN moment m
    UNION ALL
    SELECT uscc, decision_date, 'penalised', '处罚', decision_no, penalty_kinds, fine_amount, agency_name, match_level FROM penalty
    UNION ALL
    SELECT l.uscc, CASE m.nth WHEN 1 THEN l.include_date ELSE l.remove_date END, CASE m.nth WHEN 1 THEN 'listed' ELSE 'delisted' END,
        CASE m.nth WHEN 1 THEN '列入经营异常名录' ELSE '移出经营异常名录' END, l.list_id, CASE m.nth WHEN 1 THEN r.reason ELSE l.remove_reason END, NULL,
        CASE m.nth WHEN 1 THEN l.include_org ELSE l.remove_org END, 'exact'
    FROM credit.abnormal_list l LEFT JOIN reference.abnormal_reason r ON r.code = l.include_reason CROSS JOIN moment m
    WHERE l.uscc IS NOT NULL
    UNION ALL
    SELECT e.uscc, CASE m.nth WHEN 1 THEN d.filing_date ELSE d.publish_date END, CASE m.nth WHEN 1 THEN 'default_filed' ELSE 'default_published' END,
        CASE m.nth WHEN 1 THEN '失信案件立案' ELSE '失信被执行人发布' END, d.case_no, d.court, NULL, d.court, 'bridge'
    FROM credit.judgment_defaulter d JOIN legal_entity.enterprise e ON substr(e.uscc, 9, 9) = d.org_code CROSS JOIN moment m
)
SELECT
    'V.credit_timeline' AS rule_id, v.uscc, v.event_date, v.event, v.event_zh, v.record_no, v.detail, v.amount, v.agency_name, v.match_level, today.as_of
FROM event v
CROSS JOIN today
WHERE v.event_date IS NOT NULL
