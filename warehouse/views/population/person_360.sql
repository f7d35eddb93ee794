-- zh: 个人全景：每个在库人员在各数据资源中的情况（只有脱敏字段）
-- en: Person 360: what every dataset says about each person of the register (masked columns only)
-- grain: 人口库一人一行 — one row per person in the register
-- rule: V：按人员假名汇总；任职和持股只计在营企业（状态 1）且未到期；参保为状态正常且未终止；待遇为近 12 个月 — added up by pseudonym; offices and shares of active
--   enterprises only and not ended; insurances in force; benefits of the last 12 months
-- match: exact，证件号码的假名相等 — exact, by pseudonym of the document number
-- needs: credit.judgment_defaulter, legal_entity.enterprise, legal_entity.key_person, legal_entity.shareholder, population.benefit_payment, population.death, population.household_member, population.person, population.social_insurance
-- left out: 不在人口库的人员；自然人的处罚和许可（不发布）；婚姻、学历、不动产（尚无数据资源）。联接三个以上部门，单人查询宜经授权 — persons outside the register; penalties and
--   licences of natural persons (not published); marriages, education, real estate (no datasets yet). It links more than three departments: look-ups of
--   one person belong to a grant
-- columns:
--   rule_id: 规则编号 — Rule
--   person_id: 人员假名 — Pseudonym of the person
--   sex_code: 性别代码 — Sex, code
--   birth_year: 出生年份 — Year of birth
--   region_code: 户籍地区划 — Division of registration
--   registered: 在册 — On the register: not cancelled, dead or moved out
--   household: 户号假名 — Pseudonym of the household
--   household_members: 户内人数 — Members of the household
--   marital_code: 婚姻状况代码 — Marital status, code
--   education_code: 文化程度代码 — Education, code
--   death_month: 死亡月份（最晚） — Month of death, the latest given
--   death_sources: 死亡信息来源数 — Origins that report the death
--   insurances: 有效险种代码 — Kinds of insurance in force, codes
--   insured_region_code: 参保统筹区 — Division of the insurance
--   employers: 参保单位数 — Employers of these insurances
--   benefits: 近 12 个月待遇代码 — Benefits of the last 12 months, codes
--   benefit_months: 近 12 个月领取月数 — Months paid within 12 months
--   benefit_amount: 近 12 个月领取金额（元） — Paid within 12 months, yuan
--   represents: 任法定代表人的企业数 — Enterprises represented
--   offices: 任主要人员的企业数 — Enterprises served as officer
--   holdings: 持股企业数 — Enterprises held shares of
--   open_defaults: 未全部履行的失信案件数 — Cases of default not fully performed
--   person_as_of: 人口信息截至 — State of the register
--   household_as_of: 家庭户信息截至 — State of households
--   death_as_of: 死亡信息截至 — State of deaths
--   insurance_as_of: 参保信息截至 — State of insurances
--   benefit_as_of: 待遇信息截至 — State of benefits
--   enterprise_as_of: 登记信息截至 — State of the register of enterprises
--   key_person_as_of: 主要人员截至 — State of officers
--   shareholder_as_of: 股东信息截至 — State of shareholders
--   default_as_of: 失信被执行人截至 — State of defaulters
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of,
        max(as_of) FILTER (WHERE dataset = 'population.person') AS person_as_of, max(as_of) FILTER (WHERE dataset = 'population.household_member') AS household_as_of,
        max(as_of) FILTER (WHERE dataset = 'population.death') AS death_as_of, max(as_of) FILTER (WHERE dataset = 'population.social_insurance') AS insurance_as_of,
        max(as_of) FILTER (WHERE dataset = 'population.benefit_payment') AS benefit_as_of, max(as_of) FILTER (WHERE dataset = 'legal_entity.enterprise') AS enterprise_as_of,
        max(as_of) FILTER (WHERE dataset = 'legal_entity.key_person') AS key_person_as_of, max(as_of) FILTER (WHERE dataset = 'legal_entity.shareholder') AS shareholder_as_of,
        max(as_of) FILTER (WHERE dataset = 'credit.judgment_defaulter') AS default_as_of
    FROM governance.datasets
    WHERE dataset IN ('credit.judgment_defaulter', 'legal_entity.enterprise', 'legal_entity.key_person', 'legal_entity.shareholder', 'population.benefit_payment',
        'population.death', 'population.household_member', 'population.person', 'population.social_insurance')
),
dead AS (
    SELECT person_id, max(death_month) AS death_month, count(DISTINCT source_kind) AS death_sources
    FROM population.death WHERE person_id IS NOT NULL GROUP BY person_id
),
insured AS (
    SELECT i.person_id, string_agg(DISTINCT i.insurance_type, ', ' ORDER BY i.insurance_type) AS insurances,
        arg_max(i.region_code, i.start_ym || i.region_code) AS region_code, count(DISTINCT i.employer_uscc) AS employers
    FROM population.social_insurance i CROSS JOIN today
    WHERE i.status_code = '1' AND (i.end_ym IS NULL OR i.end_ym >= strftime(today.as_of, '%Y-%m')) AND i.person_id IS NOT NULL
    GROUP BY i.person_id
),
benefit AS (
    SELECT b.person_id, string_agg(DISTINCT b.benefit_item, ', ' ORDER BY b.benefit_item) AS benefits, count(DISTINCT b.fee_period) AS months, sum(b.amount) AS amount
    FROM population.benefit_payment b CROSS JOIN today
    WHERE b.fee_period > strftime(today.as_of - INTERVAL 12 MONTH, '%Y-%m') AND b.person_id IS NOT NULL
    GROUP BY b.person_id
),
representative AS (
    SELECT legal_rep_person_id AS person_id, count(*) AS represents
    FROM legal_entity.enterprise WHERE status_code = '1' AND legal_rep_person_id IS NOT NULL GROUP BY legal_rep_person_id
),
officer AS (
    SELECT k.person_id, count(DISTINCT k.uscc) AS offices
    FROM legal_entity.key_person k JOIN legal_entity.enterprise e ON e.uscc = k.uscc AND e.status_code = '1' CROSS JOIN today
    WHERE (k.end_date IS NULL OR k.end_date >= today.as_of) AND k.person_id IS NOT NULL
    GROUP BY k.person_id
),
holder AS (
    SELECT h.investor_person_id AS person_id, count(DISTINCT h.uscc) AS holdings
    FROM legal_entity.shareholder h JOIN legal_entity.enterprise e ON e.uscc = h.uscc AND e.status_code = '1'
    WHERE h.investor_person_id IS NOT NULL
    GROUP BY h.investor_person_id
),
defaulter AS (
    SELECT person_id, count(*) AS open_defaults FROM credit.judgment_defaulter
    WHERE person_id IS NOT NULL AND performance_code IS DISTINCT FROM '3' GROUP BY person_id
)
SELECT
    'V.person_360' AS rule_id, p.person_id, p.sex_code, p.birth_year, p.hukou_region_code AS region_code,
    is_registered(p.cancel_flag, p.death_year, p.moveout_year) AS registered, p.household_no_pseudonym AS household,
    -- A subquery and not a join: a look-up of one person then reads one household, not all of them.
    (SELECT count(m.person_id) FROM population.household_member m
     WHERE m.household_no_pseudonym = p.household_no_pseudonym AND m.leave_year IS NULL) AS household_members,
    p.marital_code, p.education_code, x.death_month, coalesce(x.death_sources, 0) AS death_sources, i.insurances, i.region_code AS insured_region_code,
    coalesce(i.employers, 0) AS employers, b.benefits, coalesce(b.months, 0) AS benefit_months, coalesce(b.amount, 0) AS benefit_amount,
    coalesce(r.represents, 0) AS represents, coalesce(o.offices, 0) AS offices, coalesce(h.holdings, 0) AS holdings, coalesce(d.open_defaults, 0) AS open_defaults,
    today.person_as_of, today.household_as_of, today.death_as_of, today.insurance_as_of, today.benefit_as_of, today.enterprise_as_of, today.key_person_as_of,
    today.shareholder_as_of, today.default_as_of, 'exact' AS match_level, today.as_of
FROM population.person p
LEFT JOIN dead x ON x.person_id = p.person_id
LEFT JOIN insured i ON i.person_id = p.person_id
LEFT JOIN benefit b ON b.person_id = p.person_id
LEFT JOIN representative r ON r.person_id = p.person_id
LEFT JOIN officer o ON o.person_id = p.person_id
LEFT JOIN holder h ON h.person_id = p.person_id
LEFT JOIN defaulter d ON d.person_id = p.person_id
CROSS JOIN today
