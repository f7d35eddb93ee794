"""Divisions over time: a place has the same population before and after its code changed (real changes 2010–2026).

The expectations below are written down by hand from the State Council's approvals, apart from the CSV files, which had some of them wrong:
names matched across cities (石家庄桥东区 → 邢台桥东区), and county-level cities taken for the prefecture of the same name.
"""
from __future__ import annotations

import pytest

# old code, day on which it was in force, day after the change, codes of the same place then; None: no need to say which change
ONE_TO_ONE = """
110228 2014-06-01 110118  密云县 撤县设区 2015
110229 2014-06-01 110119  延庆县 撤县设区 2015
120225 2015-06-01 120119  蓟县
130182 2013-06-01 130109  藁城市
130323 2014-06-01 130306  抚宁县
140203 2017-06-01 140214  大同矿区 → 云冈区, not 阳泉矿区 140303
220381 2019-06-01 220184  公主岭市, from 四平 to 长春
310230 2015-06-01 310151  崇明县
320124 2012-06-01 320117  溧水县
320584 2010-06-01 320509  吴江市
330183 2013-06-01 330111  富阳市
330185 2016-06-01 330112  临安市
340823 2014-06-01 340722  枞阳县, from 安庆 to 铜陵
341421 2010-06-01 340124  庐江县, from 巢湖 to 合肥
341422 2010-06-01 340281  无为县 → 340225 (2011) → 无为市 (2019): a chain
341423 2010-06-01 340522  含山县
341424 2010-06-01 340523  和县
341521 2014-06-01 340422  寿县, from 六安 to 淮南
360721 2015-06-01 360704  赣县 → 赣县区
370125 2017-06-01 370115  济阳县
371202 2017-06-01 370116  莱城区 → 济南市莱芜区
371203 2017-06-01 370117  钢城区
430124 2016-06-01 430182  宁乡县
440183 2013-06-01 440118  增城市
440184 2013-06-01 440117  从化市
450127 2020-06-01 450181  横县
512081 2015-06-01 510185  简阳市, from 资阳 to 成都
522201 2010-06-01 520602  铜仁市 (county level) → 碧江区, not the new prefecture
522401 2010-06-01 520502  毕节市 (county level) → 七星关区
522423 2010-06-01 520581  黔西县 → 520522 → 黔西市: a chain
530121 2010-06-01 530114  呈贡县
542121 2013-06-01 540302  昌都县
542301 2013-06-01 540202  日喀则市 (county level) → 桑珠孜区
542421 2016-06-01 540602  那曲县
542623 2013-06-01 540481  米林县 → 540422 → 米林市: a chain
610125 2015-06-01 610118  户县
632121 2011-06-01 630203  平安县 → 630221 → 平安区: a chain
652101 2014-06-01 650402  吐鲁番市 (county level) → 高昌区
420600 2009-06-01 420600  襄樊市 → 襄阳市, the same code
371324 2012-06-01 371324  苍山县 → 兰陵县, the same code
632100 2011-06-01 630200  海东地区 → 海东市
522200 2010-06-01 520600  铜仁地区 → 铜仁市
"""
MERGED = """
110101 110103  110101  东城、崇文 2010
110102 110104  110102  西城、宣武 2010
310101 310103  310101  黄浦、卢湾 2011
310106 310108  310106  静安、闸北 2015
320104 320103  320104  秦淮、白下 2013
320106 320107  320106  鼓楼、下关 2013
320502 320503 320504  320508  沧浪、平江、金阊 → 姑苏 2012
320202 320203 320204  320213  崇安、南长、北塘 → 梁溪 2015
320802 320811  320812  清河、清浦 → 清江浦 2016
330103 330105  330105  下城、拱墅 2021
340702 340703  340705  铜官山、狮子山 → 铜官 2015
370203 370205  370203  市北、四方 2012
370211 370284  370211  黄岛、胶南 2012
410306 410322  410308  吉利、孟津 → 孟津区 2021
440112 440116  440112  黄埔、萝岗 2014
440903 440923  440904  茂港、电白 → 电白区 2014
500110 500222  500110  万盛、綦江 → 綦江区 2011: a code used again
500111 500225  500111  双桥、大足 → 大足区 2011: a code used again
230702 230708  230717  伊春、美溪 → 伊美 2019
230707 230710 230715  230724  新青、五营、红星 → 丰林 2019
"""
SPLIT = """
130103 2013-06-01 130102,130104  石家庄桥东区 → 长安、桥西 2014, not 邢台桥东区
140211 2017-06-01 140213,140214  南郊区 → 平城、云冈 2018
330104 2019-06-01 330102,330114  江干区 → 上城、钱塘 2021
330110 2019-06-01 330110,330113  余杭区 → 余杭、临平 2021: the code goes on
440306 2012-06-01 440306,440309,440311  宝安区 → 宝安、龙华、光明
341400 2010-06-01 340100,340200,340500  巢湖市 → 合肥、芜湖、马鞍山 2011
"""
TODAY = "DATE '2026-11-01'"




