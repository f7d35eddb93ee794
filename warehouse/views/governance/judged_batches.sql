-- zh: 计入得分的批次：已判定（入库或暂缓）批次的最新修订
-- en: Batches that count in scores: the newest revision of every judged batch, accepted or held
-- grain: 一个报送批次一行 — one row per batch
-- rule: 状态为 accepted、passed 或 held 且由质量门判定；读取阶段暂缓、拒读和被更正替代的修订不计 — held before its rules were judged, refused and
--   superseded revisions do not count
-- columns:
--   batch_id: 报送批次 — Batch
--   revision: 修订号 — Revision of the batch
--   dataset: 数据资源 — Dataset
--   source: 报送渠道 — Source
--   department: 数源部门 — Department that sends it
--   month: 报送月份 — Month of the batch date
--   batch_date: 报送日期 — Batch date
--   state: 状态 — State
--   records: 记录数 — Records read
--   copies: 重复记录数 — Identical copies in the batch
--   quarantined: 隔离记录数 — Records in quarantine
SELECT b.batch_id, b.revision, b.dataset, b.source, coalesce(s.department, b.source) AS department, left(b.batch_date, 7) AS month, b.batch_date,
    b.state, b.records, b.copies, b.quarantined
FROM governance.batches b LEFT JOIN governance.sources s ON s.dataset = b.dataset AND s.source = b.source
WHERE b.state IN ('accepted', 'passed', 'held') AND b.decided_by IS DISTINCT FROM 'stage'
QUALIFY b.revision = max(b.revision) OVER (PARTITION BY b.batch_id)
