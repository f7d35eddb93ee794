-- The hukou register at the batch date: one file per city, everybody born before that day.
select i as _order, 'public_security' as _source, city_code as _part, birth_date as _since, false as _guard,
       id_number, '111' as id_type, name,
       case when below(100, i, 'former') < 2 then surname(below(38, i, 'former2')) || given(below(40, i, 'former3'))
           || given(below(40, i, 'former4')) end as former_name,
       sex_code, ethnic_code, birth_date::varchar as birth_date,
       id_region as birth_region_code, county_code as native_region_code, county_code as hukou_region_code,
       address_at(county_name, township, if(moves and moved_on > getvariable('batch'), '示范旧城路' || (1 + i % 997) || '号', door))
           as hukou_address,
       county_code || '1' || (township + 1) || '0000' as police_station_code,
       replace(county_name, '宁夏回族自治区', '') || '示例' || (township + 1) || '号派出所' as police_station_name,
       county_code || '00' || (township + 1) as township_code,
       county_code || '00' || (township + 1) || '00' || (1 + below(9, h, 'committee')) as committee_code,
       household_no_of(county_code, h) as household_no, '1' as household_type,
       relation_of(member, male) as relation_to_head,
       case when age < 22 then '10' when member = 4 then '30' when size > 1 and member < 2 then '20' else '10' end as marital_code,
       case when age < 12 then null when age < 15 then '80' when age < 22 then '70'
           else ['70', '60', '41', '30', '20', '81'][1 + below(6, i, 'education')] end as education_code,
       case when male and age >= 20 and below(100, i, 'military') < 4 then '2' else '0' end as military_status,
       case when ethnic_code in ('03', '05') and below(100, i, 'religion') < 60 then '70' else '00' end as religion_code,
       case when age >= 20 and below(100, i, 'party') < 8 then '01' when age between 14 and 28 then '03' else '13' end as political_code,
       'xp/' || lpad(i::varchar, 9, '0') || '.jpg' as photo_ref,
       if(gone, death_date::varchar, null) as death_date, if(gone, '正常死亡', null) as death_cancel_type,
       null as moveout_date, null as moveout_type,
       if(gone, (death_date + 10)::varchar, null) as cancel_date, if(gone, '1', '0') as cancel_flag,
       strftime(least(greatest(updated_on, birth_date + 20, if(moves and moved_on <= getvariable('batch'), moved_on, null),
                               if(gone, death_date + 10, null)), greatest(getvariable('batch') - 1, birth_date)), '%Y-%m-%d')
           || ' ' || lpad(below(24, i, 'hour')::varchar, 2, '0') || ':' || lpad(below(60, i, 'minute')::varchar, 2, '0') || ':00'
           as source_updated_at
from (select *, coalesce(death_date + 10 < getvariable('batch'), false) as gone,
             days_before(getvariable('anchor'), below(150, i, 'moved')) as moved_on from world.person)
