-- The invented world: one county table, persons in households, the enterprises they run. Every value is a function
-- of (number, seed); `anchor` is the last batch date. Numbers: i person, h household, e enterprise.
-- A synthetic citizen number has a real county code and a valid check digit, so it may equal a real one.
create schema world;

create table world.county as
select row_number() over (order by code) - 1 as k, code, name, city_code, full_name
from read_csv(getvariable('reference') || '/admin_divisions.csv', all_varchar = true) where code like '64%' and level = '3';
create table world.far_county as
select row_number() over (order by code) - 1 as k, code
from read_csv(getvariable('reference') || '/admin_divisions.csv', all_varchar = true)
where level = '3' and code not like '64%' and code not like '7%' and code not like '8%';
create table world.old_code as
-- `current_code` only where every period of the code has the same successor.
select row_number() over (order by code) - 1 as k, code,
       if(count(distinct current_code) = 1 and count(current_code) = count(*), min(current_code), null) as current_code
from read_csv(getvariable('reference') || '/admin_divisions_obsolete.csv', all_varchar = true)
where code like '64%' and level = '3' and code not in (select code from world.county) group by code;
set variable old_codes = (select count(*) from world.old_code);
set variable far_counties = (select count(*) from world.far_county);

create table world.number as select i::bigint as i from range(getvariable('persons')) t(i);
create table world.place as
select i, h, member, size,
       case when below(100, h, 'city') < 45 then below(6, h, 'county') else 6 + below(16, h, 'county') end as county,
       below(100, h, 'folk') as folk
