-- zh: 企业全景：每个市场主体在各数据资源中的情况
-- en: Enterprise 360: what every dataset says about each market entity
-- grain: 一主体一行 — one row per entity in the register
-- rule: V：按统一社会信用代码汇总；失信被执行人和无信用代码的许可、处罚按组织机构代码；有效许可为状态有效且未到期；参保人数少于 10 不发布 — added up by
--   unified social credit code; defaulters, and licences and penalties without a code, by organisation code; insured persons under 10 are not shown
-- match: exact 为统一社会信用代码；失信被执行人和缺代码的许可、处罚为 bridge（组织机构代码） — exact by unified social credit code; defaulters and
--   decisions without one by organisation code (bridge)
-- needs: credit.abnormal_list, credit.administrative_licence, credit.administrative_penalty, credit.judgment_defaulter, legal_entity.enterprise, legal_entity.key_person, legal_entity.shareholder, population.social_insurance
-- left out: 不在市场主体登记中的单位；自然人的处罚和许可；年报、税务、不动产（尚无数据资源） — bodies outside the register; decisions about natural persons;
--   annual reports, taxes and real estate (no datasets yet)
-- columns:
--   rule_id: 规则编号 — Rule
--   uscc: 统一社会信用代码 — Unified social credit code
--   name: 名称 — Name
--   region_code: 住所区划 — Division of the domicile
--   entity_type_code: 类型代码 — Kind of entity, code
--   industry_section: 行业门类 — Section of industry
--   status_code: 登记状态代码 — Registration status, code
--   status: 登记状态 — Registration status
--   establish_date: 成立日期 — Date of establishment
--   status_date: 吊销注销日期 — Date of revocation or deregistration
--   reg_capital: 注册资本（万元） — Registered capital, 10,000
--   legal_rep_person_id: 法定代表人假名 — Pseudonym of the legal representative
--   shareholders: 股东数 — Shareholders
--   natural_shareholders: 自然人股东数 — Shareholders who are natural persons
--   subscribed: 认缴合计（万元） — Subscribed in all, 10,000
--   paid: 实缴合计（万元） — Paid in all, 10,000
--   investments: 对外投资企业数 — Enterprises it holds shares of
--   officers: 在任主要人员数 — Officers in office
--   insured: 近期参保人数，少于 10 为空 — Persons insured there now, empty under 10
--   insured_suppressed: 参保人数已抑制 — The number of insured is hidden
--   licences: 许可数 — Licences
--   live_licences: 有效许可数 — Licences in force
--   penalties: 处罚数 — Penalties
--   fines: 罚款合计（万元） — Fines, 10,000 yuan
--   last_penalty_date: 最近处罚日期 — Date of the latest penalty
--   listings: 异常名录记录数 — Entries on the abnormal list
--   open_listings: 未移出的异常名录记录数 — Entries not removed
--   open_defaults: 未全部履行的失信案件数 — Cases of default not fully performed
--   enterprise_as_of: 登记信息截至 — State of the register
--   shareholder_as_of: 股东信息截至 — State of shareholders
--   key_person_as_of: 主要人员截至 — State of officers
--   insurance_as_of: 参保信息截至 — State of insurances
--   licence_as_of: 许可信息截至 — State of licences
--   penalty_as_of: 处罚信息截至 — State of penalties
--   listing_as_of: 异常名录截至 — State of the abnormal list
--   default_as_of: 失信被执行人截至 — State of defaulters
--   match_level: 匹配级别 — Match level: bridge where a count came by organisation code
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of,
        max(as_of) FILTER (WHERE dataset = 'legal_entity.enterprise') AS enterprise_as_of, max(as_of) FILTER (WHERE dataset = 'legal_entity.shareholder') AS shareholder_as_of,
        max(as_of) FILTER (WHERE dataset = 'legal_entity.key_person') AS key_person_as_of, max(as_of) FILTER (WHERE dataset = 'population.social_insurance') AS insurance_as_of,
        max(as_of) FILTER (WHERE dataset = 'credit.administrative_licence') AS licence_as_of, max(as_of) FILTER (WHERE dataset = 'credit.administrative_penalty') AS penalty_as_of,
        max(as_of) FILTER (WHERE dataset = 'credit.abnormal_list') AS listing_as_of, max(as_of) FILTER (WHERE dataset = 'credit.judgment_defaulter') AS default_as_of
    FROM governance.datasets
    WHERE dataset IN ('credit.abnormal_list', 'credit.administrative_licence', 'credit.administrative_penalty', 'credit.judgment_defaulter',
        'legal_entity.enterprise', 'legal_entity.key_person', 'legal_entity.shareholder', 'population.social_insurance')
),
holder AS (
    SELECT uscc, count(*) AS shareholders, count(*) FILTER (WHERE investor_type = '1') AS natural_shareholders, sum(subscribed) AS subscribed, sum(paid) AS paid
    FROM legal_entity.shareholder WHERE uscc IS NOT NULL GROUP BY uscc
),
holding AS (
    SELECT investor_uscc AS uscc, count(DISTINCT uscc) AS investments FROM legal_entity.shareholder WHERE investor_uscc IS NOT NULL GROUP BY investor_uscc
),
officer AS (
    SELECT k.uscc, count(DISTINCT k.person_id) AS officers
    FROM legal_entity.key_person k CROSS JOIN today WHERE k.end_date IS NULL OR k.end_date >= today.as_of GROUP BY k.uscc
),
insured AS (
    SELECT i.employer_uscc AS uscc, count(DISTINCT i.person_id) AS insured
    FROM population.social_insurance i CROSS JOIN today
    WHERE i.status_code = '1' AND (i.end_ym IS NULL OR i.end_ym >= strftime(today.as_of, '%Y-%m')) AND i.employer_uscc IS NOT NULL
    GROUP BY i.employer_uscc
),
licence AS (
    SELECT l.uscc, count(*) AS licences, count(*) FILTER (WHERE l.status_code = '1' AND (l.valid_to IS NULL OR l.valid_to >= today.as_of)) AS live_licences
    FROM credit.administrative_licence l CROSS JOIN today WHERE l.uscc IS NOT NULL GROUP BY l.uscc
),
bridged_licence AS (
    SELECT l.org_code, count(*) AS licences, count(*) FILTER (WHERE l.status_code = '1' AND (l.valid_to IS NULL OR l.valid_to >= today.as_of)) AS live_licences
    FROM credit.administrative_licence l CROSS JOIN today WHERE l.uscc IS NULL AND l.org_code IS NOT NULL GROUP BY l.org_code
),
penalty AS (
    SELECT uscc, count(*) AS penalties, sum(fine_amount) AS fines, max(decision_date) AS last_penalty_date
    FROM credit.administrative_penalty WHERE uscc IS NOT NULL GROUP BY uscc
),
bridged_penalty AS (
    SELECT org_code, count(*) AS penalties, sum(fine_amount) AS fines, max(decision_date) AS last_penalty_date
    FROM credit.administrative_penalty WHERE uscc IS NULL AND org_code IS NOT NULL GROUP BY org_code
),
listing AS (
    SELECT uscc, count(*) AS listings, count(*) FILTER (WHERE remove_date IS NULL) AS open_listings FROM credit.abnormal_list WHERE uscc IS NOT NULL GROUP BY uscc
),
defaulter AS (
    SELECT org_code, count(*) AS open_defaults FROM credit.judgment_defaulter
    WHERE org_code IS NOT NULL AND performance_code IS DISTINCT FROM '3' GROUP BY org_code
)
SELECT
    'V.enterprise_360' AS rule_id, e.uscc, e.name, e.region_code, e.entity_type_code, e.industry_section, e.status_code, s.name AS status,
    e.establish_date, e.status_date, e.reg_capital, e.legal_rep_person_id, coalesce(h.shareholders, 0) AS shareholders,
    coalesce(h.natural_shareholders, 0) AS natural_shareholders, h.subscribed, h.paid, coalesce(g.investments, 0) AS investments,
    coalesce(o.officers, 0) AS officers, unless_suppressed(coalesce(i.insured, 0), is_small(i.insured)) AS insured, is_small(i.insured) AS insured_suppressed,
    coalesce(l.licences, 0) + coalesce(bl.licences, 0) AS licences, coalesce(l.live_licences, 0) + coalesce(bl.live_licences, 0) AS live_licences,
    coalesce(p.penalties, 0) + coalesce(bp.penalties, 0) AS penalties, coalesce(p.fines, 0) + coalesce(bp.fines, 0) AS fines,
    greatest(p.last_penalty_date, bp.last_penalty_date) AS last_penalty_date, coalesce(a.listings, 0) AS listings,
    coalesce(a.open_listings, 0) AS open_listings, coalesce(d.open_defaults, 0) AS open_defaults,
    today.enterprise_as_of, today.shareholder_as_of, today.key_person_as_of, today.insurance_as_of, today.licence_as_of, today.penalty_as_of,
    today.listing_as_of, today.default_as_of,
    CASE WHEN bl.org_code IS NULL AND bp.org_code IS NULL AND d.org_code IS NULL THEN 'exact' ELSE 'bridge' END AS match_level, today.as_of
FROM legal_entity.enterprise e
LEFT JOIN holder h ON h.uscc = e.uscc
LEFT JOIN holding g ON g.uscc = e.uscc
LEFT JOIN officer o ON o.uscc = e.uscc
LEFT JOIN insured i ON i.uscc = e.uscc
LEFT JOIN licence l ON l.uscc = e.uscc
LEFT JOIN bridged_licence bl ON bl.org_code = substr(e.uscc, 9, 9)
LEFT JOIN penalty p ON p.uscc = e.uscc
LEFT JOIN bridged_penalty bp ON bp.org_code = substr(e.uscc, 9, 9)
LEFT JOIN listing a ON a.uscc = e.uscc
LEFT JOIN defaulter d ON d.org_code = substr(e.uscc, 9, 9)
LEFT JOIN reference.entity_status s ON s.code = e.status_code
CROSS JOIN today
