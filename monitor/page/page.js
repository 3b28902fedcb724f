"use strict";
/* All texts come from strangers: they are only ever set as textContent, and links are made of http(s) addresses alone. */

const TAPE = 60;
const CHART_BLOCKS = 96;
const BLOCK_MS = 1_800_000;
const byId = (id) => document.getElementById(id);
let keys = new Map();
let redraw = null;

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function link(text, address) {
  if (typeof address !== "string" || !/^https?:\/\//i.test(address)) return make("span", { text });
  return make("a", { text, href: address, rel: "noopener noreferrer nofollow", target: "_blank" });
}

async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

const number = (value, digits = 1) => (typeof value === "number" ? value.toFixed(digits) : "–");
const two = (value) => String(value).padStart(2, "0");

/* In the viewer's zone and 24 hours, with the date unless it is today; UTC on hover. Takes ISO text or milliseconds. */
function when(moment) {
  if (moment === null || moment === undefined) return make("span", { text: "–" });
  const at = new Date(moment);
  const hours = `${two(at.getHours())}:${two(at.getMinutes())}`;
  const today = at.toDateString() === new Date().toDateString();
  const text = today ? `${hours}:${two(at.getSeconds())}` : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${hours}`;
  const utc = at.toISOString();
  return make("time", { datetime: utc, title: `${utc.slice(0, 19).replace("T", " ")} UTC`, text });
}

function byline(parts) {
  return make("span", { class: "by" }, ...parts.flatMap((part, place) => (place ? [" · ", part] : [part])));
}

function span(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/* Kinds of adverse events, where the model tells them: in alerts and documents of before there are none. */
function events(kinds) {
  return (kinds || []).flatMap((kind) => [" ", make("span", { class: "tag event", text: kind.replaceAll("_", " ") })]);
}

/* A headline with the phrases that carry it marked, by strength. Their places count code points, not UTF-16 units. */
function headline(one) {
  const whole = link(one.headline, one.url);
  if (!one.why?.length) return whole;
  const letters = [...one.headline];
  let done = 0;
  whole.replaceChildren();
  for (const [start, end, weight] of one.why) {
    const strength = weight >= 0.5 ? "strong" : weight >= 0.2 ? "medium" : "light";
    whole.append(letters.slice(done, start).join(""), make("mark", { class: strength, text: letters.slice(start, end).join("") }));
    done = end;
  }
  whole.append(letters.slice(done).join(""));
  return whole;
}

/* The same in words: colours alone tell nothing to who can't see them. */
function carried(one) {
  const letters = [...one.headline];
  if (one.why?.length) return `because of ${one.why.map(([start, end, weight]) => `“${letters.slice(start, end).join("")}” (${Math.round(100 * weight)} %)`).join(", ")}`;
  return one.unexplained === "headline" ? "because of its text, not of the headline" : null;
}

const CARRIED = "Marked is what makes a headline bad news to the model: how much of the probability goes when the words are taken out.";

function story(one) {
  const by = [one.publisher || one.source, when(one.first_seen)];
  if (one.reprints) by.push(`${one.reprints} reprint${one.reprints > 1 ? "s" : ""}, counted once`);
  by.push(`${Math.round(100 * one.negative)} % negative`);
  const reason = carried(one);
  if (reason) by.push(reason);
  return make("li", {}, headline(one), ...events(one.events), " ", byline(by));
}

const WEIGHED = "Bad stories are weighed: each counts by how new it is (a reprint counts nothing), how much it is about the subject and how surely it is bad. So what is observed is usually below the number of stories.";
const EXPECTED = "The same weight as the subject's own history explains it, and the range in which it would lie nine times of ten.";
const SCORE = "How seldom chance alone would bring this key to so much evidence, as a logarithm: 3 is what chance does once in 19 months, 7 once in 90 years. At the threshold it rings.";

function figures(unusual, rang) {
  const expected = unusual.expected;
  const rows = [
    ["observed", number(unusual.observed), WEIGHED],
    ["expected", `${number(expected.value, 2)} (${number(expected.low, 2)} to ${number(expected.high, 2)})`, EXPECTED],
    ["stories", unusual.negative_stories],
    ["publishers", unusual.publishers],
    [rang ? "score when it rang" : "score when last told", `${number(unusual.score)} of ${number(unusual.threshold)}`, SCORE],
    ["baseline", span(unusual.baseline_span_seconds)],
    ["share", `${Math.round(100 * unusual.share)} % bad, usually ${Math.round(100 * unusual.usual_share)} %`],
  ];
  return make("p", { class: "figures" }, ...rows.map(([name, value, meaning]) => make("span", {},
    meaning ? make("abbr", { text: name, title: meaning }) : name, " ", make("b", { text: String(value) }))));
}

function alertCard(record, whole, open) {
  const data = record.body.data;
  const card = make("article", { class: `alert ${data.severity}`, "data-alert": record.alert });
  const href = `/alerts/${encodeURIComponent(record.alert)}`;
  card.append(
    make("h3", {}, make("span", { class: `tag severity ${data.severity}`, text: data.severity }), " ",
      whole ? make("span", { text: data.summary }) : make("a", { href, text: data.summary })),
    figures(data.unusual, record.type === "alert.firing"),
  );
  const why = make("details", { class: "why" }, make("summary", { text: "Why" }),
    make("ol", { class: "stories" }, ...data.evidence.stories.map(story)));
  why.open = open;
  if (data.evidence.counter.length) {
    why.append(make("p", { class: "by", text: "Against it:" }), make("ul", { class: "stories" }, ...data.evidence.counter.map(story)));
  }
  card.append(why);
  const merged = data.merged;
  if (merged?.total) {
    const more = merged.total - merged.keys.length;
    const names = merged.keys.map((one) => `${one.name} (${one.severity})`).concat(more ? [`${more} more`] : []);
    card.append(make("p", { class: "by merged", text: `Part of it: ${names.join(", ")}` }));
  }
  if (record.merged_into) {
    card.append(make("p", { class: "by" }, "Told by ", make("a", { href: `/alerts/${encodeURIComponent(record.merged_into)}`, text: "another alert" }), ", which it is part of"));
  }
  if (whole) card.append(make("p", { class: "by", text: `${CARRIED} ${WEIGHED} Score: ${SCORE.charAt(0).toLowerCase()}${SCORE.slice(1)}` }));
  const cover = data.coverage;
  const own = cover.subject_stale?.length
    ? ` · ${cover.subject_stale.join(", ")} missing: ${Math.round(100 * cover.subject_seen)} % of its usual news was seen` : "";
  const unread = cover.unread?.length ? `, ${cover.unread.join(", ")} not read yet` : "";
  const seen = `${cover.sources_healthy} of ${cover.sources_expected} sources healthy${unread}${own}`;
  card.append(make("p", { class: "by", text: record.silenced_by ? `${seen} · silenced` : seen }));
  return card;
}

/* The most severe first; of equals, a company before a topic before everything at once. */
function rank(record) {
  const severity = ["info", "warning", "error", "critical"].indexOf(record.severity);
  const kind = record.key.startsWith("entity:") ? 2 : record.key.startsWith("topic:") ? 1 : 0;
  return 10 * severity + kind;
}

async function drawAlerts() {
  const [firing, past] = await Promise.all([get("/api/v1/alerts?status=firing"), get("/api/v1/alerts?status=resolved&limit=12")]);
  const box = byId("firing");
  const opened = new Set([...box.querySelectorAll("details[open]")].map((one) => one.closest("article").dataset.alert));
  const first = box.childElementCount === 0;
  firing.alerts.sort((a, b) => rank(b) - rank(a));
  box.replaceChildren(...firing.alerts.map((record, place) => alertCard(record, false, opened.has(record.alert) || (place === 0 && (first || !opened.size)))));
  if (!firing.alerts.length) box.append(make("p", { class: "quiet", text: "Nothing. Every watched key is within what its history expects." }));
  byId("past").replaceChildren(...past.alerts.map((record) => make("li", {},
    make("a", { href: `/alerts/${encodeURIComponent(record.alert)}`, text: record.body.data.summary }), " ",
    byline([when(record.at)]))));
  if (!past.alerts.length) byId("past").append(make("li", { class: "quiet", text: "None." }));
  byId("overview").classList.toggle("calm", !firing.alerts.length);
  byId("count").hidden = !firing.alerts.length;
  byId("count").textContent = String(firing.alerts.length);
  document.title = firing.alerts.length ? `(${firing.alerts.length}) tapewatch` : "tapewatch";
}

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function chart(points, name) {
  const width = 600, height = 46;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  const byStart = new Map();
  for (const point of points) {
    const start = Date.parse(point.start);
    const old = byStart.get(start) || { bad: 0, expected: 0, low: 0, high: 0 };
    byStart.set(start, { bad: old.bad + point.bad, expected: old.expected + point.expected, low: old.low + point.expected_low, high: old.high + point.expected_high });
  }
  const all = [...byStart.keys()].sort((a, b) => a - b);
  const end = (all.at(-1) ?? 0) + BLOCK_MS, begin = end - CHART_BLOCKS * BLOCK_MS;
  const starts = all.filter((start) => start >= begin);
  const blocks = starts.map((start) => byStart.get(start));
  const top = Math.max(1, ...blocks.map((block) => Math.max(block.bad, block.high)));
  const step = width / CHART_BLOCKS;
  const y = (value) => height - 1 - (value / top) * (height - 3);
  let line = "";
  blocks.forEach((block, place) => {
    const x = ((starts[place] - begin) / BLOCK_MS) * step;
    svg.append(shape("rect", { class: "band", x, y: y(block.high), width: step + 0.5, height: Math.max(0.8, y(block.low) - y(block.high)) }));
    if (block.bad > 0.005) svg.append(shape("rect", { class: "bar", x: x + step * 0.2, y: y(block.bad), width: step * 0.6, height: Math.max(0.5, height - 1 - y(block.bad)) }));
    const joined = place && starts[place] - starts[place - 1] === BLOCK_MS;
    line += `${joined ? "L" : "M"}${x.toFixed(1)} ${y(block.expected).toFixed(1)}L${(x + step).toFixed(1)} ${y(block.expected).toFixed(1)}`;
  });
  if (line) svg.append(shape("path", { class: "line", d: line }));
  const latest = blocks.at(-1);
  const told = latest ? `${name}: ${number(latest.bad)} bad in the latest block, ${number(latest.expected, 2)} expected` : `${name}: nothing yet`;
  svg.setAttribute("aria-label", told);
  const title = shape("title", {});
  title.textContent = told;
  svg.prepend(title);
  const axis = latest ? make("div", { class: "axis" }, when(begin), when(end)) : null;
  return make("div", {}, svg, axis);
}

/* A score above its threshold is not yet an alert: that asks for several stories of several publishers. */
function waits(key) {
  const fresh = key.latest && Date.now() - Date.parse(key.latest.end) < 3_600_000;
  return fresh && !key.firing && key.score >= key.threshold ? " · above its threshold, too little evidence to ring" : "";
}

async function drawKeys() {
  const found = (await get("/api/v1/keys")).keys;
  const shown = found.filter((key) => key.latest || key.watchlists.length).slice(0, 14);
  const fresh = new Map();
  await Promise.all(shown.map(async (key) => {
    fresh.set(key.key, (await get(`/api/v1/series?key=${encodeURIComponent(key.key)}&limit=300`)).series);
  }));
  keys = fresh;
  byId("keys").replaceChildren(...shown.map((key) => {
    const label = key.name;
    const mood = typeof key.sentiment_index === "number" ? ` · mood ${key.sentiment_index >= 0 ? "+" : ""}${number(key.sentiment_index, 2)}` : "";
    const note = key.baseline_span ? `score now ${number(key.score)} of ${number(key.threshold)} · baseline ${span(key.baseline_span)}${mood}${waits(key)}` : "no history yet";
    return make("div", { class: key.firing ? "key firing" : "key" },
      make("div", { class: "name" }, make("span", { text: key.firing ? `${label} — ${key.firing}` : label, title: key.key }), make("span", { class: "span", text: note })),
      chart(keys.get(key.key) || [], label));
  }));
}

function tapeRow(one) {
  const mood = one.sentiment ? one.sentiment.label : "unread";
  const about = one.entities.map((entity) => entity.name);
  if (one.topic) about.push(one.topic.label);
  const by = [when(one.published), one.publisher || one.author || one.source, ...about];
  /* History that was backfilled is no news, however late it came: it stays behind all others. */
  return make("li", { "data-at": one.backfill ? "" : one.at }, make("span", { class: `mood ${mood}`, text: mood }), " ",
    ...(one.backfill ? [make("span", { class: "tag", text: "history" }), " "] : []), link(one.title, one.url),
    ...events(one.risk?.labels.map((risk) => risk.label)), " ", byline(by));
}

async function drawTape() {
  const found = await get(`/api/v1/documents?limit=${TAPE}`);
  byId("tape").replaceChildren(...found.documents.map(tapeRow));
}

function onDocument(one) {
  const tape = byId("tape");
  const later = [...tape.children].find((row) => row.dataset.at <= one.at);
  tape.insertBefore(tapeRow(one), later ?? null);
  while (tape.children.length > TAPE) tape.lastChild.remove();
}

async function drawSources() {
  const found = await get("/api/v1/sources");
  byId("sources").replaceChildren(...found.sources.flatMap((one) => [make("tr", {},
    make("th", { scope: "row", text: one.source }),
    make("td", one.unread ? { text: "not read yet" } : { class: one.state, text: one.state }),
    make("td", {}, when(one.last_success)), make("td", {}, when(one.last_new)),
    make("td", { text: String(one.items_total) })),
  ...(one.reason ? [make("tr", {}, make("td", { class: "reason", colspan: "5", text: one.reason }))] : [])]));
}

function healthy(cover) {
  return `${cover.healthy} of ${cover.expected} healthy${cover.unread ? `, ${cover.unread} not read yet` : ""}`;
}

function drifted(one) {
  const found = one.measures.filter((look) => one.rings_since[look.reference] && look.effect > look.limit)
    .map((look) => `${look.measure} ${number(look.effect, 2)} (limit ${number(look.limit, 2)}, ${look.reference})`);
  if (Object.keys(one.rings_since).length) return `${one.class} texts changed${found.length ? `: ${found.join(", ")}` : ", and are coming back"}`;
  return one.blocks_learned < one.blocks_needed ? `${one.class}: ${one.blocks_learned} of ${one.blocks_needed} days learned` : `${one.class}: none`;
}

async function drawFacts() {
  const status = await get("/api/v1/status");
  const drift = status.parts.includes("notify") ? (await get("/api/v1/drift")).drift : [];
  const lag = Math.max(0, ...Object.values(status.lag).map((stage) => stage.seconds));
  const rows = [["model", [`${status.model} since `, when(status.model_in_use.since)]], ["sources", healthy(status.coverage)],
    ["lag", `${number(lag)} s`], ["watched", `${status.watched_keys} keys`], ["false alarms asked for", `${status.false_alarms_per_key_month} per key and month`]];
  if (drift.length) rows.push(["drift", drift.map(drifted).join("; ")]);
  if (!status.ready) rows.unshift(["not ready", status.reasons.join("; ")]);
  byId("facts").replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", {}, ...[value].flat()))));
}

function soon() {
  /* Many events, one redraw a second. */
  redraw ??= setTimeout(() => { redraw = null; drawKeys().catch(report); }, 1000);
}

function report(error) { console.error(error); }

function drawAll() {
  return Promise.all([drawFacts(), drawAlerts(), drawKeys(), drawTape(), drawSources()]);
}

function say(text, kind) { const state = byId("state"); state.textContent = text; state.className = kind; }

function follow() {
  const events = new EventSource("/api/v1/stream");
  const on = (kind, handler) => events.addEventListener(kind, (event) => handler(JSON.parse(event.data)));
  events.onopen = () => { say("live", "live"); drawAll().catch(report); };
  events.onerror = () => say("disconnected: what you see is old; trying again…", "lost");
  on("document", onDocument);
  on("alert", () => { drawAlerts().catch(report); soon(); });
  on("series", soon);
  on("source", () => drawSources().catch(report));
  on("reset", () => drawAll().catch(report));
  setInterval(() => drawFacts().catch(report), 5000);
}

async function showAlert(id) {
  byId("overview").hidden = true;
  const box = byId("one");
  box.hidden = false;
  const found = await get(`/api/v1/alerts/${encodeURIComponent(id)}`);
  const latest = found.events.at(-1);
  box.append(make("div", { class: "wide" }, alertCard(latest, true, true)));
  box.append(make("section", {}, make("h2", { text: "Life" }), make("ul", {}, ...found.events.map((event) =>
    make("li", {}, when(event.at), ` — ${event.type.replace("alert.", "")} (${event.severity})`)))));
  const kinds = new Map(found.events.map((event) => [event.id, event.type.replace("alert.", "")]));
  box.append(make("section", {}, make("h2", { text: "Delivery" }), make("ul", {}, ...found.attempts.map((attempt) =>
    make("li", {}, when(1000 * attempt.at), ` — ${kinds.get(attempt.event)} to ${attempt.channel}: ${attempt.ok ? "delivered" : attempt.reason}, attempt ${attempt.number}`)))));
  say("", "");
}

function noAlert(error) {
  const gone = error.message.endsWith(": 404");
  say(gone ? "no such alert" : "the alert could not be read", "lost");
  byId("one").replaceChildren(make("p", { class: "wide" }, gone ? "It never was, or its time of keeping is over. " : `${error.message}. `,
    make("a", { href: "/", text: "Back to what is firing now" })));
}

/* A part of an address that is no proper escape stands for itself: it is the name of nothing. */
function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

const path = location.pathname.match(/^\/alerts\/([^/]+)$/);
if (path) showAlert(decoded(path[1])).catch(noAlert);
else follow();
