// The page: asks /status every two seconds and /history every five, and draws what they say. No library, no build.
const STATUS_MS = 2000;
const OWNERS_MS = 15000;
const HISTORY_MS = 5000;
const ROWS_MAX = 300;
const CHANGES_MAX = 30;
const CHANGES_OF_TABLE = 10;
const $ = (id) => document.getElementById(id);

let paused = false;
let status = null;
let before = null;
let sort = { column: "topic", down: false };

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Replaces what is shown only where it is another, so that focus and selection stay.
function fill(node, children) {
  const fresh = document.createElement(node.nodeName);
  fresh.append(...children);
  if (fresh.innerHTML !== node.innerHTML) node.replaceChildren(...fresh.childNodes);
}

function count(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) < 10 && value % 1 !== 0) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
}

function short(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)}${unit}`;
  }
  return count(value);
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 << 20 ? `${(value / 1024).toFixed(0)} KiB` : `${(value / 1048576).toFixed(0)} MiB`;
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 s";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

async function ask(path, patience = 10000) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(patience) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function showHealth() {
  const stopped = status.reasons.some((reason) => reason.stopped);
  const [text, look] = status.ready ? (status.reasons.length ? ["Ready, something waits", "waiting"] : ["Ready", "good"])
    : stopped ? ["Stopped: a person has to act", "stopped"]
    : status.phase === "running" ? ["Not ready", "waiting"] : [status.phase === "starting" ? "Starting" : "Stopping", "waiting"];
  if ($("health").textContent !== text) $("health").textContent = text;
  $("health").className = `badge ${look}`;
  $("binary").textContent = status.binary;
  $("version").textContent = status.version;
  document.title = `${status.ready ? "" : "! "}${status.binary} · ${status.group_id}`;
  const owned = status.partitions.filter((it) => it.state !== "elsewhere");
  const lag = owned.reduce((sum, it) => sum + (it.lag_records ?? 0), 0);
  const facts = {
    Group: status.group_id, Instance: status.group_instance_id ?? `process ${status.process_id}`,
    Up: seconds((status.now_ms - status.started_ms) / 1000), Partitions: owned.length, Lag: count(lag),
    "In flight": `${status.requests_in_flight} of ${status.requests_in_flight_max}`, Memory: bytes(status.rss_bytes),
  };
  fill($("facts"), Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

function showWaits() {
  $("waits-section").hidden = status.reasons.length === 0;
  fill($("waits"), status.reasons.slice(0, 50).map((reason) => {
    const since = seconds(Math.max(0, status.now_ms - reason.since_ms) / 1000);
    return el("li", { class: reason.stopped ? "stopped" : "waiting" }, el("b", {}, reason.of), `${reason.text} `, el("small", {}, `for ${since}`));
  }));
}

function perSecond(now, then, passed) {
  return then === undefined || passed <= 0 ? null : Math.max(0, now - then) / passed;
}

function showRoutes() {
  const passed = before ? (status.now_ms - before.now_ms) / 1000 : 0;
  const known = new Map((before?.routes ?? []).map((it) => [`${it.topic}\n${it.table}`, it.upserts + it.deletes]));
  const rows = status.routes.map((it) => {
    const rate = perSecond(it.upserts + it.deletes, known.get(`${it.topic}\n${it.table}`), passed);
    return el("tr", {}, el("td", {}, it.topic), el("td", {}, it.table), el("td", { class: "n" }, count(rate)),
      el("td", { class: "n" }, count(it.upserts)), el("td", { class: "n" }, count(it.deletes)));
  });
  fill($("routes"), rows.length ? rows : [el("tr", {}, el("td", { colspan: "5" }, "No partition is assigned yet."))]);
}

function showChanges() {
  const words = $("changes-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = status.routes.flatMap((route) => route.changes.map((it) => ({ ...it, topic: route.topic, table: route.table })));
  const found = all.filter((it) => words.every((word) => `${it.table} ${it.topic} ${it.op}`.toLowerCase().includes(word)));
  found.sort((a, b) => b.durable_ms - a.durable_ms || b.offset - a.offset);
  $("changes-hint").textContent = `The last ${CHANGES_OF_TABLE} of each table, without what is in them. cdcconsumer explain has a row whole.`;
  const rows = found.slice(0, CHANGES_MAX).map((it) => el("tr", {}, el("td", {}, new Date(it.durable_ms).toLocaleTimeString()), el("td", {}, it.table),
    el("td", {}, it.op), el("td", {}, `${it.topic}[${it.partition}] at ${it.offset}`)));
  fill($("changes"), rows.length ? rows : [el("tr", {}, el("td", { colspan: "4" }, "None since the start of this process."))]);
}

function showRejects() {
  const rows = status.rejects.map((it) => el("tr", {}, el("td", {}, it.topic), el("td", {}, it.class), el("td", { class: "n" }, count(it.count))));
  fill($("rejects"), rows.length ? rows : [el("tr", {}, el("td", { colspan: "3" }, "None since the start of this process."))]);
}

let letters = [];
// Who owns what, by topic and partition, as Kafka last told.
let owners = new Map();

function ownerOf(it) {
  if (it.state !== "elsewhere") return "this process";
  const owner = owners.get(`${it.topic}\n${it.partition}`);
  return owner ? `${owner.host} (${owner.member})` : "–";
}

function showLetters() {
  const words = $("letters-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = letters.filter((it) => words.every((word) => `${it.class} ${it.origin} ${it.route}`.toLowerCase().includes(word)));
  $("letters-hint").textContent = `${found.length} of the ${letters.length} newest. cdcconsumer dead-letters show ORIGIN has one whole.`;
  fill($("letters"), found.map((it) => el("tr", {},
    el("td", {}, it.refused_ms === null ? "–" : new Date(it.refused_ms).toLocaleString()), el("td", {}, it.class), el("td", {}, it.origin),
    el("td", {}, it.route), el("td", { class: "long" }, it.text, el("br"), el("code", {}, `${it.key} ${it.value}`)))));
}

async function askLetters() {
  $("letters-ask").disabled = true;
  $("letters-hint").textContent = "Reading the dead-letter topic …";
  try {
    letters = await ask("/dead-letters", 60000);
    $("letters-list").hidden = $("letters-tools").hidden = letters.length === 0;
    showLetters();
  } catch (error) {
    $("letters-hint").textContent = `They cannot be read now (${error.message}).`;
  }
  $("letters-ask").disabled = false;
}

const COLUMNS = [
  ["topic", "Topic", (it) => it.topic], ["partition", "Partition", count], ["state", "State", null],
  ["lag_records", "Lag", count], ["lag_seconds", "Behind", seconds], ["unfinished_seconds", "Working for", seconds],
  ["held_records", "In hand", count], ["held_bytes", "Held", bytes], ["rate", "Records/s", count],
  ["owner", "Owner", (text) => text], ["dead_lettered", "Dead letters", count], ["retries", "Retries", count], ["next_offset", "Next offset", count],
];

function showHeads() {
  fill($("columns"), COLUMNS.map(([key, title]) => {
    const by = sort.column === key ? (sort.down ? "descending" : "ascending") : "none";
    const mark = by === "none" ? "" : sort.down ? " ▾" : " ▴";
    const button = el("button", { type: "button", "data-key": key }, title + mark);
    return el("th", { scope: "col", "aria-sort": by, class: ["topic", "state", "owner"].includes(key) ? "" : "n" }, button);
  }));
}

function showPartitions() {
  const passed = before ? (status.now_ms - before.now_ms) / 1000 : 0;
  const known = new Map((before?.partitions ?? []).map((it) => [`${it.topic}\n${it.partition}`, it.finished]));
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const known_here = new Set(status.partitions.map((it) => `${it.topic}\n${it.partition}`));
  const of_others = [...owners].filter(([place]) => !known_here.has(place)).map(([, it]) => ({ topic: it.topic, partition: it.partition, state: "elsewhere" }));
  const all = [...status.partitions, ...of_others].map((it) => ({ ...it, owner: ownerOf(it) }));
  let rows = all.map((it) => ({ ...it, rate: perSecond(it.finished, known.get(`${it.topic}\n${it.partition}`), passed) }));
  rows = rows.filter((it) => words.every((word) => `${it.topic}[${it.partition}] ${it.state} ${it.owner}`.toLowerCase().includes(word)));
  if ($("troubled").checked) rows = rows.filter((it) => it.paused || !["running", "elsewhere"].includes(it.state) || (it.lag_records ?? 0) > 0);
  const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1));
  rows.sort((a, b) => (sort.down ? -1 : 1) * order(a[sort.column], b[sort.column]) || a.partition - b.partition);
  $("shown").textContent = rows.length > ROWS_MAX ? `${ROWS_MAX} of ${rows.length} shown` : `${rows.length} of ${all.length}`;
  fill($("rows"), rows.slice(0, ROWS_MAX).map((it) => el("tr", {}, ...COLUMNS.map(([key, , format]) => {
    if (key === "state") {
      const [state, look] = it.paused && it.state === "running" ? ["paused", "waiting"] : [it.state, it.state === "running" ? "good" : it.state];
      return el("td", {}, el("span", { class: `state ${look}` }, state));
    }
    return el("td", { class: ["topic", "owner"].includes(key) ? "" : "n" }, key === "partition" ? String(it.partition) : format(key === "topic" ? it : it[key]));
  }))));
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// One or two lines over time. A point without a value interrupts its line.
function chart(title, samples, lines, format) {
  const [width, height, left, bottom] = [400, 120, 44, 14];
  const [first, last] = [samples[0]?.at_ms ?? 0, samples.at(-1)?.at_ms ?? 1];
  const top = Math.max(1e-9, ...lines.flatMap(([, , of]) => samples.map((it, at) => of(it, samples[at - 1]) ?? 0)));
  const x = (at) => left + ((at - first) / Math.max(1, last - first)) * (width - left - 4);
  const y = (value) => 6 + (1 - value / top) * (height - bottom - 10);
  const paths = lines.map(([, look, of]) => {
    let path = "", pen = "M";
    samples.forEach((it, at) => {
      const value = of(it, samples[at - 1]);
      if (value === null || value === undefined) { pen = "M"; return; }
      path += `${pen}${x(it.at_ms).toFixed(1)},${y(value).toFixed(1)}`;
      pen = "L";
    });
    return svg("path", { d: path || "M0,0", class: look });
  });
  const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const grid = [0, 0.5, 1].flatMap((share) => [
    svg("line", { x1: left, x2: width - 4, y1: y(top * share), y2: y(top * share), class: "grid" }),
    svg("text", { x: left - 4, y: y(top * share) + 3, "text-anchor": "end" }, top < 1e-6 ? (share ? "" : "0") : format(top * share)),
  ]);
  const times = samples.length > 1 ? [svg("text", { x: left, y: height - 2 }, clock(first)), svg("text", { x: width - 4, y: height - 2, "text-anchor": "end" }, clock(last))] : [];
  const now = lines.map(([name, look, of]) => {
    const value = samples.length ? of(samples.at(-1), samples.at(-2)) : null;
    return el("span", { class: `key-${look}` }, `${name} `, el("strong", {}, value === null || value === undefined ? "–" : format(value)));
  });
  const told = `${title}: ${now.map((it) => it.textContent).join(", ")}`;
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told }, ...grid, ...times, ...paths);
  return el("figure", {}, el("figcaption", {}, title, ...now), drawn);
}

function showHistory(samples) {
  const rate = (key) => (it, then) => (then ? perSecond(it[key], then[key], (it.at_ms - then.at_ms) / 1000) : null);
  fill($("charts"), [
    chart("Rate", samples, [["records/s", "a", rate("finished")], ["rows/s", "b", rate("rows")]], short),
    chart("Delay from the source", samples, [["p50", "a", (it) => it.delay_p50_seconds], ["p99", "b", (it) => it.delay_p99_seconds]], seconds),
    chart("Lag", samples, [["records", "a", (it) => it.lag_records]], short),
    chart("Retries and dead letters", samples, [["retries/s", "a", rate("retries")], ["dead letters/s", "b", rate("dead_lettered")]], short),
  ]);
}

function show() {
  showHealth();
  showWaits();
  showRoutes();
  showChanges();
  showRejects();
  showPartitions();
}

// Kafka may not tell, and then what it told before stands.
async function askOwners() {
  if (!paused && !document.hidden) {
    try {
      owners = new Map((await ask("/owners", 20000)).map((it) => [`${it.topic}\n${it.partition}`, it]));
    } catch { /* The health says that Kafka is away. */ }
  }
  setTimeout(askOwners, OWNERS_MS);
}

async function turn(path, every, use) {
  if (!paused && !document.hidden) {
    try {
      use(await ask(path));
      $("silent").hidden = true;
    } catch (error) {
      $("silent").textContent = `The process does not answer (${error.message}). What is shown is from before.`;
      $("silent").hidden = false;
    }
  }
  setTimeout(() => turn(path, every, use), every);
}

function pause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
}

$("pause").addEventListener("click", pause);
$("letters-ask").addEventListener("click", askLetters);
$("letters-filter").addEventListener("input", showLetters);
$("changes-filter").addEventListener("input", () => status && showChanges());
$("filter").addEventListener("input", () => status && showPartitions());
$("troubled").addEventListener("change", () => status && showPartitions());
$("columns").addEventListener("click", (event) => {
  const key = event.target.dataset?.key;
  if (!key) return;
  sort = { column: key, down: sort.column === key ? !sort.down : !["topic", "partition", "state", "owner"].includes(key) };
  showHeads();
  $("columns").querySelector(`[data-key="${key}"]`).focus();
  if (status) showPartitions();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input");
  if (event.key === "/" && !typing) { event.preventDefault(); $("filter").focus(); }
  if (event.key === "p" && !typing) pause();
  if (event.key === "Escape" && typing) event.target.blur();
});

showHeads();
askOwners();
turn("/status", STATUS_MS, (fresh) => { before = status && status.started_ms === fresh.started_ms ? status : null; status = fresh; show(); });
turn("/history", HISTORY_MS, showHistory);
