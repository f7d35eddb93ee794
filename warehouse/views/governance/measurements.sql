-- zh: 计入得分的每一次测量：每批每规则，每批的完全重复，每月每项跨批检查的最后一次
-- en: Every measurement that counts in scores: per batch and rule, identical copies per batch, and the last run of every check in a month
-- grain: 一批一规则一行，或一月一项检查一行 — one row per batch and rule, or per month and check
-- rule: 同一批次有完全重复计数时，指标 0303 取该计数（1 − 重复数/记录数），不再取规则结果；检查按 as_of 归月，同月多次取最后一次 — indicator 0303 of a
--   batch is 1 − copies / records; a check run several times in a month counts once, as it was last
-- columns:
--   month: 月份 — Month of the batch date, or of the state of the data for a check
--   kind: 类别 — row (rule of a batch), copies, or the kind of a check: across, history, timeliness, publication, values, agreement
--   batch_id: 报送批次（检查为空） — Batch, NULL for checks
--   revision: 修订号 — Revision of the batch
--   as_of: 报送日期或数据截至日期 — Batch date, or state of the data for a check
--   dataset: 数据资源 — Dataset
--   source: 报送渠道 — Source
--   department: 数源部门 — Department that answers for it
--   rule: 规则 — Rule
--   column: 字段 — Column
--   zh: 中文说明 — Chinese words
--   en: 英文说明 — English words
--   indicator: 质量指标代码 — Quality indicator (GB/T 36344-2018)
--   severity: 严重程度 — Severity; NULL for a count without a threshold
--   owner: 整改责任部门 — Department that must fix it
--   at_least: 合格率下限 — Lowest acceptable pass rate
--   applicable: 适用记录数 — Records the rule applies to
--   failed: 不合格记录数 — Records that fail
SELECT b.month, 'row' AS kind, b.batch_id, b.revision, b.batch_date AS as_of, b.dataset, b.source, b.department, r.rule, r.column, r.zh, r.en,
    r.indicator, r.severity, r.owner, r.at_least, r.applicable, r.failed
FROM governance.rule_results r JOIN governance.judged_batches b ON b.batch_id = r.batch_id AND b.revision = r.revision
WHERE r.indicator <> '0303' OR coalesce(b.records, 0) = 0
UNION ALL
SELECT month, 'copies', batch_id, revision, batch_date, dataset, source, department, 'identical_copies', NULL, '没有完全重复的记录',
    'no record is an identical copy of another', '0303', NULL, department, NULL, records, copies
FROM governance.judged_batches WHERE records > 0
UNION ALL
SELECT left(c.as_of, 7), c.kind, NULL, NULL, c.as_of, c.dataset, c.source, coalesce(s.department, c.owner), c.rule, c.column, c.zh, c.en,
    c.indicator, c.severity, c.owner, c.at_least, c.applicable, c.failed
FROM governance.checks c LEFT JOIN governance.sources s ON s.dataset = c.dataset AND s.source = c.source
QUALIFY row_number() OVER (PARTITION BY c.dataset, c.rule, c.source, left(c.as_of, 7) ORDER BY c.as_of DESC) = 1
