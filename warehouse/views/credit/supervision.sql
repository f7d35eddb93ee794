-- zh: 监管视图：每个主体的许可、处罚和名录
-- en: Supervision: licences, penalties and lists of every entity that has any
-- grain: 一主体一行 — one row per entity with a licence, a penalty or an entry on the abnormal list
-- rule: V：有效许可为状态有效且未到期；近一年按数据截至日期；关注事项为下列各项之和：近一年受处罚、名录未移出、90 天内有许可到期、非存续而持有效许可 — a licence
--   is in force when its state says so and it has not run out; attention counts: a penalty within a year, an open entry, a licence that runs out
--   within 90 days, licences in force of an entity that is not active
-- match: exact，统一社会信用代码相等 — exact, by unified social credit code
-- needs: credit.abnormal_list, credit.administrative_licence, credit.administrative_penalty, legal_entity.enterprise
-- left out: 没有统一社会信用代码的记录（见 unmatched_records）；自然人；检查和抽查结果（尚无数据资源） — records without a unified social credit code (see
--   unmatched_records); natural persons; inspections (no dataset yet)
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 统一社会信用代码 — Unified social credit code
--   name: 登记名称，空为不在市场主体登记中 — Name in the register, empty when it is not there
--   region_code: 住所区划 — Division of the domicile
--   industry_section: 行业门类 — Section of industry
--   status_code: 登记状态代码 — Registration status, code
--   licences: 许可数 — Licences
--   live_licences: 有效许可数 — Licences in force
--   next_expiry: 最近到期日 — Next day a licence in force runs out
--   penalties: 处罚数 — Penalties
--   penalties_12_months: 近一年处罚数 — Penalties within a year
--   fines: 罚款合计（万元） — Fines, 10,000 yuan
--   last_penalty_date: 最近处罚日期 — Date of the latest penalty
--   listings: 异常名录记录数 — Entries on the abnormal list
--   open_listings: 未移出的记录数 — Entries not removed
--   attention: 关注事项数（0 至 4） — Matters that need attention, 0 to 4
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('credit.abnormal_list', 'credit.administrative_licence', 'credit.administrative_penalty', 'legal_entity.enterprise')
),
part AS (
    SELECT l.uscc, count(*) AS licences, count(*) FILTER (WHERE l.status_code = '1' AND (l.valid_to IS NULL OR l.valid_to >= today.as_of)) AS live_licences,
        min(l.valid_to) FILTER (WHERE l.status_code = '1' AND l.valid_to >= today.as_of) AS next_expiry, 0 AS penalties, 0 AS penalties_12_months,
        NULL::DECIMAL(38, 6) AS fines, NULL::DATE AS last_penalty_date, 0 AS listings, 0 AS open_listings
    FROM credit.administrative_licence l CROSS JOIN today WHERE l.uscc IS NOT NULL GROUP BY l.uscc
    UNION ALL
    SELECT p.uscc, 0, 0, NULL, count(*), count(*) FILTER (WHERE p.decision_date > today.as_of - INTERVAL 12 MONTH), sum(p.fine_amount), max(p.decision_date), 0, 0
    FROM credit.administrative_penalty p CROSS JOIN today WHERE p.uscc IS NOT NULL GROUP BY p.uscc
    UNION ALL
    SELECT uscc, 0, 0, NULL, 0, 0, NULL, NULL, count(*), count(*) FILTER (WHERE remove_date IS NULL)
    FROM credit.abnormal_list WHERE uscc IS NOT NULL GROUP BY uscc
),
entity AS (
    SELECT uscc, sum(licences)::BIGINT AS licences, sum(live_licences)::BIGINT AS live_licences, min(next_expiry) AS next_expiry, sum(penalties)::BIGINT AS penalties,
        sum(penalties_12_months)::BIGINT AS penalties_12_months, coalesce(sum(fines), 0) AS fines, max(last_penalty_date) AS last_penalty_date,
        sum(listings)::BIGINT AS listings, sum(open_listings)::BIGINT AS open_listings
    FROM part GROUP BY uscc
)
SELECT
    'V.supervision' AS rule_id, n.uscc, e.name, e.region_code, e.industry_section, e.status_code, n.licences, n.live_licences, n.next_expiry,
    n.penalties, n.penalties_12_months, n.fines, n.last_penalty_date, n.listings, n.open_listings,
    (n.penalties_12_months > 0)::INTEGER + (n.open_listings > 0)::INTEGER + coalesce(n.next_expiry <= today.as_of + 90, false)::INTEGER
        + coalesce(e.status_code <> '1' AND n.live_licences > 0, false)::INTEGER AS attention,
    'exact' AS match_level, today.as_of
FROM entity n
LEFT JOIN legal_entity.enterprise e ON e.uscc = n.uscc
CROSS JOIN today