from (
    select i, i // 12 * 6 + letter(['011222333444', '001122223333', '000111122222', '012233344444'][1 + p], i % 12)::bigint as h,
           letter(['001012012012', '010101230123', '012012301234', '000101201234'][1 + p], i % 12)::integer as member,
           letter(['122333333333', '222244444444', '333444455555', '112233355555'][1 + p], i % 12)::integer as size
    from (select i, below(4, i // 12, 'pattern') as p from world.number));

create table world.born as
with head as (
    select *, days_before(getvariable('anchor'), 365 * case when size = 1 then 22 + below(68, h, 'age')
                  when size = 2 then 25 + below(58, h, 'age') else 28 + below(38, h, 'age') end
                  + below(365, h, 'day')) as head_birth,
           below(100, h, 'sex') < 65 as head_male
    from world.place),
pair as (
    select *, days_before(head_birth, 1500 - below(3000, h, 'spouse')) as spouse_birth from head)
select * exclude (head_birth, spouse_birth, head_male),
       case member when 0 then head_birth when 1 then spouse_birth
           when 4 then days_before(head_birth, 365 * (22 + below(10, i, 'parent')) + below(365, i, 'day'))
           else least(greatest(head_birth, spouse_birth) + 365 * (20 + below(14, i, 'child')) + below(365, i, 'day'),
                      days_before(getvariable('anchor'), 30 + below(1500, i, 'young')))::date end as birth_date,
       case member when 0 then head_male when 1 then not head_male else below(100, i, 'sex') < 51 end as male
from pair;

create table world.person as
with coded as (
    select b.*, c.code as county_code, c.city_code, c.full_name as county_name,
           case when below(100, i, 'birthplace') < 12 and year(birth_date) < 2000 then o.code
               when below(100, i, 'birthplace') > 95 then f.code else c.code end as id_region,
           years_old(birth_date, getvariable('anchor')) as age
    from world.born b join world.county c on c.k = b.county
    join world.old_code o on o.k = below(getvariable('old_codes'), i, 'old')
    join world.far_county f on f.k = below(getvariable('far_counties'), i, 'far')),
numbered as (
    select *, (below(490, id_region || birth_date::varchar, 'seq')
               + row_number() over (partition by id_region, birth_date, male order by i)) % 490 as seq from coded)
select i, h, member, size, county, county_code, city_code, county_name, birth_date, male, age, id_region,
       resident_id_of(id_region, birth_date, 2 * seq + if(male, 1, 2)) as id_number,
       case when folk >= 97 then minority(below(48, i, 'name'))
           else surname(case when member in (1, 4) then below(160, i, 'surname') else below(160, h, 'surname') end)
               || given(below(40, i, 'given')) || case
               when below(100, i, 'length') < 15 then ''
               when below(100, i, 'length') < 18 then rare(below(6, i, 'rare'))
               else given(below(40, i, 'given2')) end end as name,
       if(male, '1', '2') as sex_code,
       case when folk < 55 then '01' when folk < 92 then '03' when folk < 95 then '11' when folk < 97 then '02' else '05' end as ethnic_code,
       '154' || lpad(((i * 48271 + getvariable('seed') * 7919) % 100000000)::varchar, 8, '0') as mobile,
       below(3, h, 'township') as township,
       '示范' || ['梧桐', '白杨', '海棠', '银杏', '丁香', '枫林', '紫藤', '玉兰'][1 + below(8, h, 'road')] || '路'
           || (1 + below(398, h, 'no')) || '号' || (1 + below(30, h, 'block')) || '栋' || (1 + below(6, h, 'unit')) || '单元'
           || (1 + below(26, h, 'floor')) || '0' || (1 + below(4, h, 'room')) || '室' as door,
       case when age >= 3 and below(10000, i, 'dies') < case when age >= 80 then 2400 when age >= 70 then 1100
                when age >= 50 then 280 else 28 end
           then days_before(getvariable('anchor'), 20 + below(1000, i, 'death')) end as death_date,
       days_before(getvariable('anchor'), 40 + below(3000, i, 'updated')) as updated_on,
       below(60, i, 'moves') = 0 as moves
from numbered
order by i;

-- Who can hold office: living heads and spouses of working age, numbered without gaps; and the dead, likewise.
create table world.adult as
select row_number() over (order by i) - 1 as r, i from world.person where member < 2 and age between 22 and 75 and death_date is null;
create table world.dead as
select *, age >= 60 and old % 33 = 3 as late_pay, age between 18 and 62 and working % 10 = 1 as still_insured
from (select i, age, death_date, row_number() over (order by age < 30, draw(i, 'dead'), i) - 1 as r,
             row_number() over (partition by age >= 60 order by draw(i, 'dead'), i) as old,
             row_number() over (partition by age between 18 and 62 order by draw(i, 'dead'), i) as working
      from world.person where death_date is not null);
set variable adults = (select count(*) from world.adult);

-- Enterprises. Planted among them: e % 500 < 6 share one legal representative, 100-111 one address (views of shell
-- clusters), e % 250 = 17 has a dead legal representative.
create table world.office as
with kinds as (
    select e::bigint as e, below(100, e::bigint, 'kind') as kind, e % 500 as slot,
           (e // 500 * 500 + 112 <= getvariable('enterprises')) as whole,
           days_before(getvariable('anchor'), 120 + below(7000, e::bigint, 'since')) as establish_date
    from range(getvariable('enterprises')) t(e)),
held as (
    select k.*, whole and slot < 6 as shared_rep, whole and slot between 100 and 111 as shared_address, d.i as dead_rep,
           coalesce(d.i, a.i) as rep,
           if(whole and slot between 100 and 111, -1 - e // 500, e) as spot
    from kinds k
    left join world.dead d on d.r = if(k.e % 250 = 17, k.e // 250, -1) and d.age >= 30
    join world.adult a on a.r = if(whole and slot < 6, k.e - slot, k.e) * 2 % getvariable('adults'))
select v.e, v.kind, v.slot, v.spot, v.establish_date, v.shared_rep, v.shared_address, v.dead_rep is not null as dead_rep,
       v.rep, p.name as rep_name, p.id_number as rep_id, p.mobile as rep_mobile,
       c.code as county_code, c.city_code, c.full_name as county_name,
       (v.e * 7919 + getvariable('seed')) % 28629151 as shuffled,
       (v.e * 7919 + getvariable('seed')) % 1000000 as mark,
       case when v.kind < 78 or v.shared_address then '91' when v.kind < 94 then '92' else '93' end as prefix
from held v join world.person p on p.i = v.rep
join world.county c on c.k = if(v.spot < 0, below(22, v.spot, 'county'), p.county)
order by v.e;

create table world.enterprise as
with coded as (select *, 'MA7' || base31(shuffled) as org_stem from world.office),
checked as (select *, org_code_of(org_stem) as org_code from coded)
select *, uscc_of(prefix || county_code || org_code) as uscc,
       reg_no_of(county_code || if(prefix = '92', '6', '2') || lpad((e % 10000000)::varchar, 7, '0')) as reg_no,
       case when shared_rep or shared_address or dead_rep or below(100, e, 'status') < 88 then '1'
           when below(100, e, 'status') < 93 then '4' when below(100, e, 'status') < 96 then '2'
           when below(100, e, 'status') < 97 then '3' when below(100, e, 'status') < 98 then '5' else '6' end as status_code,
       letter(getvariable('mark'), (mark // 10000)::integer)
           || letter(getvariable('mark'), (mark % 10000 // 100)::integer)
           || letter(getvariable('mark'), (mark % 100)::integer) as brand,
       below(8, e, 'trade') as trade,
       (5 + below(200, e, 'capital')) * 10 as capital,
       '样板' || ['创业', '科技', '物流', '商贸'][1 + below(4, spot, 'park')] || '园' || (1 + below(60, spot, 'house'))
           || '号楼' || (101 + abs(spot) % 7000) || '室' as door,
       below(3, spot, 'township') as township
from checked
order by e;

-- What the register says about an enterprise. `guarded` rows stay clean: a lead of a theme view hangs on them.
create table world.registered as
select *, case prefix when '93' then county_short || brand || trade_of(trade, 3) || '农民专业合作社'
           when '92' then county_short || brand || trade_of(trade, 3) || '店'
           else case when below(4, e, 'brackets') = 0 then brand || '（宁夏）' else '宁夏' || brand end || trade_of(trade, 3)
               || if(below(3, e, 'form') = 0, '有限责任公司', '有限公司') end as name,
       case when prefix = '91' and (below(10, e, 'renamed') = 0 or e % 4 = 1 and e // 4 % 40 = 7)
           then '宁夏旧' || brand || trade_of(trade, 3) || '有限公司' end as former_name,
       case prefix when '93' then '9100' when '92' then '9500' else ['1130', '1151', '1190', '1110'][1 + below(4, e, 'type')] end
           as entity_type_code,
       below(3, e, 'term') > 0 as long_term,
       case when status_code <> '1' then greatest(establish_date + 30, days_before(getvariable('anchor'), 30 + below(1500, e, 'ended'))) end
           as status_date,
       days_before(getvariable('anchor'), below(400, e, 'changed')) as changed_on,
       shared_rep or shared_address or dead_rep or e % 4 = 1 as guarded
from (select *, regexp_replace(county_name, '^宁夏回族自治区.*?市(.+)$', '\1') as county_short from world.enterprise)
order by e;
