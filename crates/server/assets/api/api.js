// The API page: a form for each endpoint of the OpenAPI document, the call for curl, and the reply. Everything that comes from the
// server is put in as text.

import { LANGUAGE, say, translate } from "./text.js";

const DOCUMENT = "/index/api/openapi.json";

/** Optional parameters beyond this many are folded away. */
const SHOWN_PARAMETERS = 8;

/** Longest reply that is shown; the rest is cut off, so that the page stays quick. */
const MAX_SHOWN = 200_000;

const WAYS = ["GET", "POST form", "POST JSON"];

const at = (id) => document.getElementById(id);

/** An element with text, and attributes and listeners by name. */
function make(tag, { text, on = {}, ...attributes } = {}, children = []) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}

/** Text of the document, in which what stands in backquotes is code. */
const words = (text) => text.split("`").map((part, index) => (index % 2 ? make("code", { text: part }) : part));

// ---- a call ----

/** A word of a shell command. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Pairs of names and values as a query string or form. */
const encoded = (pairs) => pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");

/** A value in JSON: what the document calls a number or a switch is one if it looks like one. */
function typed(value, schema) {
  if (schema?.type === "boolean") return value === "1";
  const number = Number(value);
  return ["integer", "number"].includes(schema?.type) && Number.isFinite(number) ? number : value;
}

/** What is to be sent: `{url, method, headers, body}`. */
function request(path, way, entries) {
  const pairs = entries.map(({ name, value }) => [name, value]);
  if (way === "GET") {
    return { url: pairs.length ? `${path}?${encoded(pairs)}` : path, method: "GET", headers: {} };
  }
  const form = way === "POST form";
  return {
    url: path,
    method: "POST",
    headers: { "Content-Type": form ? "application/x-www-form-urlencoded" : "application/json" },
    body: form
      ? encoded(pairs)
      : JSON.stringify(Object.fromEntries(entries.map(({ name, value, schema }) => [name, typed(value, schema)]))),
  };
}

/** The same for a shell. The secret is not written down: `$SECRET` stands for it. */
function curl({ url, method, headers, body }, secret) {
  const command = ["curl"];
  if (method !== "GET") command.push("-X", method);
  if (secret) command.push("-H", '"secret: $SECRET"');
  for (const [name, value] of Object.entries(headers)) command.push("-H", quoted(`${name}: ${value}`));
  if (body !== undefined) command.push("--data-raw", quoted(body));
  command.push(quoted(location.origin + url));
  return command.join(" ");
}

