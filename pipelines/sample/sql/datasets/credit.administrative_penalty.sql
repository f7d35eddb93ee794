-- Penalties: 85 of 100 on enterprises with e % 4 = 1, the others on natural persons. `odd` rows are planted to match no
-- enterprise by credit code: 3 organisation code only, 7 former name only, 11 licence number only, 15 unknown to the register.
with decided as (
    select f, f % 20 >= 17 as is_person, if(f % 20 >= 17, 0, f % 40) as odd, n.*,
           p.name as person_name, p.id_number as person_id, p.mobile as person_mobile,
           greatest(n.establish_date + 30, days_before(getvariable('anchor'), 20 + below(1000, f, 'decided'))) as day,
           5 + below(400, f, 'fine') as hundreds, below(4, f, 'matter') as matter
    from range(getvariable('penalties')) t(f)
    join world.registered n on n.e = (4 * f + 1) % getvariable('enterprises')
    join world.adult r on r.r = natural_rank(f // 20 * 3 + f % 20 % 3) join world.person p on p.i = r.i),
told as (
    select *, if(is_person, person_name, rep_name) as party, if(is_person, person_id, rep_id) as party_id,
           if(is_person, person_mobile, rep_mobile) as party_mobile,
           org_code_of('MA9' || base31(f)) as unknown_org from decided)
select f as _order, 'market_regulation' as _source, (1 + f % 2)::varchar as _part, day + 3 as _since,
       odd in (3, 7, 11, 15) as _guard,
       case when is_person then person_name when odd = 7
           then coalesce(former_name, name) when odd = 15 then '宁夏查无' || name else name end as subject_name,
       case when is_person then '2' when prefix = '92' then '3' else '1' end as subject_kind,
       case when is_person or odd in (3, 7, 11) then null when odd = 15
           then uscc_of(prefix || county_code || unknown_org) else uscc end as uscc,
       if(is_person or odd in (3, 7, 15), null, reg_no) as reg_no,
       if(is_person or odd in (7, 11, 15), null, org_code) as org_code, null as tax_no, null as institution_no,
       null as social_org_no, if(is_person, null, rep_name) as legal_rep_name, if(is_person, null, '111') as legal_rep_id_type,
       if(is_person, null, rep_id) as legal_rep_id_number, if(is_person, '111', null) as subject_id_type,
       if(is_person, person_id, null) as subject_id_number, '宁市监罚〔' || year(day) || '〕' || (f + 1) || '号' as decision_no,
       ['无照经营', '销售不合格商品', '价格违法', '虚假宣传'][1 + matter] as violation_kind,
       '经查，当事人' || party || '（身份证号' || party_id || '，联系电话' || party_mobile || '）'
           || ['未取得营业执照从事经营活动', '销售不符合保障人体健康标准的商品', '不按规定明码标价', '对商品作引人误解的宣传'][1 + matter]
           as facts,
       ['《无证无照经营查处办法》第十三条', '《中华人民共和国产品质量法》第四十九条', '《中华人民共和国价格法》第四十二条',
        '《中华人民共和国广告法》第五十五条'][1 + matter] as legal_basis,
       case odd % 9 when 5 then '罚款；没收违法所得' when 8 then '罚款；吊销许可证件' else '警告；罚款' end as penalty_kinds,
       case odd % 9 when 5 then '罚款' || hundreds * 100 || '元，没收违法所得' || hundreds * 50 || '元' when 8 then '罚款' || hundreds * 100 || '元，吊销许可证'
           else '警告，罚款' || hundreds * 100 || '元' end as penalty_content,
       printf('%.2f', hundreds / 100.0) as fine_amount, if(odd % 9 = 5, printf('%.4f', hundreds / 200.0), null) as confiscated_amount,
       if(odd % 9 = 8, '食品经营许可证JY' || lpad((f + 1000)::varchar, 12, '0'), null) as revoked_licence,
       day::varchar as decision_date, (day + 365)::varchar as valid_until, (day + 730)::varchar as publish_until,
       getvariable('department') as agency_name, getvariable('department_code') as agency_uscc,
       getvariable('department') as provider_name, getvariable('department_code') as provider_uscc,
       if(below(50, f, 'remark') = 0, '已电话告知' || party_mobile, null) as remark
from told
