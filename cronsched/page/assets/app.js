// @ts-check
// What a page does beyond reading: it stays up to date, times count on, keys. Every page is complete without it.
// HTML is never made here: the server renders parts, and a part takes the place of the old one.

const html = globalThis.trustedTypes ? trustedTypes.createPolicy("cronsched", { createHTML: (text) => text }) : null;
const skew = Number(document.body.dataset.now) - Date.now(); // the server's clock counts, not the browser's
const live = document.getElementById("live");

/** The named part of this page as the server renders it now; null: it could not be had. */
async function fetchPart(name) {
  const url = new URL(location.href);
  url.searchParams.set("part", name);
  const answer = await fetch(url, { credentials: "same-origin", redirect: "error" });
  if (answer.status === 401 || answer.status === 403) {
    heard({ type: "out", data: "" });
    throw new Error("logged out");
  }
  if (!answer.ok) return null;
  const text = await answer.text();
  const parsed = new DOMParser().parseFromString(/** @type {any} */ (html ? html.createHTML(text) : text), "text/html");
  return parsed.getElementById(`part-${name}`);
}

/** Whether somebody is at work in it: then it is not pulled away from under them. */
function inUse(part) {
  return part.contains(document.activeElement) && document.activeElement !== document.body
    || part.matches(":hover") && part.querySelector(":checked")
    || part.querySelector("input:checked") || !getSelection()?.isCollapsed && part.contains(getSelection()?.anchorNode ?? null);
}

let waiting = 0, changes = 0;
async function refresh() {
  waiting = 0;
  looked = Date.now();
  for (const part of document.querySelectorAll("[data-part]")) {
    if (document.hidden || part.classList.contains("followed")) continue;
    if (inUse(part)) { offer(part); continue; }
    try {
      const now = await fetchPart(/** @type {HTMLElement} */ (part).dataset.part);
      if (now && now.innerHTML !== part.innerHTML && !inUse(part)) part.replaceWith(now);
    } catch { return; }
  }
  changes = 0;
  tick();
}

/** "12 changes, show": for those who look at a row just now. */
function offer(part) {
  let bar = part.previousElementSibling;
  if (!bar?.classList.contains("offer")) {
    bar = document.createElement("p");
    bar.className = "offer";
    const button = document.createElement("button");
    button.addEventListener("click", () => { bar?.remove(); (/** @type {HTMLElement} */ (document.activeElement)).blur(); for (const b of part.querySelectorAll("input:checked")) b.checked = false; refresh(); });
    bar.append(button);
    part.before(bar);
  }
  const button = bar.querySelector("button");
  if (button) button.textContent = `${changes} changes, show`;
}

let looked = 0;
/** Many changes are one look, soon, and at most one in a second. */
function changed() {
  changes++;
  if (!waiting) waiting = setTimeout(refresh, Math.max(250, looked + 1000 - Date.now()));
}

// ---- events: one connection for all tabs of this site ----

let delay = 1000;
let source = null;
const others = globalThis.BroadcastChannel ? new BroadcastChannel("cronsched") : null;

function connect() {
  source = new EventSource(`/v1/events?kinds=run,job,cluster`);
  source.addEventListener("hello", (e) => { delay = 1000; heard({ type: "hello", data: e.data }); });
  for (const type of ["run", "job", "cluster", "reset"]) source.addEventListener(type, (e) => heard({ type, data: e.data }));
  source.onerror = async () => {
    source.close();
    source = null;
    heard({ type: "gone", data: "" });
    const who = await fetch("/v1/whoami", { credentials: "same-origin" }).catch(() => null);
    if (who?.status === 401 || who?.status === 403) { heard({ type: "out", data: "" }); return; }
    setTimeout(connect, delay * (0.75 + Math.random() / 2));
    delay = Math.min(delay * 2, 30000);
  };
}

function heard(event) {
  others?.postMessage(event);
  take(event);
}