/** A reply as text, with JSON laid out. */
async function readable(response) {
  const kind = response.headers.get("content-type") ?? "";
  if (!/json|^text\//.test(kind)) {
    const bytes = (await response.arrayBuffer()).byteLength;
    return say("apiBytes", { count: bytes, kind });
  }
  let text = await response.text();
  if (kind.includes("json")) {
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Shown as it came.
    }
  }
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}\n${say("apiCut", { count: text.length - MAX_SHOWN })}` : text;
}

// ---- a form ----

/** A field for a parameter; its `read()` gives the pairs to send. */
function field(parameter, id) {
  const { name, required, description, schema } = parameter;
  const about = { id, "aria-describedby": `${id}-about` };
  let input;
  let hint = "";
  if (schema.additionalProperties) {
    input = make("textarea", { ...about, spellcheck: "false", autocapitalize: "none", placeholder: "hook.enable=1" });
    hint = say("apiLines");
  } else if (schema.enum || schema.type === "boolean") {
    const choices = schema.enum ?? ["1", "0"];
    input = make("select", about, ["", ...choices].map((value) => make("option", { text: value, value })));
  } else {
    const number = ["integer", "number"].includes(schema.type);
    input = make("input", { ...about, autocomplete: "off", autocapitalize: "none", spellcheck: "false", inputmode: number ? "decimal" : "text" });
    if (/pwd|passphrase/.test(name)) input.type = "password";
    if (number) hint = `${schema.minimum} … ${schema.maximum}`;
  }
  if (schema.default !== undefined) hint += ` ${say("apiDefault", { value: schema.default })}`;
  // Not enforced here: the server's refusal is worth seeing.
  if (required) hint = `${say("apiRequired")} ${hint}`;
  const read = () => {
    if (schema.additionalProperties) {
      const lines = input.value.split("\n").map((line) => line.split(/=(.*)/s)).filter(([key, value]) => key.trim() && value !== undefined);
      return lines.map(([key, value]) => ({ name: key.trim(), value: value.trim() }));
    }
    return input.value === "" ? [] : [{ name, value: input.value, schema }];
  };
  const element = make("div", { class: "parameter" }, [
    make("label", { for: id }, [make("code", { text: name }), make("span", { class: "note", text: hint.trim() })]),
    input,
    make("p", { class: "note about", id: `${id}-about` }, words(description)),
  ]);
  return { element, required, read };
}

/** The form of an endpoint, with the command and the reply below. */
function form(path, operation) {
  const name = path.split("/").pop();
  const fields = (operation.parameters ?? []).map((parameter, index) => field(parameter, `${name}-${index}`));
  const optional = fields.filter((one) => !one.required);
  const folded = optional.length > SHOWN_PARAMETERS ? optional.slice(SHOWN_PARAMETERS) : [];
  const shown = fields.filter((one) => !folded.includes(one));
  const more = folded.length
    ? [make("details", {}, [make("summary", { text: say("apiMore", { count: folded.length }) }), ...folded.map((one) => one.element)])]
    : [];

  const way = make("select", { "aria-label": say("apiMethod") }, WAYS.map((text) => make("option", { text, value: text })));
  const button = make("button", { type: "submit", class: "main", text: say("apiSend") });
  const command = make("pre", { class: "curl", tabindex: "0", "aria-label": "curl" });
  const state = make("p", { class: "note answer-state", role: "status", "aria-live": "polite" });
  const reply = make("pre", { class: "reply", tabindex: "0", "aria-label": say("apiReply"), hidden: "" });

  const wanted = () => request(path, way.value, fields.flatMap((one) => one.read()));
  const show = () => {
    command.textContent = curl(wanted(), at("secret").value !== "");
  };
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    state.textContent = say("apiWaiting");
    const began = performance.now();
    try {
      const { url, method, headers, body } = wanted();
      const secret = at("secret").value;
      const response = await fetch(url, { method, body, cache: "no-store", headers: secret ? { ...headers, secret } : headers });
      reply.textContent = await readable(response);
      reply.hidden = false;
      state.textContent = say("apiAnswered", { status: response.status, ms: Math.round(performance.now() - began) });
    } catch (error) {
      reply.hidden = true;
      state.textContent = say("apiFailed", { text: error.message });
    }
    button.disabled = false;
  };
  const element = make("form", { on: { submit: send, input: show } }, [
    ...shown.map((one) => one.element),
    ...more,
    make("p", { class: "row" }, [way, button]),
    command,
    state,
    reply,
  ]);
  at("secret").addEventListener("input", show);
  show();
  return element;
}

/** An endpoint, whose form is made when it is opened: all at once are a thousand fields. */
function endpoint(path, operation) {
  const name = path.split("/").pop();
  const summary = make("summary", {}, [make("code", { text: name }), make("span", { class: "note" }, words(operation.summary))]);
  const element = make("details", { class: "endpoint", id: name }, [summary]);
  element.addEventListener("toggle", () => {
    if (element.open && element.children.length === 1) element.append(form(path, operation));
  });
  return element;
}

// ---- the page ----

function list(openapi) {
  for (const { name } of openapi.tags) {
    const own = Object.entries(openapi.paths).filter(([, { get }]) => get.tags.includes(name));
    if (own.length === 0) continue;
    at("endpoints").append(make("section", { "aria-label": name }, [
      make("h2", { text: name }),
      ...own.map(([path, { get }]) => endpoint(path, get)),
    ]));
  }
}

/** Shows what has the words that were typed in its name or summary. */
function filter() {
  const wanted = at("filter").value.toLowerCase().split(/\s+/);
  for (const section of document.querySelectorAll("#endpoints section")) {
    for (const element of section.querySelectorAll("details.endpoint")) {
      const text = element.querySelector("summary").textContent.toLowerCase();
      element.hidden = !wanted.every((word) => text.includes(word));
    }
    section.hidden = !section.querySelector("details.endpoint:not([hidden])");
  }
}

/** Opens the endpoint that a link names. */
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches("details.endpoint")) {
    target.open = true;
    target.scrollIntoView();
  }
}

async function start() {
  translate(document);
  at("permission").addEventListener("submit", (event) => event.preventDefault());
  at("filter").addEventListener("input", filter);
  addEventListener("hashchange", follow);
  try {
    const openapi = await (await fetch(DOCUMENT, { cache: "no-store" })).json();
    if (!openapi.paths) throw new Error(openapi.msg);
    list(openapi);
    follow();
  } catch (error) {
    at("state").textContent = say("apiFailed", { text: error.message });
  }
  document.documentElement.dataset.ready = LANGUAGE;
}

start();
