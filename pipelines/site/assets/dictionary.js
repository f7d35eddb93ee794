// Search in the dictionary: every word of the query must be found; `search.js` beside the page is the index. Contents can be read without it.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const index = window.lakeDictionary;
  const form = document.querySelector("[data-find]");
  if (!index || !form) return;
  const [field, results, found, none, kinds, count] = ["#q", "[data-results]", "[data-found]", "[data-none]", "[data-kinds]", "[data-count]"].map((one) => document.querySelector(one));
  const contents = document.querySelector("[data-contents]");
  const MOST = 60;
  const ORDER = {dataset: 9, view: 8, list: 7, word: 6, column: 5, macro: 4, governance: 2, code: 1};
  const plain = (text) => text.normalize("NFKC").toLowerCase();
  const tight = (text) => text.replace(/[\s/_.-]+/g, "");
  const listed = Object.fromEntries(index.entries.filter(([kind]) => kind === "list").map((one) => [one[2], one]));
  const codes = Object.entries(index.codes).flatMap(([view, rows]) => rows.map(([code, zh, en = "", anchor = `code-${code}`]) =>
    ["code", `${view}.html#${encodeURIComponent(anchor)}`, code, zh, en, `${listed[view][3]} ${listed[view][4]} ${listed[view][5]}`, view]));
  const entries = [...index.entries, ...codes].map(([kind, address, name, zh, en, more, of]) => {
    const own = [plain(name), plain(zh), plain(en)];
    const all = plain([name, zh, en, more].join("\n"));
    return {kind, address, name, zh, en, of, more, own, last: own[0].split(".").at(-1), all, tight: tight(all)};
  });
  let chosen = "";

  const points = (one, word) => {
    if (one.last === word || one.own.includes(word)) return 100;
    if (one.own.some((text) => text.startsWith(word)) || one.last.startsWith(word)) return 60;
    if (one.own.some((text) => text.includes(word))) return 30;
    return one.all.includes(word) ? 15 : 0;
  };
  const rank = (one, words, whole) => {
    const each = words.map((word) => points(one, word));
    if (each.every((n) => n > 0)) return each.reduce((a, b) => a + b) / each.length + ORDER[one.kind];
    return whole.length > 2 && one.tight.includes(whole) ? 10 + ORDER[one.kind] : 0;
  };

  const marked = (text, words) => {
    const shown = document.createDocumentFragment();
    const low = text.toLowerCase();
    let at = 0;
    while (at < text.length) {
      const next = words.map((word) => [low.indexOf(word, at), word.length]).filter(([start]) => start >= 0).sort((a, b) => a[0] - b[0] || b[1] - a[1])[0];
      if (!next || low.length !== text.length) break;
      shown.append(text.slice(at, next[0]));
      const mark = document.createElement("mark");
      mark.textContent = text.slice(next[0], next[0] + next[1]);
      shown.append(mark);
      at = next[0] + next[1];
    }
    shown.append(text.slice(at));
    return shown;
  };
  const element = (tag, type, ...parts) => {
    const made = document.createElement(tag);
    if (type) made.className = type;
    made.append(...parts);
    return made;
  };
  const both = (zh, en) => {
    const english = element("span", "en", en);
    english.lang = "en";
    return [element("span", "zh", zh), " ", english];
  };
  const beside = (one, words) => {      // what it was found by, where neither name nor words show it
    if (words.every((word) => one.own.some((text) => text.includes(word)))) return [];
    const places = words.map((word) => one.more.toLowerCase().indexOf(word)).filter((at) => at >= 0);
    const start = Math.max(0, Math.min(...places, one.more.length) - 12);
    const end = Math.max(...places, start) + 28;
    return [element("span", "beside", start > 0 ? "…" : "", marked(one.more.slice(start, end), words), end < one.more.length ? "…" : "")];
  };
  const row = (one, words) => {
    const link = element("a", "");
    link.href = one.address;
    const english = element("span", "en", marked(one.en, words));
    english.lang = "en";
    link.append(element("span", "zh", marked(one.zh, words)), " ", one.en ? english : element("span", "en", marked(one.zh, words)));
    return element("li", "", element("span", `kind ${one.kind}`, ...both(...index.kinds[one.kind])), link, element("span", "id", marked(one.name, words), one.of ? ` · ${one.of}` : "", ...beside(one, words)));
  };

  const chip = (kind, label, number) => {
    const button = element("button", "", ...label, ` ${number}`);
    button.type = "button";
    button.setAttribute("aria-pressed", String(chosen === kind));
    button.addEventListener("click", () => { chosen = chosen === kind ? "" : kind; search(); kinds.querySelector("[aria-pressed=true]")?.focus(); });
    return button;
  };
  const search = () => {
    const query = plain(field.value).trim();
    const words = query.split(/\s+/).filter(Boolean);
    results.hidden = !query;
    contents.hidden = Boolean(query);
    if (!query) return;
    const whole = tight(query);
    const hits = entries.map((one) => [rank(one, words, whole), one]).filter(([n]) => n > 0).sort((a, b) => b[0] - a[0]);
    const numbers = {};
    for (const [, one] of hits) numbers[one.kind] = (numbers[one.kind] ?? 0) + 1;
    if (chosen && !numbers[chosen]) chosen = "";
    const shown = hits.filter(([, one]) => !chosen || one.kind === chosen);
    found.replaceChildren(...shown.slice(0, MOST).map(([, one]) => row(one, words)));
    kinds.replaceChildren(...(hits.length ? [chip("", both("全部", "All"), hits.length)] : []),
      ...Object.keys(index.kinds).filter((kind) => numbers[kind]).map((kind) => chip(kind, both(...index.kinds[kind]), numbers[kind])));
    count.replaceChildren(...(shown.length > MOST ? both(`前 ${MOST} 条，共 ${shown.length} 条`, `first ${MOST} of ${shown.length}`) : both(`${shown.length} 条`, `${shown.length}`)));
    none.hidden = shown.length > 0;
  };
  const fromAddress = () => {
    const wanted = new URLSearchParams(location.hash.startsWith("#q=") ? location.hash.slice(1) : location.search).get("q");
    if (wanted !== null && wanted !== field.value) { field.value = wanted; search(); }
  };

  field.addEventListener("input", () => { chosen = ""; search(); history.replaceState(null, "", field.value ? `#q=${encodeURIComponent(field.value)}` : location.pathname); });
  form.addEventListener("submit", (event) => { event.preventDefault(); found.querySelector("a")?.click(); });
  addEventListener("hashchange", fromAddress);
  addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !typing) { event.preventDefault(); field.focus(); field.select(); }
    if (event.key === "Escape" && field.value && (typing || results.contains(event.target))) { field.value = ""; field.dispatchEvent(new Event("input")); field.focus(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const stops = [field, ...found.querySelectorAll("a")];
    const at = stops.indexOf(document.activeElement);
    const next = stops[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (at >= 0 && next && !results.hidden) { event.preventDefault(); next.focus(); }
  });
  fromAddress();
});
