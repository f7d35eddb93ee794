-- Licences granted at one city's counter. e % 4 = 1 are the enterprises that appear in credit data.
with granted as (
    select l, l % 20 = 13 as is_person, p.name as person_name, p.id_number as person_id, p.mobile as person_mobile, n.* exclude (status_code), greatest(n.establish_date + 10, days_before(getvariable('anchor'), 20 + below(1400, l, 'granted'))) as day,
           n.status_code as registered_status, n.status_code in ('2', '3', '4') and below(100, l, 'dead licence') >= 35 as closed,
           below(8, l, 'kind') as kind,
           if(below(100, l, 'open end') < 20, null, day + 1095 + 365 * below(3, l, 'years')) as valid_to
    from range(getvariable('licences')) t(l) join world.registered n on n.e = (4 * l + 1) % getvariable('enterprises')
    join world.adult r on r.r = natural_rank(getvariable('penalties') // 20 * 3 + 3 + l // 20) join world.person p on p.i = r.i)
select l as _order, 'administrative_approval' as _source, 'all' as _part, day + 3 as _since,
       registered_status in ('2', '3', '4') and not is_person as _guard,
       if(is_person, person_name, name) as subject_name, case when is_person then '2' when prefix = '92' then '3' else '1' end as subject_kind,
       if(is_person, null, uscc) as uscc, if(is_person, null, reg_no) as reg_no, if(is_person, null, org_code) as org_code,
       if(is_person or prefix = '92', null, uscc) as tax_no, null as institution_no, null as social_org_no,
       if(is_person, null, rep_name) as legal_rep_name, if(is_person, null, '111') as legal_rep_id_type,
       if(is_person, null, rep_id) as legal_rep_id_number, if(is_person, '111', null) as subject_id_type,
       if(is_person, person_id, null) as subject_id_number,
       '准予行政许可决定书' as document_name, '银审服准〔' || year(day) || '〕' || (l + 1) || '号' as decision_no,
       ['普通', '普通', '核准', '登记'][1 + kind % 4] as licence_kind,
       ['食品经营许可证', '卫生许可证', '道路运输经营许可证', '特种设备使用登记证'][1 + kind // 2] as licence_name,
       'JY' || lpad((l + 1000)::varchar, 12, '0') as licence_no,
       '准予' || if(is_person, person_name, name) || '从事' || trade_of(trade, 4) || '，联系电话' || if(is_person, person_mobile, rep_mobile) as licence_content,
       day::varchar as decision_date, day::varchar as valid_from,
       valid_to::varchar as valid_to,
       getvariable('department') as agency_name, getvariable('department_code') as agency_uscc,
       if(closed or valid_to < getvariable('anchor'), '2', '1') as status_code, getvariable('department') as provider_name,
       getvariable('department_code') as provider_uscc, null as remark
from granted
