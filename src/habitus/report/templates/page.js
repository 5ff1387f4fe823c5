"use strict";
// Data reach the page through text nodes alone: `make` appends strings as text, and no markup is ever parsed.
const KEY = "habitus marks " + document.documentElement.dataset.key;
const SHOWN = 200, LONG = 20000, CELLS = 4e6, NARROW = matchMedia("(max-width: 60rem)");
const sections = [...document.querySelectorAll("main > section")];
const at = (id) => document.getElementById(id);
const plain = (text) => text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)));
let index, data, current = -1, order = [], filters = {}, query = "", rendered = 0, marking = "", marks = {};

function make(tag, attributes, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) one.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) one.setAttribute(name, value);
  }
  one.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return one;
}

async function unpack(text) {
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
}

/* records: unpacked a piece at a time, when they are looked at or searched */
const unpacked = new Map();
let table;
async function read(number) {
  const [{ table: clauses }, { parts }] = await Promise.all([(table ||= unpack(at("table").textContent)), unpack(at("piece-" + number).textContent)]);
  return JSON.parse(parts.map((part) => typeof part === "number" ? clauses[part] : part).join("")).records;
}
function piece(number) {
  if (!unpacked.has(number)) unpacked.set(number, read(number));
  return unpacked.get(number);
}
async function recordOf(row) {
  const place = data.first + row;
  return (await piece(Math.floor(place / index.piece)))[place % index.piece];
}
const words = (value) => typeof value === "string" ? value : value && typeof value === "object" ? Object.values(value).map(words).join("\n") : String(value ?? "");
async function searchable(one) {
  if (one.texts) return one.texts;
  const texts = [];
  for (let row = 0; row < one.ids.length; row += 1) {
    const place = one.first + row;
    texts.push(words((await piece(Math.floor(place / index.piece)))[place % index.piece]).toLowerCase());
  }
  return (one.texts = texts);
}

/* filters */
const idOf = (facet) => facet.group ? facet.group + "." + facet.key : facet.key;
const passes = (row, but) => data.facets.every((facet) => {
  const wanted = filters[idOf(facet)];
  return wanted === undefined || facet === but || facet.values[facet.rows[row]] === wanted;
});
async function select() {
  const asked = query, texts = query ? await searchable(data) : null;
  if (asked !== query) return;
  const found = data.ids.map((_, row) => row).filter((row) => !texts || texts[row].includes(query));
  order = found.filter((row) => passes(row));
  drawFacets(found);
  rendered = 0;
  at("rows").replaceChildren();
  more();
  const whole = data.ids.length;
  at("count").textContent = (order.length === whole ? whole.toLocaleString("en") : `${order.length.toLocaleString("en")} of ${whole.toLocaleString("en")}`) + " records";
}
function drawFacets(found) {
  const open = new Set([...at("facets").querySelectorAll("details[open]")].map((one) => one.dataset.facet));
  at("facets").replaceChildren(...data.facets.map((facet, place) => {
    const id = idOf(facet), counts = facet.values.map(() => 0);
    let whole = 0;
    for (const row of found) if (facet.rows[row] >= 0 && passes(row, facet)) { counts[facet.rows[row]] += 1; whole += 1; }
    const sorted = facet.values.map((_, value) => value).sort((a, b) => facet.group === "rating" ? b - a : counts[b] - counts[a]);
    const buttons = sorted.filter((value) => counts[value] || filters[id] === facet.values[value]).map((value) => make("button", {
      type: "button", "aria-pressed": String(filters[id] === facet.values[value]), onclick: () => toggle(id, facet.values[value]),
    }, make("span", {}, plain(facet.values[value])), make("span", {}, `${counts[value].toLocaleString("en")} · ${whole ? (100 * counts[value] / whole).toFixed(1) : "0.0"}%`)));
    const opened = open.size ? open.has(id) || filters[id] !== undefined : place < 2 || filters[id] !== undefined;
    return make("details", { "data-facet": id, open: opened ? "" : null }, make("summary", {}, (facet.group ? facet.group + ": " : "") + facet.title), buttons);
  }));
}
async function toggle(id, value) {
  const label = document.activeElement && document.activeElement.textContent;
  if (filters[id] === value) delete filters[id]; else filters[id] = value;
  await select();
  const again = [...at("facets").querySelectorAll(`details[data-facet="${CSS.escape(id)}"] button`)].find((one) => one.firstChild.textContent === plain(value));
  if (again && label) again.focus();
}

