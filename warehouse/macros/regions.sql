-- 某日的区划代码在另一日的代码 (列表；拆分则多个，不明则空)。The codes, on to_date, of the place that had this code on from_date: several after a
-- split, none when unknown; to_date may lie before from_date.
CREATE OR REPLACE MACRO region_at(x, from_date, to_date) AS
  (SELECT coalesce(list_sort(list(DISTINCT CASE WHEN to_date >= from_date THEN __other ELSE __code END)), [])
   FROM (SELECT "code" AS __code, valid_from AS __from, coalesce(valid_to, DATE '9999-12-31') AS __to,
                other_code AS __other, other_from AS __other_from, coalesce(other_to, DATE '9999-12-31') AS __other_to FROM reference.region_line)
   WHERE CASE WHEN to_date >= from_date
              THEN __code = x AND from_date BETWEEN __from AND __to AND to_date BETWEEN __other_from AND __other_to
              ELSE __other = x AND from_date BETWEEN __other_from AND __other_to AND to_date BETWEEN __from AND __to END);
-- 某日的区划代码今天对应的代码 (整体对应一个时；拆分为空)。The code in force today of the place that had this code on a day, where all of it is one.
CREATE OR REPLACE MACRO region_now(x, as_of) AS
  (SELECT CASE WHEN count(*) = 1 THEN min(__today) END
   FROM (SELECT "code" AS __code, valid_from AS __from, coalesce(valid_to, DATE '9999-12-31') AS __to, today_code AS __today FROM reference.region_today)
   WHERE __code = x AND as_of BETWEEN __from AND __to);
-- 可比区域 (2010 年以来拆分、划出的区划合为一处，变更前后人口可比)。The area that can be compared: divisions that were split or gave a part away since 2010
-- count as one, so that a series has no break.
CREATE OR REPLACE MACRO region_comparable(x, as_of) AS
  (SELECT min(__area)
   FROM (SELECT "code" AS __code, valid_from AS __from, coalesce(valid_to, DATE '9999-12-31') AS __to, comparable_code AS __area FROM reference.region_today)
   WHERE __code = x AND as_of BETWEEN __from AND __to);
