-- 统计口径：专题视图共用，分析人员也可直接调用。What the views count by; analysts may use the same.

-- 在册：未注销、未登记死亡、未迁出。On the register: not cancelled, no death noted, not moved out.
CREATE OR REPLACE MACRO is_registered(cancel_flag, death_year, moveout_year) AS
  coalesce(cancel_flag, '0') <> '1' AND death_year IS NULL AND moveout_year IS NULL;

-- 五岁组下限，90 岁以上并为一组；出生年份未知为 NULL。First age of the band of five years; one band from 90; NULL when the age is not known.
CREATE OR REPLACE MACRO age_band_from(age) AS CASE WHEN age >= 0 THEN least(age // 5 * 5, 90)::INTEGER END;
-- 五岁组名称，如 15-19、90+、未知。The words of a band that begins at this age.
CREATE OR REPLACE MACRO age_band(age_from) AS
  CASE WHEN age_from IS NULL THEN '未知' WHEN age_from >= 90 THEN '90+' ELSE age_from || '-' || (age_from + 4) END;

-- 两日之间的工作日数（不含起日，含止日）；只除周末，不含法定节假日和调休。
-- Working days after the first day up to and with the last; weekends only, no public holidays. 1900-01-01 was a Monday.
CREATE OR REPLACE MACRO _weekdays_until(day) AS (day - DATE '1900-01-01') // 7 * 5 + least((day - DATE '1900-01-01') % 7 + 1, 5);
CREATE OR REPLACE MACRO working_days(since, until) AS (_weekdays_until(until) - _weekdays_until(since))::INTEGER;

-- 小单元抑制：少于 10 人（户）的单元不发布（DOMAIN 5.6：分级降为 2 的条件）。
-- Cells under 10 are not published: `fewest_shown()` is that bound, in one place.
CREATE OR REPLACE MACRO fewest_shown() AS 10;
-- 单元数值是否少于下限且不为零。A cell that is not empty and holds fewer than the bound.
CREATE OR REPLACE MACRO is_small(cell_count) AS coalesce(cell_count BETWEEN 1 AND fewest_shown() - 1, false);
-- 分组内是否抑制：小单元全部抑制；若只有一个，或合计仍少于下限，再抑制最小的一个非小单元，使其不能由分组合计减出。
-- Is this cell hidden within its group, whose total is published? Every small cell is, and, where it stands alone or all of them together
-- are fewer than the bound, the smallest other cell with it (the complementary cell), so that no subtraction from the total gives it back.
-- `cell_group`: what the total is over; `cell_order`: breaks ties, so that the same cell is hidden every time. No cell may have the count 0.
CREATE OR REPLACE MACRO is_suppressed(cell_count, cell_group, cell_order) AS
  is_small(cell_count)
  OR ((count(*) FILTER (WHERE is_small(cell_count)) OVER (PARTITION BY cell_group) = 1
       OR coalesce(sum(cell_count) FILTER (WHERE is_small(cell_count)) OVER (PARTITION BY cell_group) < fewest_shown(), false))
      AND row_number() OVER (PARTITION BY cell_group ORDER BY cell_count, cell_order)
          = 1 + count(*) FILTER (WHERE is_small(cell_count)) OVER (PARTITION BY cell_group));
-- 抑制后的数值。The count, NULL where it is hidden.
CREATE OR REPLACE MACRO unless_suppressed(cell_count, is_hidden) AS CASE WHEN NOT is_hidden THEN cell_count END;