def known() -> list[tuple[str, str, list[str]]]:
    """(code, day, codes today) of every hand-written case."""
    found = [(code, day, after.split(",")) for table in (ONE_TO_ONE, SPLIT) for code, day, after, *_ in
             ([*line.split()[:3]] for line in table.strip().splitlines())]
    for line in MERGED.strip().splitlines():
        codes = [w for w in line.split() if w.isdigit() and len(w) == 6]
        found += [(code, "2009-12-01" if codes[-1] != "410308" else "2015-06-01", [codes[-1]]) for code in codes[:-1]]
    return found


@pytest.mark.parametrize("code, day, after", known(), ids=lambda value: value if isinstance(value, str) else "")
def test_known_changes_lead_to_the_codes_of_today(con, code, day, after):
    assert con.execute(f"SELECT region_at($1, $2::DATE, {TODAY})", [code, day]).fetchone()[0] == after
    one = con.execute("SELECT region_now($1, $2::DATE)", [code, day]).fetchone()[0]
    assert one == (after[0] if len(after) == 1 else None)


def test_there_and_back(con):
    """What a code of today was called on an earlier day."""
    back = dict(con.execute(f"SELECT c, region_at(c, {TODAY}, DATE '2009-06-01') FROM (SELECT unnest(['520581', '320508', '340281', '330113', '110101']) AS c)").fetchall())
    assert back == {"520581": ["522423"], "320508": ["320502", "320503", "320504"], "340281": ["341422"], "330113": ["330110"], "110101": ["110101", "110103"]}


def test_the_population_of_a_place_is_the_same_before_and_after(con):
    """Persons of known places, counted under the codes of their day: before each change and after it, sums per comparable area are equal."""
    con.execute("CREATE OR REPLACE TEMP TABLE place(code VARCHAR, day DATE, after VARCHAR[], persons INTEGER)")
    con.executemany("INSERT INTO place VALUES (?, ?, ?, ?)", [(c, d, a, 1000 + 7 * i) for i, (c, d, a) in enumerate(known())])
    # Before: everybody stands under the old code. After: under the new ones, of a split in unequal parts that nobody knows.
    con.execute("""CREATE OR REPLACE TEMP TABLE registered AS
        SELECT code, day, persons FROM place
        UNION ALL
        SELECT unnest(after), DATE '2026-11-01', unnest(list_transform(after, lambda c, i: CASE WHEN i = 1 THEN persons - 13 * (len(after) - 1) ELSE 13 END)) FROM place""")
    found = con.execute(f"""SELECT region_comparable(code, day) AS area, sum(persons) FILTER (day < {TODAY}) AS before, sum(persons) FILTER (day = {TODAY}) AS after
                            FROM registered GROUP BY area""").fetchall()
    total = sum(1000 + 7 * i for i in range(len(known())))
    assert None not in [a for a, _, _ in found] and [f for f in found if f[1] != f[2]] == []
    assert sum(b for _, b, _ in found) == total
    # By code alone the same series breaks for nearly every place.
    broken = con.execute(f"SELECT count(*) FROM (SELECT code FROM registered GROUP BY code HAVING sum(persons) FILTER (day < {TODAY}) IS DISTINCT FROM sum(persons) FILTER (day = {TODAY}))")
    assert broken.fetchone()[0] > 100


