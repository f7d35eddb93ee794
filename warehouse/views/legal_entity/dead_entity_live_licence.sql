-- zh: 已吊销或注销的市场主体仍持有有效许可（线索，非结论）
-- en: Revoked or deregistered entities that still hold a valid licence (leads, not findings)
-- grain: 一主体一许可一行 — one row per entity and licence
-- rule: Q3：登记状态为 2、3、4（吊销、注销），许可状态有效且有效期未满 — registration status 2, 3 or 4, the licence is in
--   force and has not run out
-- match: exact 为统一社会信用代码相等；bridge 为许可未填信用代码而组织机构代码相等 — exact by unified social credit code;
--   bridge by organisation code where the licence gives no unified code
-- needs: credit.administrative_licence, legal_entity.enterprise
-- left out: 电子证照；自然人的许可；状态为撤销、迁出的主体 — electronic certificates; licences of natural persons; entities
--   cancelled as void or moved out
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 主体统一社会信用代码 — Unified social credit code of the entity
--   entity_name: 主体名称 — Entity
--   region_code: 住所区划 — Division of the domicile
--   status_code: 登记状态代码 — Registration status, code
--   status: 登记状态 — Registration status
--   status_date: 吊销注销日期 — Date of revocation or deregistration
--   licence_no: 许可编号 — Number of the licence
--   licence_name: 许可证书名称 — Title of the licence
--   licence_kind: 许可类别 — Kind of licence
--   decision_no: 许可决定文书号 — Number of the decision
--   valid_to: 许可有效期至，空为长期 — Last day of validity, empty when long-term
--   agency_name: 许可机关 — Agency that decided
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.administrative_licence', 'legal_entity.enterprise')
),
dead AS (
    SELECT uscc, name, region_code, status_code, status_date, coalesce(org_code, substr(uscc, 9, 9)) AS org_code
    FROM legal_entity.enterprise WHERE status_code IN ('2', '3', '4')
),
live AS (
    SELECT l.* FROM credit.administrative_licence l, today
    WHERE l.status_code = '1' AND (l.valid_to IS NULL OR l.valid_to >= today.as_of)
),
pair AS (
    SELECT d.*, l.* EXCLUDE (uscc, org_code, status_code), 'exact' AS match_level FROM dead d JOIN live l ON l.uscc = d.uscc
    UNION ALL
    SELECT d.*, l.* EXCLUDE (uscc, org_code, status_code), 'bridge' FROM dead d JOIN live l ON l.uscc IS NULL AND l.org_code = d.org_code
)
SELECT
    'Q3.dead_entity_live_licence' AS rule_id, pair.uscc, pair.name AS entity_name, pair.region_code, pair.status_code,
    s.name AS status, pair.status_date, pair.licence_no, pair.licence_name, pair.licence_kind, pair.decision_no, pair.valid_to,
    pair.agency_name, pair.match_level, today.as_of
FROM pair
LEFT JOIN reference.entity_status s ON s.code = pair.status_code
CROSS JOIN today
