-- zh: 批次得分：总分和各质量维度
-- en: Score of every batch: the whole and every dimension
-- grain: 一批一维度一行，总分的维度为 all — one row per batch and dimension; the whole is dimension all
-- rule: 与台账中批次得分相同 — the whole is the score the ledger keeps of the batch
-- columns:
--   batch_id: 报送批次 — Batch
--   revision: 修订号 — Revision of the batch
--   dataset: 数据资源 — Dataset
--   source: 报送渠道 — Source
--   month: 月份 — Month
--   dimension: 质量维度（指标前两位）或 all — Dimension, or all
--   checks: 已测量的检查数 — Number of checks that measured something
--   score: 得分 — Score, NULL when nothing was measured
SELECT b.batch_id, b.revision, b.dataset, b.source, b.month, s.indicator AS dimension, s.checks, s.score
FROM governance.scope_scores s JOIN governance.judged_batches b ON s.subject = b.batch_id || '~r' || b.revision
WHERE s.scope = 'batch' AND length(s.indicator) < 4