/* the list */
const linkOf = (row) => `#data/${encodeURIComponent(data.name)}/${encodeURIComponent(data.ids[row])}`;
const outcome = () => data.facets.find((facet) => idOf(facet) === "outcome");
function more() {
  const until = Math.min(rendered + SHOWN, order.length), how = outcome();
  at("rows").append(...order.slice(rendered, until).map((row) => make("li", {}, make("a", { href: linkOf(row), "data-row": row, "aria-current": row === current ? "true" : null },
    make("small", {}, make("span", {}, plain(data.ids[row])), make("span", {}, how.values[how.rows[row]])),
    make("bdi", { dir: "auto" }, plain(data.begins[row]) || "(empty)")))));
  rendered = until;
}
function step(by) {
  const place = order.indexOf(current), next = order[place < 0 ? 0 : Math.min(Math.max(place + by, 0), order.length - 1)];
  if (next !== undefined) location.hash = linkOf(next);
}

/* text: quotations marked, differences, long ones cut until asked for */
function found(quote, text) {
  const parts = (quote || "").match(/[\p{L}\p{N}]+/gu);
  if (!parts || parts.length > 200) return null;
  const match = new RegExp(parts.join("[^\\p{L}\\p{N}]+"), "iu").exec(text);
  return match && [match.index, match.index + match[0].length];
}
function marked(text, quotes) {
  const spans = quotes.map((one) => [found(one.quote, text), one.title, one.kind]).filter((one) => one[0]).sort((a, b) => a[0][0] - b[0][0]);
  const parts = [];
  let done = 0;
  for (const [[start, stop], title, kind] of spans) {
    if (start < done) continue;
    parts.push(plain(text.slice(done, start)), make("mark", { title, class: kind }, plain(text.slice(start, stop))));
    done = stop;
  }
  return [...parts, plain(text.slice(done))];
}
function textOf(text, quotes) {
  const box = make("div", { class: "text", dir: "auto" });
  if (text.length <= LONG) { box.append(...marked(text, quotes || [])); return box; }
  box.append(...marked(text.slice(0, LONG), quotes || []), make("p", {}, make("button", { type: "button", onclick: () => box.replaceChildren(...marked(text, quotes || [])) }, `Show all ${text.length.toLocaleString("en")} characters`)));
  return box;
}
function difference(before, after) {
  const a = before.match(/\S+\s*/g) || [], b = after.match(/\S+\s*/g) || [];
  if ((a.length + 1) * (b.length + 1) > CELLS) return null;
  const width = b.length + 1, best = new Uint16Array((a.length + 1) * width), same = (i, j) => a[i].trim() === b[j].trim();
  for (let i = a.length - 1; i >= 0; i -= 1) for (let j = b.length - 1; j >= 0; j -= 1)
    best[i * width + j] = same(i, j) ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  const runs = [];
  const add = (kind, gone, come) => {
    const last = runs[runs.length - 1];
    if (last && last.kind === kind) { last.gone.push(...gone); last.come.push(...come); } else runs.push({ kind, gone, come });
  };
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && same(i, j)) { add("same", [a[i]], [b[j]]); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && best[(i + 1) * width + j] >= best[i * width + j + 1])) { add("other", [a[i]], []); i += 1; }
    else { add("other", [], [b[j]]); j += 1; }
  }
  // One or two equal words between changes are chance, and a reader sees one change there.
  const calm = [];
  for (const [place, run] of runs.entries()) {
    const kind = run.kind === "same" && run.come.length < 3 && place > 0 && place < runs.length - 1 ? "other" : run.kind, last = calm[calm.length - 1];
    if (last && last.kind === kind) { last.gone.push(...run.gone); last.come.push(...run.come); } else calm.push({ kind, gone: [...run.gone], come: [...run.come] });
  }
  return make("div", { class: "text", dir: "auto" }, calm.map((run) => run.kind === "same" ? plain(run.come.join("")) : [
    run.gone.length ? make("del", {}, plain(run.gone.join(""))) : null, run.gone.length && run.come.length ? " " : null, run.come.length ? make("ins", {}, plain(run.come.join(""))) : null]));
}

