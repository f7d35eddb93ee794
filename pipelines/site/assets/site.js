// The quality officer's pages: language switch, sorting, filters, charts. Every page can be read without it.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("lake-language"); } catch { return null; } };
  const setLanguage = (language) => {
    root.dataset.lang = language;
    root.lang = language === "en" ? "en" : "zh-CN";
    try { localStorage.setItem("lake-language", language); } catch { /* a private window keeps nothing */ }
    for (const button of document.querySelectorAll("[data-set-lang]")) button.setAttribute("aria-pressed", button.dataset.setLang === language);
  };
  root.dataset.lang = stored() === "en" ? "en" : "zh";
  root.lang = root.dataset.lang === "en" ? "en" : "zh-CN";

  const value = (row, column) => {
    const cell = row.cells[column];
    const given = cell.dataset.v ?? cell.textContent.trim();
    const number = Number(given.replaceAll(",", ""));
    return given === "" || Number.isNaN(number) ? given : number;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "zh-CN"));
  const sortable = (table) => {
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * compare(value(a, column), value(b, column))));
      });
    }
  };

  const filters = (form) => {
    const table = document.getElementById(form.getAttribute("data-filters"));      // its field `dataset` hides form.dataset
    if (!table) return;
    const fields = [...form.elements].filter((one) => one.name);
    const apply = () => {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const fits = fields.every((one) => !one.value
          || (one.name === "text" ? row.textContent.toLowerCase().includes(one.value.toLowerCase()) : row.dataset[one.name] === one.value));
        row.hidden = !fits;
        shown += fits;
      }
      form.querySelector("[data-shown]").textContent = shown;
      document.querySelector("[data-empty]").hidden = shown > 0;
    };
    const fromAddress = () => {
      const wanted = new URLSearchParams(location.hash.slice(1));
      for (const one of fields) if (wanted.has(one.name)) one.value = wanted.get(one.name);
      apply();
    };
    form.addEventListener("input", () => {
      const chosen = new URLSearchParams(fields.filter((one) => one.value).map((one) => [one.name, one.value]));
      history.replaceState(null, "", `#${chosen}`);
      apply();
    });
    form.addEventListener("reset", () => setTimeout(() => { history.replaceState(null, "", "#"); apply(); }));
    form.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", fromAddress);
    fromAddress();
  };

  const COLOURS = ["#0f5488", "#c4570f", "#17683a", "#7a3e91", "#8f6a00", "#52606d"];
  const percent = (share) => (share === null || share === undefined ? "—" : `${(Math.floor(share * 1e4) / 100).toFixed(2)} %`);
  const word = (pair) => (Array.isArray(pair) ? pair[root.dataset.lang === "en" ? 1 : 0] : pair);
  const floor = (series) => {
    const lowest = Math.min(...series.flatMap((one) => one.values).filter((v) => v !== null));
    return Number.isFinite(lowest) ? Math.max(0, Math.floor((lowest - 0.002) * 100) / 100) : 0;
  };
  const common = {animation: false, color: COLOURS, textStyle: {fontFamily: "inherit", color: "#18222d"}, aria: {enabled: false}};
  const legend = {top: 0, left: 0, itemWidth: 18, itemHeight: 10, icon: "roundRect", itemGap: 18, textStyle: {fontSize: 12}};
  const grid = {left: 8, right: 16, top: 34, bottom: 4, containLabel: true};
  const faint = {splitLine: {lineStyle: {color: "#e4e9ee"}}};
  const quiet = {color: "#52606d"};
  const line = (one) => ({type: "line", name: word(one.name), data: one.values, symbolSize: 5, showSymbol: true, lineStyle: {width: 2, type: one.dashed ? "dashed" : "solid"}});
  const options = {
    lines: (spec) => ({...common, legend, grid, tooltip: {trigger: "axis", valueFormatter: percent},
      xAxis: {type: "category", data: spec.x, boundaryGap: false, axisLabel: quiet},
      yAxis: {type: "value", min: floor(spec.series), max: 1, axisLabel: {formatter: (v) => `${Math.round(v * 1000) / 10} %`, ...quiet}, ...faint},
      series: spec.series.map(line)}),
    bars: (spec) => ({...common, color: ["#2c7d52", "#b5322b"], legend, grid, tooltip: {trigger: "axis"},
      xAxis: {type: "category", data: spec.x, axisLabel: quiet}, yAxis: {type: "value", axisLabel: quiet, ...faint},
      series: spec.series.map((one) => ({type: "bar", stack: "all", barMaxWidth: 36, name: word(one.name), data: one.values}))}),
    radar: (spec) => {
      const least = Math.max(0, floor(spec.series) - 0.02);
      return {...common, legend, tooltip: {valueFormatter: percent},
        radar: {center: ["50%", "56%"], radius: "68%", indicator: spec.axes.map((name) => ({name: word(name), min: least, max: 1})),
          axisName: {color: "#18222d", fontSize: 13}, splitArea: {areaStyle: {color: ["#fff", "#f5f7f9"]}}},
        series: [{type: "radar", symbolSize: 5, data: spec.series.map((one, i) => ({name: word(one.name), value: one.values,
          areaStyle: i ? undefined : {opacity: 0.15}, lineStyle: {type: i ? "dashed" : "solid"}}))}]};
    },
    heat: (spec) => {
      const cells = spec.values.flatMap((row, y) => row.map((v, x) => [x, y, v === null ? "-" : v]));
      const known = spec.values.flat().filter((v) => v !== null);
      return {...common, grid: {left: 190, right: 90, top: 8, bottom: 24},
        tooltip: {formatter: (p) => `${spec.y[p.value[1]]}<br>${spec.x[p.value[0]]}  <b>${percent(p.value[2] === "-" ? null : p.value[2])}</b>`},
        xAxis: {type: "category", data: spec.x, axisLabel: quiet, splitArea: {show: true}},
        yAxis: {type: "category", data: spec.y, inverse: true, axisLabel: {color: "#18222d", fontSize: 12, interval: 0, width: 175, overflow: "truncate"}},
        visualMap: {type: "continuous", min: Math.min(0.95, ...known), max: 1, right: 0, top: "middle", itemHeight: 120, precision: 2, calculable: false,
          formatter: percent, textStyle: {...quiet, fontSize: 11}, inRange: {color: ["#a01c17", "#e8a13c", "#f3e6a4", "#86bf93", "#17683a"]}},
        series: [{type: "heatmap", data: cells, itemStyle: {borderColor: "#fff", borderWidth: 2}}]};
    },
  };
  const drawn = new Map();
  const draw = (figure) => {
    if (!window.lakeCharts || drawn.has(figure)) return;
    const spec = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
    const chart = window.lakeCharts.init(figure, null, {renderer: "svg"});
    chart.setOption(options[spec.kind](spec));
    drawn.set(figure, chart);
  };
  const figures = () => [...document.querySelectorAll("[data-chart]")];
  const near = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => draw(one.target)), {rootMargin: "300px"});
  const show = () => {      // a chart is drawn when it comes near the window: the page stands before
    if (!window.lakeCharts) return;
    for (const figure of figures()) {
      drawn.get(figure)?.dispose();
      drawn.delete(figure);
      figure.hidden = false;
      near.unobserve(figure);
      near.observe(figure);
    }
  };

  addEventListener("DOMContentLoaded", () => {
    setLanguage(root.dataset.lang);
    for (const button of document.querySelectorAll("[data-set-lang]")) button.addEventListener("click", () => { setLanguage(button.dataset.setLang); show(); });
    for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());
    document.querySelectorAll("table.sortable").forEach(sortable);
    document.querySelectorAll("[data-filters]").forEach(filters);
    show();
  });
  const resize = () => drawn.forEach((chart) => chart.resize());
  addEventListener("resize", resize);
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; figures().forEach(draw); resize(); });
})();
