// The page: joins the list, the choice of a way, and playing. Everything that comes from the server is put in as text.

import { List } from "./list.js";
import { Playback } from "./play.js";
import { LANGUAGE, say, translate } from "./text.js";
import { WAYS, abilities, nextWay, parseName, urlFor, waysFor } from "./ways.js";

const at = (id) => document.getElementById(id);
const video = at("video");
const able = abilities(video);

/** How often the figures below the picture are renewed. */
const FIGURES_MS = 500;

/** What is being played, or was: name, ways that were tried, the attempt, and what was said about the ways. */
let watching = null;
let streams = [];

// ---- playing ----

/** Plays a stream, by the way that is selected or by the best one. */
function watch(name) {
  leave();
  watching = { name, tried: [], began: performance.now(), said: [], playback: null };
  at("name").value = name.query && !isListed(name) ? `${name.path}?${name.query}` : name.path;
  history.replaceState(null, "", `${location.pathname}#${name.path.split("/").map(encodeURIComponent).join("/")}${name.query ? `?${name.query}` : ""}`);
  at("stop").disabled = false;
  at("stats").hidden = false;
  mark();
  attempt();
}

/** Stops, and says why if there is something to say. */
function leave(text = "") {
  watching?.playback?.stop();
  if (watching) watching.playback = null;
  at("stop").disabled = true;
  if (text) at("state").textContent = text;
}

/** Tries the way that was chosen by hand, or the next one. */
function attempt(silent = false) {
  const judged = waysFor(entryOf(watching.name), able);
  const byHand = at("way").value;
  const choice = byHand ? judged.find((one) => one.way.id === byHand) : nextWay(judged, watching.tried);
  if (!choice?.possible) {
    const reasons = judged.map((one) => `${say(one.way.id)}: ${sayWhy(one.why)}`).join("; ");
    leave(say("nothingPlays", { reasons: byHand ? sayWhy(choice.why) : reasons }));
    return;
  }
  if (silent) choice.sound = false;
  watching.tried.push(choice.way.id);
  const words = { way: say(choice.way.id), why: sayWhy(choice.why) };
  tell(say(byHand ? "byHand" : "byItself", words));
  at("state").textContent = say("waiting", { name: watching.name.path });
  const mine = watching;
  const playback = new Playback(video, choice, urlFor(choice, watching.name, location), {
    picture: () => {
      at("state").textContent = say("playing", { name: mine.name.path });
      figures();
    },
    blocked: () => { at("state").textContent = say("blocked"); },
    ended: () => leave(say("ended")),
    failed: (why, more) => failed(choice, why, more, Boolean(byHand)),
  });
  // The time to the first picture counts the ways that failed before.
  playback.began = watching.began;
  watching.playback = playback;
  playback.start();
}

function failed(choice, why, { status, sound }, byHand) {
  const words = { way: say(choice.way.id), text: sayWhy(why) };
  if (sound && choice.sound) {
    tell(say("withoutSound"));
    watching.tried.pop();
    attempt(true);
    return;
  }
  const entry = entryOf(watching.name);
  const next = byHand ? null : nextWay(waysFor(entry, able), watching.tried);
  // A refusal is about the viewer, and the absence of a stream that nobody knew is about the stream: another way would only wait
  // and be told the same.
  const final = status === 401 || status === 403 || status === 503 || (status === 404 && !entry);
  if (!next || final) {
    leave(say("failed", words));
    return;
  }
  tell(say("failedNext", { ...words, next: say(next.way.id) }));
  attempt();
}

function tell(text) {
  watching.said.push(text);
  at("story").textContent = watching.said.join(" ");
}

const sayWhy = ({ key, ...values }) => say(key, values);

function figures() {
  const stats = watching?.playback?.stats();
  if (!stats) return;
  const show = (id, value, text) => { at(id).textContent = value === null || value === "" ? say("unknown") : text; };
  show("latency", stats.latencyMs, say("ms", { value: stats.latencyMs }));
  at("latency-box").title = sayWhy(stats.tip);
  show("first-picture", stats.firstPictureMs, say("ms", { value: stats.firstPictureMs }));
  show("resolution", stats.size, stats.size);
  const tracks = entryOf(watching.name)?.tracks.map((track) => track.codec).join(" + ");
  show("codec", tracks || stats.codecs, tracks ? `${tracks}${stats.codecs ? ` (${stats.codecs})` : ""}` : stats.codecs);
  show("frames", stats.decoded, say("decodedDropped", { decoded: stats.decoded, dropped: stats.dropped }));
  show("bitrate", stats.kbps, say("kbps", { value: stats.kbps }));
}

// ---- the list ----

/** Streams outside the default virtual host are asked for with their host. */
const queryOf = (entry) => (entry.vhost === "__defaultVhost__" ? "" : `vhost=${encodeURIComponent(entry.vhost)}`);
const pathOf = (entry) => `${entry.app}/${entry.stream}`;