/* one record */
const answerOf = (step) => typeof step.answer === "string" ? step.answer : (step.answer && (step.answer.answer || step.answer.text)) || "";
const fold = (title, open, ...inside) => make("details", { class: "fold", open: open ? "" : null }, make("summary", {}, title), make("div", { class: "inside" }, inside));
function list(rows) {
  return make("dl", {}, Object.entries(rows).map(([name, value]) => [make("dt", {}, plain(name.replaceAll("_", " "))), make("dd", {}, textOf(value && typeof value === "object" ? JSON.stringify(value, null, 1) : String(value)))]));
}
function steps(record) {
  let draft = "";
  return record.steps.map((one) => {
    const inside = [];
    const answer = answerOf(one), changed = one.step === "refine" && draft && answer ? difference(draft, answer) : null;
    if (one.step === "draft") draft = answer;
    if (changed) inside.push(make("p", { class: "soft small" }, "draft → refined: ", make("del", {}, "gone"), " ", make("ins", {}, "new")), changed);
    const rest = one.answer && typeof one.answer === "object" ? { ...one.answer } : one.answer;
    if (changed && rest && typeof rest === "object") { delete rest.answer; delete rest.text; }
    if (rest && typeof rest === "object") inside.push(list(rest)); else if (!changed) inside.push(textOf(String(rest ?? "")));
    if (one.repaired) inside.push(make("h4", {}, "Before it was asked again"), textOf(String(one.repaired)));
    return fold(make("span", {}, plain(one.step.replaceAll("_", " ")), " ", make("span", { class: "soft small" }, plain(one.model))), Boolean(changed), inside);
  });
}
function ratings(record) {
  const rows = Object.entries(record.ratings).map(([name, one]) => make("tr", {}, make("th", { scope: "row" }, plain(name.replaceAll("_", " "))), make("td", { class: "n" }, String(one.score)),
    make("td", { dir: "auto" }, plain(one.reason || ""), one.quote ? make("small", { style: "white-space: normal" }, `“${plain(one.quote)}”${one.supported ? "" : " (does not occur)"}`) : null)));
  return rows.length ? [make("h3", {}, "Ratings"), make("table", {}, make("thead", {}, make("tr", {}, ["criterion", "score", "reason and quotation"].map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, rows))] : [];
}
const patternName = (id) => (data.facets.find((facet) => facet.group === "pattern" && facet.key === id) || { title: id }).title;
// While a pattern is being marked, what the judge said of it stays hidden, or the marks would follow it.
const verdicts = (record) => Object.entries(record.verdicts).filter(([id, [level]]) => id !== marking && level !== "no");
async function show(row) {
  current = row;
  const record = await recordOf(row);
  if (current !== row) return;
  const judged = Object.entries(record.ratings).map(([name, one]) => ({ quote: one.quote, title: name.replaceAll("_", " "), kind: "rating" }));
  const quotes = [...verdicts(record).map(([id, [level, quote]]) => ({ quote, title: `${patternName(id)} (${level})` })), ...judged];
  const trait = data.facets.find((facet) => idOf(facet) === "trait"), how = outcome();
  const parts = [
    make("a", { class: "back", href: `#data/${encodeURIComponent(data.name)}` }, "← all records"),
    make("h2", {}, make("a", { href: linkOf(row) }, plain(record.id))),
    make("p", { class: "soft small" }, [how.values[how.rows[row]], trait && trait.values[trait.rows[row]]].filter(Boolean).map(plain).join(" · ")),
    markBar(record),
  ];
  if (record.drop) parts.push(make("div", { class: "drop" }, make("b", {}, "Dropped at " + plain(String(record.drop.step))), make("div", { class: "text", dir: "auto" }, plain(String(record.drop.reason)))));
  for (const [who, text] of record.turns) parts.push(make("div", { class: "turn " + who.replace(/\W/g, "") }, make("b", {}, plain(who)), textOf(text, who === "user" || who === "system" ? judged : quotes)));
  if (verdicts(record).length) parts.push(make("h3", {}, "Patterns"), make("dl", {}, verdicts(record).map(([id, [level, quote]]) => [make("dt", {}, level), make("dd", { dir: "auto" }, plain(patternName(id)), quote ? make("small", { class: "soft" }, ` “${plain(quote)}”`) : null)])));
  parts.push(...ratings(record));
  if (Object.keys(record.plan).length) parts.push(make("h3", {}, "Plan"), list(record.plan));
  if (record.steps.length) parts.push(make("h3", {}, "How it came about"), ...steps(record));
  if (record.drop && record.drop.raw) parts.push(fold("What was dropped, as it came", !record.turns.length && !record.steps.length, textOf(String(record.drop.raw))));
  if (Object.keys(record.meta).length) parts.push(fold("More", false, list(record.meta)));
  at("record").replaceChildren(...parts);
  at("record").scrollTop = 0;
  for (const one of at("rows").querySelectorAll("[aria-current]")) one.removeAttribute("aria-current");
  while (rendered < order.length && order.indexOf(row) >= rendered) more();
  const link = at("rows").querySelector(`[data-row="${row}"]`);
  if (link) { link.setAttribute("aria-current", "true"); link.scrollIntoView({ block: "nearest" }); }
}

/* marks */
const own = () => (marks[data.name] ||= { marks: {}, records: {} });
function markBar(record) {
  const rated = data.facets.filter((facet) => facet.group === "pattern" && facet.key in record.verdicts);
  if (marking && !rated.some((facet) => facet.key === marking)) marking = "";
  const value = marking ? own().marks[JSON.stringify([record.id, marking])] : undefined, mine = own().records[record.id] || {};
  const choose = make("select", { id: "marking", onchange: (event) => { marking = event.target.value; show(current).then(() => at("marking").focus()); } },
    make("option", { value: "" }, "the record"), rated.map((facet) => make("option", { value: facet.key, selected: facet.key === marking ? "" : null }, facet.title)));
  const button = (mark) => make("button", { type: "button", "data-mark": mark, "aria-pressed": String((marking && "yn".includes(mark) ? value : "yn".includes(mark) ? mine.mark : mine.score) === mark), onclick: () => put(mark), title: { y: "yes (y)", n: "no (n)" }[mark] || `score ${mark}` }, mark);
  const count = Object.keys(own().marks).length + Object.keys(own().records).length;
  return make("div", { class: "marks", role: "group", "aria-label": "Marks" }, make("label", { for: "marking" }, "Mark"), choose, ["y", "n", "1", "2", "3", "4", "5"].map(button),
    make("button", { type: "button", id: "save", onclick: save, disabled: count ? null : "" }, `Save ${count} marks`), make("span", { id: "said", class: "soft", role: "status" }));
}
async function put(mark) {
  const id = data.ids[current], letter = "yn".includes(mark);
  const rows = letter && marking ? own().marks : own().records, key = letter && marking ? JSON.stringify([id, marking]) : id;
  if (letter && marking) { if (rows[key] === mark) delete rows[key]; else rows[key] = mark; }
  else {
    const field = letter ? "mark" : "score", mine = (rows[key] ||= {});
    if (mine[field] === mark) delete mine[field]; else mine[field] = mark;
    if (!Object.keys(mine).length) delete rows[key];
  }
  try { localStorage.setItem(KEY, JSON.stringify(marks)); } catch { /* a browser may forbid it; the file is what counts */ }
  const focused = document.activeElement && document.activeElement.dataset.mark;
  await show(current);
  if (focused) at("record").querySelector(`[data-mark="${focused}"]`).focus();
  at("said").textContent = `marked ${mark}`;
}
function save() {
  const whole = {
    marks: Object.entries(own().marks).map(([key, mark]) => { const [id, pattern] = JSON.parse(key); return { id, pattern, mark }; }),
    records: Object.entries(own().records).map(([id, one]) => ({ id, ...one })),
  };
  const link = make("a", { href: URL.createObjectURL(new Blob([JSON.stringify(whole, null, 1)], { type: "application/json" })), download: `marks-${data.name}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/* where we are */
async function open(name) {
  const next = index.datasets.find((one) => one.name === name) || index.datasets[0];
  if (next === data) return false;
  data = next; filters = {}; current = -1; marking = "";
  at("dataset").value = data.name;
  at("facets").replaceChildren();
  return true;
}
async function route() {
  const [path, asked] = location.hash.slice(1).split("?"), [section, name, id] = path.split("/").map(decodeURIComponent);
  const chosen = sections.find((one) => one.id === section) || sections[0];
  for (const one of sections) one.hidden = one !== chosen;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash !== "#" + chosen.id) { link.removeAttribute("aria-current"); continue; }
    link.setAttribute("aria-current", "page");
    link.scrollIntoView({ block: "nearest", inline: "center" });
  }
  if (chosen.id !== "data") { scrollTo(0, 0); return; }
  await ready;
  const changed = await open(name || (data && data.name));
  if (asked) filters = Object.fromEntries(new URLSearchParams(asked));
  if (changed || asked) await select();
  at("browser").classList.toggle("open", Boolean(id));
  const row = id ? data.ids.indexOf(id) : NARROW.matches ? -1 : asked || current < 0 ? order[0] : current;
  if (row >= 0) await show(row);
  else if (id) at("record").replaceChildren(make("p", {}, `No record ${plain(id)} here${data.sampled ? "; the page holds a sample" : ""}.`));
  if (NARROW.matches && id) scrollTo(0, 0);
  document.body.dataset.ready = "data";
}
async function begin() {
  index = await unpack(at("index").textContent);
  let first = 0;
  for (const one of index.datasets) { one.first = first; first += one.ids.length; }
  try { marks = JSON.parse(localStorage.getItem(KEY)) || {}; } catch { marks = {}; }
  at("dataset").append(...index.datasets.map((one) => make("option", { value: one.name }, `${one.name} (${one.ids.length.toLocaleString("en")})`)));
  at("dataset").addEventListener("change", (event) => { location.hash = "#data/" + encodeURIComponent(event.target.value); });
  const phone = matchMedia("(max-width: 40rem)"), fit = () => { at("filters").open = !phone.matches; };
  phone.addEventListener("change", fit);
  fit();
  let waiting;
  at("search").addEventListener("input", (event) => { clearTimeout(waiting); waiting = setTimeout(() => { query = event.target.value.trim().toLowerCase(); select(); }, 150); });
  new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && rendered < order.length) more(); }, { rootMargin: "600px" }).observe(at("end"));
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !data || at("data").hidden) return;
  if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") { at("search").focus(); event.preventDefault(); }
  else if (/^[yn1-5]$/.test(event.key) && current >= 0) put(event.key);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  sections.find((one) => !one.hidden).querySelector("select, h2").focus();
});
const ready = at("index") ? begin() : Promise.resolve();
addEventListener("hashchange", route);
route();
