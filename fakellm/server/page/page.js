"use strict";
// Shows what the server tells at `events`, and asks for the rest of a request when somebody opens it. All that came
// from outside is put on the page as text.
const byId = (id) => document.getElementById(id);
const session = new URLSearchParams(location.search).get("session") || "";
const about = (path) => (session ? `${path}?session=${encodeURIComponent(session)}` : path);
const MOST = 500; // requests that are shown, the latest
const rows = new Map();
const seconds = (value) => `${value.toFixed(value < 10 ? 3 : 1)} s`;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;

function make(name, text, kind) {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function count() {
  const misses = [...rows.values()].filter((row) => row.call.state === "missed").length;
  const last = Math.max(0, ...rows.keys());
  const text = last ? `${plural(last, "request")}, ${plural(misses, "miss")}` : "Nothing was asked yet";
  if (byId("count").textContent !== text) byId("count").textContent = text;
  byId("empty").hidden = rows.size > 0;
}

function show(call) {
  let row = rows.get(call.number);
  if (!row) {
    const item = byId("call").content.firstElementChild.cloneNode(true);
    row = { item, moments: [], call };
    rows.set(call.number, row);
    item.id = `call-${call.number}`;
    item.querySelector("details").addEventListener("toggle", () => fill(row));
    byId("calls").prepend(item);
    if (rows.size > MOST) {
      const [oldest, gone] = rows.entries().next().value;
      gone.item.remove();
      rows.delete(oldest);
    }
  }
  row.call = call;
  row.moments.push(...call.moments);
  const find = (kind) => row.item.querySelector(`summary ${kind}`);
  row.item.classList.toggle("is-miss", call.state === "missed");
  find(".number").textContent = call.number;
  find(".state").textContent = call.status ? `${call.status} ${call.state}` : call.state;
  find(".state").className = `badge state ${call.state}`;
  find(".provider").textContent = call.provider || "nobody";
  find(".path").textContent = `${call.method} ${call.path}`;
  find(".model").textContent = call.model;
  draw(row);
  fill(row);
}

// When the pieces were written: a mark each, on a line from the request on that is as long as the answer took so far.
function draw(row) {
  const axis = row.item.querySelector(".axis");
  const svg = axis.querySelector("svg");
  axis.hidden = row.call.state === "missed" || !row.moments.length;
  if (axis.hidden) return;
  const last = row.moments[row.moments.length - 1][0];
  svg.querySelectorAll(".chunk").forEach((mark) => mark.remove());
  for (const [at] of row.moments) {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const place = { class: "chunk", x: `${last ? (at / last) * 100 : 0}%`, y: 3, width: 3, height: 18 };
    for (const [name, value] of Object.entries(place)) mark.setAttribute(name, value);
    svg.append(mark);
  }
  const pieces = plural(row.call.pieces, "piece");
  svg.setAttribute("aria-label", `${pieces}, the first after ${seconds(row.moments[0][0])}, the last after ${seconds(last)}`);
  axis.querySelector(".time").textContent = `${pieces}, ${seconds(last)}`;
}

async function fill(row) {
  const details = row.item.querySelector("details");
  const asked = `${row.call.state} ${row.call.pieces} ${row.moments.length}`;
  if (!details.open || row.asked === asked) return;
  row.asked = asked;
  const answer = await fetch(about(`calls/${row.call.number}`));
  if (!answer.ok) {
    details.querySelector(".whole").textContent = (await answer.json()).error.message;
    return;
  }
  const call = await answer.json();
  const whole = byId("whole").content.cloneNode(true);
  const find = (kind) => whole.querySelector(kind);
  if (call.miss) find(".miss pre").textContent = call.miss;
  else find(".miss").remove();
  for (const message of call.request.messages) {
    const shown = make("p", "", "message");
    shown.append(make("b", message.role), make("span", message.content));
    find(".messages").append(shown);
  }
  const headers = Object.entries(call.request.headers).map(([name, value]) => `${name}: ${value}`);
  find(".headers").textContent = headers.join("\n");
  find(".body").textContent = call.request.json === null ? call.request.body : JSON.stringify(call.request.json, null, 2);
  find(".said").textContent = call.miss ? `Its client was answered ${call.status}, with what stands above.` : "";
  find(".reply").textContent = call.reply || "";
  find(".error").textContent = call.error && !call.miss ? call.error : "";
  for (const chunk of call.chunks) {
    const line = document.createElement("tr");
    const said = chunk.said.length ? chunk.said.join(" ") : (chunk.text || "").trimEnd();
    line.append(make("td", chunk.at === null ? "" : chunk.at.toFixed(3)), make("td", said));
    if (chunk.text) line.lastChild.title = chunk.text;
    find("tbody").append(line);
  }
  if (!call.chunks.length) find(".scroll").remove();
  else if (call.pieces > call.chunks.length) {
    find(".answer").append(make("p", `and ${plural(call.pieces - call.chunks.length, "piece")} more`));
  }
  const opened = [...details.querySelectorAll(".whole details")].map((one) => one.open);
  const scrolled = details.querySelector(".scroll")?.scrollTop || 0;
  const place = details.querySelector(".whole");
  place.replaceChildren(whole);
  place.querySelectorAll("details").forEach((one, number) => (one.open = Boolean(opened[number])));
  if (place.querySelector(".scroll")) place.querySelector(".scroll").scrollTop = scrolled;
}

async function state() {
  const answer = await fetch(about("state"));
  const found = answer.ok ? await answer.json() : await (await fetch("state")).json();
  const select = byId("session");
  for (const one of found.sessions.filter((each) => each.name)) select.append(new Option(one.name, one.name));
  if (session && ![...select.options].some((option) => option.value === session)) select.append(new Option(session, session));
  select.value = session;
  byId("places").replaceChildren();
  for (const provider of found.providers) {
    byId("places").append(make("dt", provider.name), make("dd", provider.base_url));
  }
}

byId("session").addEventListener("change", (event) => {
  const name = event.target.value;
  location.search = name ? `?session=${encodeURIComponent(name)}` : "";
});
byId("misses").addEventListener("change", (event) => byId("calls").classList.toggle("only-misses", event.target.checked));

function clear() {
  rows.clear();
  byId("calls").replaceChildren();
  count();
}

const events = new EventSource(about("events"));
events.addEventListener("open", clear);
events.addEventListener("reset", clear);
events.addEventListener("call", (event) => {
  show(JSON.parse(event.data));
  count();
});
events.addEventListener("error", () => (byId("count").textContent = "The server does not answer; trying again …"));
state();