def test_every_real_change_since_2010_conserves_population(con):
    """All rows of the obsolete list that ended in 2010 or later, not only the known ones: none is lost, none is counted twice."""
    found = con.execute("""
        WITH old AS (SELECT code, name, valid_from, coalesce(valid_to, DATE '9999-12-31') AS last FROM reference.region WHERE NOT is_current AND valid_to >= DATE '2010-01-01'),
        today AS (SELECT o.code, o.name, t.* FROM old o LEFT JOIN reference.region_today t ON t.code = o.code AND t.name = o.name AND t.valid_from >= o.valid_from AND t.valid_from <= o.last)
        SELECT count(DISTINCT (code, name)), count(*) FILTER (today_code IS NULL), count(DISTINCT comparable_code) FILTER (comparable_code IS NOT NULL) FROM today""").fetchone()
    assert found[0] >= 395 and found[1] == 0
    several = con.execute("""SELECT code, name FROM reference.region_today WHERE coalesce(valid_to, DATE '9999-12-31') >= DATE '2010-01-01'
                             GROUP BY code, name, valid_from HAVING count(DISTINCT comparable_code) <> 1""").fetchall()
    assert several == []
    outside = con.execute("SELECT DISTINCT today_code FROM reference.region_today WHERE today_code NOT IN (SELECT code FROM reference.admin_division)").fetchall()
    assert outside == []


def test_a_code_means_one_thing_on_one_day(con):
    """Periods of one code do not overlap, also where it was used again: a join by code and date never doubles a row but for a split."""
    assert con.execute("""SELECT a.code FROM reference.region_today a JOIN reference.region_today b ON a.code = b.code AND a.valid_from < b.valid_from
                          WHERE b.valid_from <= coalesce(a.valid_to, DATE '9999-12-31')""").fetchall() == []
    assert con.execute("SELECT code, valid_from FROM reference.region_today WHERE kind <> 'split' GROUP BY ALL HAVING count(*) > 1").fetchall() == []
    assert con.execute("SELECT list(region_name(code, d) ORDER BY d) FROM (SELECT '500110' AS code, unnest([DATE '2005-01-01', DATE '2020-01-01']) AS d)").fetchone()[0] == ["万盛区", "綦江区"]


def test_kinds_are_told(con):
    kinds = dict(con.execute("""SELECT code, any_value(kind) FROM reference.region_today WHERE valid_to >= DATE '2009-12-31'
                                AND code IN ('110103', '330104', '522423', '420600', '469003', '330110') GROUP BY code""").fetchall())
    assert kinds == {"110103": "merged", "330104": "split", "522423": "recoded", "420600": "renamed", "469003": "level", "330110": "split"}
    steps = con.execute("SELECT kind, count(*) FROM reference.region_successor WHERE valid_to >= DATE '2010-01-01' GROUP BY kind").fetchall()
    assert {"recoded", "renamed", "merged", "split", "transferred", "remains", "level"} == {k for k, _ in steps}
    assert con.execute("SELECT code, count(*) FROM reference.region_successor WHERE kind IN ('transferred', 'remains') GROUP BY code, valid_from HAVING count(*) < 2").fetchall() == []


def test_names_in_other_provinces_are_no_successors(con):
    """The source took 南宁's 城北区 for 西宁's, 成都's 东城区 for 北京's."""
    wrong = con.execute("""SELECT code, successor_code FROM reference.region WHERE left(code, 2) <> left(successor_code, 2)
                           AND left(code, 2) || left(successor_code, 2) NOT IN ('4446', '5150')""").fetchall()
    assert wrong == []
    assert con.execute(f"SELECT region_at('510102', DATE '1985-01-01', {TODAY})").fetchone()[0] == []
