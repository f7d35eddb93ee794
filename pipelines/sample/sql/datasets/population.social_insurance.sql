-- Persons of working age in one or two insurances; those who died are ended, except the planted ones. One in ten of those whose employer was
-- deregistered before they were insured keeps it (planted: employer_open_at_start); the others are with one that is open.
with insured as (
    select p.*, k.kind, d.still_insured, d.r is not null as died,
           if(d.r is not null and not d.still_insured, strftime(p.death_date, '%Y-%m'), null) as ended,
           below(getvariable('enterprises'), p.i, 'employer') as e,
           greatest(start_of(p.i), strftime(p.birth_date + to_months(12 * 17), '%Y-%m')) as start_month
    from world.person p left join world.dead d on d.i = p.i
    cross join (values ('11'), ('31')) k(kind)
    where p.age between 18 and 62 and (k.kind = '31' or below(100, p.i, 'employed') < 45)
      and (coalesce(d.still_insured, false) or below(100, p.i, 'insured') < 62)),
active as (select e, uscc, row_number() over (order by e) - 1 as place from world.registered where status_code = '1'),
employer as (
    select i.i, i.kind, if(closed, a.e, r.e) as e, if(closed, a.uscc, r.uscc) as uscc
    from (select i.*, i.e % (select count(*) from active) as place, r.uscc, r.status_code in ('3', '4') and strftime(r.status_date, '%Y-%m') < least(start_month, ended) and below(10, i.i, 'closed') > 0 as closed
          from insured i join world.registered r on r.e = i.e) i
    join world.registered r on r.e = i.e join active a on a.place = i.place)
select i.i * 2 + (i.kind = '31')::integer as _order, 'social_security' as _source, (1 + (i.city_code <> '640100')::integer)::varchar as _part,
       (getvariable('anchor') - 200 - below(2000, i.i, 'start')) as _since, coalesce(still_insured, false) as _guard,
       i.id_number, i.kind as insurance_type, least(start_month, ended) as start_ym,
       ended as end_ym, least(start_month, ended) as first_ym,
       case when died and not still_insured then '4'
           when below(100, i.i, 'paused') < 6 and not coalesce(still_insured, false) then '2' else '1' end as status_code,
       'R' || lpad((i.i + 100000)::varchar, 10, '0') as person_no, if(i.kind = '11', '企业职工', '城镇从业人员') as person_type,
       'D' || lpad(e.e::varchar, 8, '0') as employer_code, e.uscc as employer_uscc, i.county_code as region_code
from insured i join employer e on e.i = i.i and e.kind = i.kind
