-- Building blocks of the sample: seeded draws, identifiers, names. The check digits are computed here by
-- arithmetic of their own, not by warehouse/macros: the sample is the oracle the lake is judged against.

-- A draw: the same (thing, purpose, seed) gives the same number for ever.
create macro draw(thing, purpose) as hash(thing, purpose, getvariable('seed'));
create macro below(n, thing, purpose) as (draw(thing, purpose) % n)::integer;
create macro letter(pool, n) as substr(pool, 1 + n, 1);
create macro days_before(day, n) as (day - n::integer)::date;
create macro years_old(birth, day) as (year(day) - year(birth))::integer - (month(birth) * 100 + day(birth) > month(day) * 100 + day(day))::integer;

-- GB 11643-1999: check character of the 17 digits held by the number n.
create macro resident_check(n) as letter('10X98765432', ((
      n // 10000000000000000 % 10 * 7 + n // 1000000000000000 % 10 * 9 + n // 100000000000000 % 10 * 10
    + n // 10000000000000 % 10 * 5 + n // 1000000000000 % 10 * 8 + n // 100000000000 % 10 * 4
    + n // 10000000000 % 10 * 2 + n // 1000000000 % 10 * 1 + n // 100000000 % 10 * 6
    + n // 10000000 % 10 * 3 + n // 1000000 % 10 * 7 + n // 100000 % 10 * 9 + n // 10000 % 10 * 10
    + n // 1000 % 10 * 5 + n // 100 % 10 * 8 + n // 10 % 10 * 4 + n % 10 * 2) % 11)::integer);
create macro resident_id_of(region, birth, seq) as
    (region::bigint * 100000000000 + (year(birth) * 10000 + month(birth) * 100 + day(birth)) * 1000 + seq)::varchar
    || resident_check(region::bigint * 100000000000 + (year(birth) * 10000 + month(birth) * 100 + day(birth)) * 1000 + seq);

-- GB 32100-2015 and GB 11714-1997. c9 is the value of a character: 0-9, A=10 … Z=35 (organisation code),
-- c31 its position in the alphabet without I O S V Z (credit code).
create macro c9(s, i) as strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(s, i, 1)) - 1;
create macro c31(s, i) as strpos('0123456789ABCDEFGHJKLMNPQRTUWXY', substr(s, i, 1)) - 1;
create macro org_code_of(s) as s || letter('0123456789X0', ((11 - (c9(s, 1) * 3 + c9(s, 2) * 7 + c9(s, 3) * 9
    + c9(s, 4) * 10 + c9(s, 5) * 5 + c9(s, 6) * 8 + c9(s, 7) * 4 + c9(s, 8) * 2) % 11))::integer);
create macro uscc_of(s) as s || letter('0123456789ABCDEFGHJKLMNPQRTUWXY', ((31 - (c31(s, 1) + c31(s, 2) * 3
    + c31(s, 3) * 9 + c31(s, 4) * 27 + c31(s, 5) * 19 + c31(s, 6) * 26 + c31(s, 7) * 16 + c31(s, 8) * 17
    + c31(s, 9) * 20 + c31(s, 10) * 29 + c31(s, 11) * 25 + c31(s, 12) * 13 + c31(s, 13) * 8 + c31(s, 14) * 24
    + c31(s, 15) * 10 + c31(s, 16) * 30 + c31(s, 17) * 28) % 31) % 31)::integer);
create macro base31(n) as
    letter('0123456789ABCDEFGHJKLMNPQRTUWXY', (n // 923521 % 31)::integer)
    || letter('0123456789ABCDEFGHJKLMNPQRTUWXY', (n // 29791 % 31)::integer)
    || letter('0123456789ABCDEFGHJKLMNPQRTUWXY', (n // 961 % 31)::integer)
    || letter('0123456789ABCDEFGHJKLMNPQRTUWXY', (n // 31 % 31)::integer)
    || letter('0123456789ABCDEFGHJKLMNPQRTUWXY', (n % 31)::integer);
-- GS 15-2006 with ISO 7064 MOD 11,10 over the 14 digits of s.
create macro mod1110(p, d) as 2 * (case when (p + d) % 10 = 0 then 10 else (p + d) % 10 end) % 11;
create macro reg_no_of(s) as s || ((11 - list_reduce(
    list_prepend(10, list_transform(string_split(s, ''), lambda c: c::integer)), lambda p, d: mod1110(p, d))) % 10)::varchar;

-- Names: invented, from characters that occur in no region, trade or column name, so that a search for a name
-- in published files finds leaks only.
create macro surname(n) as case when n % 40 = 39 then ['欧阳', '司马', '上官', '诸葛'][1 + n // 40 % 4]
    else letter('赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏水窦', n % 40) end;
create macro given(n) as letter('芷蘅昀霁珩璟翊彧榕蓁筠琰峤澍苒绡骞朔霖黛'
    || '谌旻皓栩滢嵘妍祯珞笙煜泓晗瑾茗筱颢琬翎悠', n % 40);
create macro rare(n) as letter('㛃䶮𠮷𫖯𬭎喆', n % 6);
create macro minority(n) as ['阿依努尔', '买热木', '努尔兰', '巴特尔', '乌日娜', '热依汗', '吐尔逊', '帕提曼'][1 + n % 8]
    || '·' || ['艾则孜', '赛力克', '依布拉音', '其木格', '玉素甫', '达吾提'][1 + n // 8 % 6];

-- Words shared by several submissions.
create macro address_at(place, township, door) as place || '示例' || ['一', '二', '三'][1 + township] || '街道' || door;
create macro household_no_of(county, h) as county || lpad(h::varchar, 9, '0');
create macro relation_of(member, male) as case member when 0 then '02' when 1 then if(male, '11', '12')
    when 4 then if(male, '51', '52') else if(male, '20', '30') end;
create macro start_of(i) as strftime(getvariable('anchor') - to_months(6 + below(100, i, 'insured since')), '%Y-%m');
create macro trade_of(trade, part) as [
    ['F', '5211', '百货零售', '日用百货销售'], ['F', '5143', '食品批发', '预包装食品批发'],
    ['H', '6210', '餐饮', '餐饮服务'],
    ['C', '1340', '食品制造', '食品生产加工'], ['I', '6513', '软件', '软件开发与技术服务'], ['G', '5431', '货运', '普通货物道路运输'],
    ['E', '4700', '建筑', '房屋建筑工程施工'], ['A', '0111', '种植', '谷物种植与销售']][1 + trade][part];

-- Who serves where: disjoint ranges of living adults, so that no lead arises by chance.
create macro second_rank(e) as (e * 2 + 1) % getvariable('adults');
create macro supervisor_rank(e) as (getvariable('enterprises') * 2 + e) % getvariable('adults');
create macro defaulter_rank(d) as (getvariable('enterprises') * 3 + d) % getvariable('adults');
create macro natural_rank(f) as (getvariable('enterprises') * 4 + f) % getvariable('adults');
