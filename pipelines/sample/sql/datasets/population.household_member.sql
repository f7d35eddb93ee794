-- Who belongs to which household: one file per city. Nobody joins on 1970-01-01, a day that means "no date" in many systems.
select i as _order, 'public_security' as _source, city_code as _part, birth_date as _since, false as _guard,
       household_no_of(county_code, h) as household_no, id_number, relation_of(member, male) as relation_code,
       (joined + (joined = date '1970-01-01')::integer)::varchar as join_date,
       if(death_date + 10 < getvariable('batch'), (death_date + 10)::varchar, null) as leave_date,
       county_code as region_code
from (select *, if(member > 1, birth_date, birth_date + 365 * 18 + below(1000, i, 'join'))::date as joined from world.person)