function entryOf({ path, query }) {
  return streams.find((entry) => pathOf(entry) === path && (!queryOf(entry) || query.includes(queryOf(entry)))) ?? null;
}

function isListed(name) {
  return streams.some((entry) => pathOf(entry) === name.path && queryOf(entry) === name.query);
}

const items = new Map();

function show(state) {
  streams = state.streams;
  at("sign-in").hidden = !state.signIn;
  at("listed").hidden = Boolean(state.signIn);
  at("sign-out").hidden = Boolean(state.signIn || state.open || state.error);
  const empty = streams.length === 0 ? say("noStreams") : "";
  const more = state.leftOut ? say("leftOut", { count: state.leftOut }) : "";
  at("list-note").textContent = state.error ? say("listFailed", { text: state.error }) : empty || more || say("listNote");
  // Items are kept, so that the focus stays where it is.
  const old = new Set(items.keys());
  streams.forEach((entry, index) => {
    const id = `${entry.vhost}/${pathOf(entry)}`;
    old.delete(id);
    if (!items.has(id)) items.set(id, item(entry));
    const { row, about } = items.get(id);
    about.textContent = describe(entry);
    const list = at("streams");
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const id of old) {
    items.get(id).row.remove();
    items.delete(id);
  }
  mark();
  ways();
}

function item(entry) {
  const [row, button, name, about] = ["li", "button", "strong", "span"].map((tag) => document.createElement(tag));
  button.type = "button";
  button.dataset.stream = pathOf(entry);
  button.dataset.query = queryOf(entry);
  name.textContent = pathOf(entry);
  about.className = "about";
  button.append(name, about);
  row.append(button);
  return { row, about };
}

function describe(entry) {
  const video = entry.tracks.find((track) => track.video?.width)?.video;
  const size = video ? `${video.width} × ${video.height}` : "";
  const codecs = entry.tracks.map((track) => track.codec).join(" + ");
  const minutes = Math.floor(entry.alive_second / 60);
  const time = minutes < 60 ? `${minutes}:${String(entry.alive_second % 60).padStart(2, "0")}` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const parts = [size, codecs, say("readers", { count: entry.readers }), say("alive", { time }), entry.schemas.join(", ")];
  return parts.filter(Boolean).join(" · ");
}

/** Marks the stream that is played in the list. */
function mark() {
  const name = watching?.name;
  for (const button of document.querySelectorAll("#streams button")) {
    const current = name && button.dataset.stream === name.path && button.dataset.query === name.query;
    button.setAttribute("aria-current", String(Boolean(current)));
  }
}

/** The ways to choose from: what the stream or the browser has not is shown, with the reason, and cannot be chosen. */
function ways() {
  const select = at("way");
  const judged = waysFor(watching ? entryOf(watching.name) : null, able);
  for (const { way, possible, why } of judged) {
    const option = select.querySelector(`option[value="${way.id}"]`);
    option.disabled = !possible;
    option.textContent = possible ? say(way.id) : `${say(way.id)} – ${sayWhy(why)}`;
  }
}

// ---- what a person does ----

translate(document);
at("way").append(new Option(say("automatic"), ""), ...WAYS.map((way) => new Option(say(way.id), way.id)));
const list = new List(show);

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-stream]");
  if (button) watch({ path: button.dataset.stream, query: button.dataset.query ?? "" });
});
at("typed").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = parseName(at("name").value);
  if (name) watch(name);
  else at("state").textContent = say("badName");
});
at("stop").addEventListener("click", () => leave(say("stopped")));
at("way").addEventListener("change", () => watching?.playback && watch(watching.name));
at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = at("secret");
  const secret = field.value;
  field.value = "";
  const right = await list.signIn(secret);
  at("sign-in-note").textContent = say(right ? "signInNote" : "badSecret");
  if (!right) field.focus();
});
at("sign-out").addEventListener("click", () => list.signOut());
window.addEventListener("hashchange", fromAddress);
setInterval(figures, FIGURES_MS);

/** Plays what the address of the page names: `/?stream=live/cam1` or `/#live/cam1`. */
function fromAddress() {
  const text = location.hash.length > 1 ? location.hash.slice(1) : new URLSearchParams(location.search).get("stream") ?? "";
  const [path, ...query] = text.split("?");
  let plain = path;
  try {
    plain = location.hash.length > 1 ? decodeURIComponent(path) : path;
  } catch {
    // A `%` that encodes nothing is a part of the name.
  }
  const name = parseName([plain, ...query].join("?"));
  if (name) watch(name);
}

ways();
// The list first, if there is one: it tells how the stream can be played.
list.renew().then(() => {
  fromAddress();
  document.documentElement.dataset.ready = LANGUAGE;
});
