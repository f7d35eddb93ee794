-- zh: 已死亡人员仍在任、持股或参保（线索，须人工复核）
-- en: Dead persons who are still legal representatives, officers, shareholders or insured (leads, to be verified by hand)
-- grain: 一人一角色一单位一行 — one row per person, role and organisation or insurance
-- rule: Q6：死亡月份不晚于数据截至月份，且角色仍有效：企业存续且在任或持股，或参保状态正常且未终止 — death lies before the
--   state of the data and the role is active: an active enterprise and no end of office, or insured without an end
-- match: exact，证件号码的假名相等 — exact, by pseudonym of the document number
-- needs: legal_entity.enterprise, legal_entity.key_person, legal_entity.shareholder, population.death, population.social_insurance
-- left out: 婚姻登记；只在人口库标注死亡者；股权继承中的合理滞后未排除 — marriages; deaths noted in the population register
--   only; the time that settling an estate takes is not allowed for
-- columns:
--   rule_id: 规则编号 — Rule
--   person_id: 人员假名 — Pseudonym of the person
--   role: 角色 — Role: legal_representative, officer, shareholder or insured
--   organisation: 单位统一社会信用代码 — Unified social credit code of the enterprise or employer
--   evidence: 证据：职务、持股比例或险种 — Evidence: position, share in per cent, or kind of insurance
--   death_month: 死亡月份（最晚） — Month of death, the latest given
--   death_sources: 死亡信息来源 — Origins of the death records
--   sources_agree: 各来源死亡月份一致 — The origins agree on the month
--   match_level: 匹配级别 — Match level
--   as_of: 数据截至日期 — State of the data
WITH today AS (
    SELECT max(as_of) AS as_of FROM governance.datasets
    WHERE dataset IN ('legal_entity.enterprise', 'legal_entity.key_person', 'legal_entity.shareholder', 'population.death', 'population.social_insurance')
),
dead AS (
    SELECT person_id, max(death_month) AS death_month, min(death_month) = max(death_month) AS sources_agree,
        string_agg(DISTINCT source_kind, ', ' ORDER BY source_kind) AS death_sources
    FROM population.death, today WHERE person_id IS NOT NULL AND death_month <= strftime(today.as_of, '%Y-%m')
    GROUP BY person_id
),
active AS (
    SELECT uscc, legal_rep_person_id FROM legal_entity.enterprise WHERE status_code = '1'
),
role AS (
    SELECT legal_rep_person_id AS person_id, 'legal_representative' AS role, uscc AS organisation, NULL AS evidence, NULL AS until
    FROM active WHERE legal_rep_person_id IN (SELECT person_id FROM dead)
    UNION
    SELECT k.person_id, CASE WHEN k.is_legal_rep = '1' THEN 'legal_representative' ELSE 'officer' END, k.uscc,
        CASE WHEN k.is_legal_rep = '1' THEN NULL ELSE p.name END, NULL
    FROM legal_entity.key_person k JOIN active ON active.uscc = k.uscc
    LEFT JOIN reference.position p ON p.code = k.position_code CROSS JOIN today
    WHERE k.person_id IN (SELECT person_id FROM dead) AND (k.end_date IS NULL OR k.end_date >= today.as_of)
    UNION
    SELECT s.investor_person_id, 'shareholder', s.uscc, s.ratio::DECIMAL(7, 2)::VARCHAR || ' %', NULL
    FROM legal_entity.shareholder s JOIN active ON active.uscc = s.uscc
    WHERE s.investor_person_id IN (SELECT person_id FROM dead)
    UNION
    SELECT i.person_id, 'insured', i.employer_uscc, t.name, i.end_ym
    FROM population.social_insurance i LEFT JOIN reference.insurance_type t ON t.code = i.insurance_type
    WHERE i.status_code = '1' AND i.person_id IN (SELECT person_id FROM dead)
)
SELECT
    'Q6.dead_active_role' AS rule_id, r.person_id, r.role, r.organisation, r.evidence, d.death_month, d.death_sources,
    d.sources_agree, 'exact' AS match_level, today.as_of
FROM role r
JOIN dead d ON d.person_id = r.person_id AND (r.until IS NULL OR r.until > d.death_month)
CROSS JOIN today