let since = "";
function take(event) {
  if (!live) return;
  if (event.type === "out") {
    const link = document.createElement("a");
    link.href = `/ui/login?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = "you are logged out: log in again";
    live.replaceChildren(link);
    return;
  }
  if (event.type === "gone") {
    since = since || new Date(Date.now() + skew).toISOString().slice(11, 19);
    live.textContent = `not live since ${since}`;
    return;
  }
  const was = since;
  since = "";
  if (event.type === "hello") {
    live.textContent = "live";
    if (was || JSON.parse(event.data).index > Number(document.body.dataset.index)) changed();
  } else {
    changed();
  }
}

if (document.querySelector("[data-part]") && globalThis.EventSource) {
  if (others) others.onmessage = (m) => take(m.data);
  if (others && navigator.locks) navigator.locks.request("cronsched-events", () => { connect(); return new Promise(() => {}); });
  else connect();
}

// ---- a log that goes on ----

const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[^[\]])/g; // what steers a terminal
const CUT = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b\n]*)?$/; // the beginning of one
const PIECES_MAX = 2000;

async function follow(log) {
  const run = location.pathname.split("/").pop();
  const answer = await fetch(`/v1/runs/${run}/logs?attempt=${log.dataset.follow}&tail=500&follow=1`, { credentials: "same-origin" });
  if (!answer.ok || !answer.body) return;
  const part = log.closest("[data-part]"), reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", first = true;
  part.classList.add("followed");
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const low = log.scrollHeight - log.scrollTop - log.clientHeight < 40; // who has scrolled up stays there
    const text = rest + value;
    rest = CUT.exec(text)?.[0] ?? "";
    if (first) log.textContent = "";
    first = false;
    log.append(text.slice(0, text.length - rest.length).replace(SEQUENCE, "").replace(/\r\n?/g, "\n"));
    while (log.childNodes.length > PIECES_MAX) log.firstChild.remove();
    if (low) log.scrollTop = log.scrollHeight;
  }
  part.classList.remove("followed");
  changed();
}
for (const log of document.querySelectorAll("pre[data-follow]")) follow(log).catch(() => {});

// ---- times ----

const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
function span(s) {
  let i = units.findIndex(([n]) => s >= Number(n));
  if (i < 0) i = 3;
  const [n, u] = units[i], rest = i < 3 ? Math.floor((s % Number(n)) / Number(units[i + 1][0])) : 0;
  return `${Math.floor(s / Number(n))} ${u}${rest ? ` ${rest} ${units[i + 1][1]}` : ""}`;
}
function tick() {
  if (document.hidden) return;
  const now = Date.now() + skew;
  for (const t of document.querySelectorAll("time[data-relative]")) {
    const s = Math.round((Date.parse(t.getAttribute("datetime") ?? "") - now) / 1000);
    const text = s === 0 ? "now" : s > 0 ? `in ${span(s)}` : `${span(-s)} ago`;
    if (t.textContent !== text) t.textContent = text;
  }
}
setInterval(tick, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { tick(); if (changes) refresh(); } });

// ---- keys: only outside of fields, and with no modifier ----

let before = "";
document.addEventListener("keydown", (e) => {
  const field = /** @type {HTMLElement} */ (e.target);
  if (e.isComposing || field.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(field.tagName)) {
    if (e.key === "Escape") field.blur();
    return;
  }
  if (e.key === "k" && e.ctrlKey && !e.altKey) { e.preventDefault(); document.getElementById("jump")?.focus(); return; }
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const rows = [...document.querySelectorAll("tbody tr")];
  const here = rows.findIndex((r) => r.contains(document.activeElement));
  const go = before === "g" ? { n: "/ui/", j: "/ui/jobs", r: "/ui/runs", t: "/ui/tonight", c: "/ui/cluster" }[e.key] : "";
  before = e.key;
  if (go) location.assign(go);
  else if (e.key === "/") { e.preventDefault(); document.getElementById("jump")?.focus(); }
  else if (e.key === "j" || e.key === "k") rows[Math.max(0, Math.min(rows.length - 1, here + (e.key === "j" ? 1 : -1)))]?.querySelector("a")?.focus();
  else if (e.key === "x") rows[here]?.querySelector("input[type=checkbox]")?.click();
  else if (e.key === "[" || e.key === "]") document.querySelector(`a[rel=${e.key === "[" ? "prev" : "next"}]`)?.click();
});

// After a logout nothing is shown by "back".
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
