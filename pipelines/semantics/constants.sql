-- What macros/codes.sql asks tables for, as constants and enums of one connection: nothing is joined, so rows stay in the order of their file
-- (a join gives them back in any order once a file is read by several threads), and what is right is told by a hash look-up.
CREATE OR REPLACE MACRO _aliases(list_name) AS coalesce(getvariable('lake_aliases_' || list_name), []);
CREATE OR REPLACE MACRO _alias_codes(list_name) AS coalesce(getvariable('lake_alias_codes_' || list_name), []);
CREATE OR REPLACE MACRO _codes(list_name) AS coalesce(getvariable('lake_codes_' || list_name), []);
CREATE OR REPLACE MACRO _code_length(list_name) AS getvariable('lake_code_length_' || list_name);
CREATE OR REPLACE MACRO _ended_regions(what) AS getvariable('lake_ended_' || what);
CREATE OR REPLACE MACRO _is_known_region(c) AS try_cast(c AS reference.known_region) IS NOT NULL;
CREATE OR REPLACE MACRO _is_region_in_force(c) AS try_cast(c AS reference.region_in_force) IS NOT NULL;
CREATE OR REPLACE MACRO _is_known_county(c) AS try_cast(c AS reference.known_county) IS NOT NULL;
