"""Five analyses over lake.duckdb with charts, to be changed: `make notebook`, or `marimo edit docs/notebook.py`, or run to the end as a script.

It opens the published file read-only, needs no network, and shows no group of fewer than ten persons.
"""
import marimo

app = marimo.App(width="medium", app_title="政务基础数据湖 the base-data lake")


@app.cell
def _():
    import os
    from pathlib import Path

    import altair as alt
    import duckdb
    import marimo as mo

    lake = Path(os.environ.get("LAKE_HOME", Path(__file__).resolve().parent.parent / "lake")) / "lake.duckdb"
    con = duckdb.connect(str(lake), read_only=True)
    con.execute("SET autoinstall_known_extensions = false")

    def ask(sql):
        return con.execute(sql).df()

    return alt, ask, mo


@app.cell
def _(ask, mo):
    shown = ask("SELECT max(release_id) AS release, max(created_at) AS created_at FROM governance.releases").iloc[0]
    datasets = ask("SELECT dataset AS 数据资源, rows AS 记录数, as_of AS 数据截至, limitations AS 局限 FROM governance.datasets ORDER BY 1")
    mo.vstack([mo.md(f"# 五个分析 Five analyses\n\n发布 release **{shown.release}**，{shown.created_at}. 脱敏后的数据：人是假名，出生只有年份。 "
                     "Masked data: a person is a pseudonym, a birth is a year. 少于 10 人的组不显示 groups of fewer than ten are not shown."), datasets])
    return


@app.cell
def _(alt, ask, mo):
    pyramid = ask("""
        SELECT 5 * ((year(p._batch_date) - birth_year) // 5) AS age, s.label AS sex, count(*) AS persons
        FROM (SELECT *, strptime(split_part(_batch, '~', 4), '%Y-%m-%d') AS _batch_date FROM population.person) p
        JOIN reference.code s ON s.list = 'sex' AND s.code = p.sex_code
        WHERE death_year IS NULL AND cancel_year IS NULL AND birth_year IS NOT NULL
        GROUP BY ALL HAVING count(*) >= 10 ORDER BY ALL""")
    pyramid["side"] = pyramid.persons.where(pyramid.sex != "男", -pyramid.persons)
    mo.vstack([mo.md("## 1 人口金字塔 Population pyramid\n\n粒度 grain: 五岁年龄组 × 性别，户籍人口，不含死亡和注销 registered residents by five-year age group and sex."),
               alt.Chart(pyramid).mark_bar().encode(
                   y=alt.Y("age:O", sort="descending", title="年龄 age"), x=alt.X("side:Q", title="人数 persons", axis=alt.Axis(format="s")),
                   color=alt.Color("sex:N", title="性别 sex"), tooltip=["age", "sex", "persons"])])
    return (pyramid,)


@app.cell
def _(alt, ask, mo):
    insured = ask("""
        WITH person AS (SELECT person_id, hukou_region_code AS county FROM population.person WHERE death_year IS NULL AND cancel_year IS NULL),
             covered AS (SELECT DISTINCT person_id FROM population.social_insurance WHERE status_code = '1')
        SELECT r.name AS county, count(*) AS persons, count(c.person_id) AS insured, count(c.person_id) / count(*) AS share
        FROM person p LEFT JOIN covered c USING (person_id) JOIN reference.region r ON r.code = p.county AND r.is_current
        GROUP BY ALL HAVING least(count(c.person_id), count(*) - count(c.person_id)) >= 10 ORDER BY share DESC, county""")
    mo.vstack([mo.md("## 2 参保覆盖 Who is insured, by county\n\n连接 join: `person_id`，各数据资源中同一人同一假名 the same pseudonym in every dataset."),
               alt.Chart(insured).mark_bar().encode(
                   y=alt.Y("county:N", sort="-x", title="户籍县区 county"), x=alt.X("share:Q", title="参保比例 insured", axis=alt.Axis(format="%")),
                   tooltip=["county", "persons", "insured"])])
    return (insured,)


@app.cell
def _(alt, ask, mo):
    founded = ask("""
        SELECT year(establish_date) AS year, coalesce(i.name, '未填 not given') AS section, count(*) AS enterprises
        FROM legal_entity.enterprise e LEFT JOIN reference.industry i ON i.code = e.industry_section AND i.level = 1
        WHERE establish_date IS NOT NULL GROUP BY ALL ORDER BY ALL""")
    mo.vstack([mo.md("## 3 企业设立 Enterprises by year founded and industry\n\n只计仍在登记册中的企业 those in the register today: 早年已注销的不在内 what was closed before it began is not in it."),
               alt.Chart(founded).mark_area().encode(x=alt.X("year:O", title="设立年份 founded"), y=alt.Y("enterprises:Q", title="企业数 enterprises"),
                                                     color=alt.Color("section:N", title="行业门类 section"), tooltip=["year", "section", "enterprises"])])
    return (founded,)


@app.cell
def _(alt, ask, mo):
    leads = ask("""
        SELECT benefit, match_level, count(*) AS leads, sum(months_paid) AS months, sum(amount)::DOUBLE AS amount
        FROM population.benefit_after_death GROUP BY ALL ORDER BY amount DESC""")
    mo.vstack([mo.md("## 4 死亡后待遇发放线索 Benefits paid after death\n\n**线索，非结论 leads, not findings**：两个来源的死亡日期可能不同 sources of a death may differ; "
                     "只有 exact 可进入核查名单 only exact matches may go on a list to verify."), leads,
               alt.Chart(leads).mark_bar().encode(y=alt.Y("benefit:N", sort="-x", title="待遇 benefit"), x=alt.X("amount:Q", title="金额（元）amount"),
                                                  color=alt.Color("match_level:N", title="匹配 match"), tooltip=["benefit", "leads", "months", "amount"])])
    return (leads,)


@app.cell
def _(alt, ask, mo):
    quality = ask("""
        SELECT dataset, dimension, score FROM governance.dimension_scores
        WHERE month = (SELECT max(month) FROM governance.dimension_scores) AND score IS NOT NULL ORDER BY ALL""")
    mo.vstack([mo.md("## 5 可以信到什么程度 How far to trust it\n\n各数据资源的质量得分 quality score per dataset and dimension (GB/T 36344-2018), newest month. "
                     "一列的已知问题 what is known of a column: `governance.rule_results`, `governance.columns`."),
               alt.Chart(quality).mark_rect().encode(
                   x=alt.X("dimension:N", title="维度 dimension"), y=alt.Y("dataset:N", title="数据资源 dataset"),
                   color=alt.Color("score:Q", title="得分 score", scale=alt.Scale(scheme="blues", domainMin=0.9)), tooltip=["dataset", "dimension", "score"])])
    return (quality,)


if __name__ == "__main__":
    app.run()
