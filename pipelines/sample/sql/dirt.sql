-- What goes wrong on the way: v the clean text, r the text as the source usually writes it, h a draw.

create macro put(v, p, c) as substr(v, 1, p - 1) || c || substr(v, p + 1);
create macro full_width(v) as translate(v,
    '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ',
    '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ');
-- A letter written for the digit it looks like, in one place between `first` and `first + width - 1`.
create macro place_of(h, first, width) as (first + h % width)::integer;
create macro look_alike(v, h, first, width) as
    put(v, place_of(h, first, width), translate(substr(v, place_of(h, first, width), 1), '01258', 'OIZSB'));
create macro wrong_digit(v, p, h) as put(v, p, ((substr(v, p, 1)::integer + 1 + h % 9) % 10)::varchar);
create macro wrong_check(v, h) as put(v, 18, letter('0123456789ABCDEFGHJKLMNPQRTUWXY', ((c31(v, 18) + 1 + h % 30) % 31)::integer));
create macro swapped(v, p) as substr(v, 1, p - 1) || substr(v, p + 1, 1) || substr(v, p, 1) || substr(v, p + 2);
create macro starred(v) as substr(v, 1, 6) || repeat('*', length(v) - 6);
create macro scientific(v) as printf('%.5E', try_cast(replace(v, 'X', '0') as double));
create macro placeholder(h) as ['NULL', 'N/A', '暂无', '-', '待补'][1 + (h % 5)::integer];
create macro spaced(v, h) as case h % 5 when 0 then ' ' || v when 1 then v || '  ' when 2 then '　' || v
    when 3 then v || chr(9) else chr(8203) || v end;
create macro mixed_date(v, h) as case h % 5 when 0 then strftime(v::date, '%Y年%-m月%-d日') when 1 then strftime(v::date, '%Y/%-m/%-d')
    when 2 then strftime(v::date, '%Y.%m.%d') when 3 then strftime(v::date, '%Y-%m-%d 00:00:00')
    else (v::date - date '1899-12-30')::varchar end;
create macro impossible_date(v, h) as substr(v, 1, 4) || ['-02-30', '-04-31', '-13-01'][1 + (h % 3)::integer];
create macro lossy(v) as substr(v, 1, length(v) - 1) || '?';
create macro label_of(kind, value) as getvariable('labels')['label:' || kind || ':' || value];

-- What breaks a business rule: days and months as text, another place, ages.
create macro day_before(v) as (v::date - 1)::varchar;
create macro born(id) as substr(id, 7, 4) || '-' || substr(id, 11, 2) || '-' || substr(id, 13, 2);
create macro is_male(id) as substr(id, 17, 1)::integer % 2 = 1;
create macro months_after(v, n) as strftime((substr(v, 1, 7) || '-01')::date + to_months(n), '%Y-%m');
create macro ten_years_ago() as days_before(getvariable('batch'), 3650);
create macro child_born() as days_before(getvariable('batch'), 4600);
create macro other_city(v) as if(contains(v, '银川市'), replace(v, '银川市', '吴忠市'), regexp_replace(v, '区[^区市]{2}市', '区银川市'));
