// The console: every call of the page becomes a small form that sends it and shows the answer.

const home = document.getElementById("console");
const words = JSON.parse(home.dataset.words);
const SHOWN = 20000;
const FIRST = 6;

for (const call of home.querySelectorAll(".call")) {
  call.addEventListener("toggle", () => call.open && !call.ready && prepare(call));
  if (call.open) prepare(call);
}
document.getElementById("made")?.focus();
document.getElementById("use")?.focus();

/** An element with attributes and children. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== false) made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
}

function prepare(call) {
  call.ready = true;
  const place = call.querySelector("[data-try]"), params = JSON.parse(place.dataset.params), example = JSON.parse(place.dataset.example);
  const field = ([name, where, must]) =>
    el("label", {}, `${name}${must ? ` (${words.must})` : ""}`, el("input", { id: `${call.id}-${name}`, "data-name": name, "data-where": where, required: must, value: example[name] ?? "", autocomplete: "off", spellcheck: "false" }));
  params.sort((a, b) => rank(b, example) - rank(a, example));
  const form = el("form", { class: "try" }, el("div", { class: "fields" }, ...params.slice(0, FIRST).map(field)));
  if (params.length > FIRST) {
    const more = el("summary", {}, words.more.replace("{n}", params.length - FIRST));
    form.append(el("details", {}, more, el("div", { class: "fields" }, ...params.slice(FIRST).map(field))));
  }
  if ("body" in place.dataset) form.append(el("label", {}, words.body, el("textarea", { id: `${call.id}-body`, spellcheck: "false" })));
  form.append(el("p", { class: "row" }, el("button", { class: "krds-btn small primary", id: `${call.id}-send` }, words.send)));
  const answer = el("div", { class: "answer", role: "status", id: `${call.id}-answer` });
  form.append(answer);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(call, form, answer);
  });
  place.replaceChildren(form);
}

/** What must be given and what has an example comes first. */
const rank = ([name, , must], example) => 2 * must + (name in example);

function address(call, form) {
  let path = call.dataset.path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("[data-name]")) {
    if (input.dataset.where === "path") path = path.replace(`{${input.dataset.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(input.dataset.name, input.value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function send(call, form, answer) {
  const key = document.getElementById("console-key").value.trim(), body = form.querySelector("textarea")?.value;
  const headers = { Accept: "application/json, */*;q=0.5" };
  if (key) headers["X-API-Key"] = key;
  if (call.dataset.path.startsWith("/ngsi-ld/")) headers.Link = `<${location.origin}/context/city.jsonld>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"`;
  if (body) headers["Content-Type"] = "application/json";
  answer.replaceChildren(el("p", { class: "soft" }, words.sending));
  const url = address(call, form), began = performance.now();
  try {
    const response = await fetch(url, { method: call.dataset.method, headers, body: body || undefined, credentials: "omit" });
    const text = await response.text(), took = Math.round(performance.now() - began);
    const shown = pretty(text, response.headers.get("content-type") ?? "");
    const cut = shown.length > SHOWN;
    const head = `${response.status} ${response.statusText} · ${took} ms · ${text.length.toLocaleString()} B${cut ? ` · ${words.cut}` : ""}`;
    const area = el("div", { class: "code", tabindex: "0", role: "region", "aria-label": words.answer }, el("pre", {}, shown.slice(0, SHOWN)));
    answer.replaceChildren(el("p", { class: `mark-note ${response.ok ? "good" : "bad"}` }, head), el("p", { class: "soft small" }, url), area);
  } catch (error) {
    answer.replaceChildren(el("p", { class: "mark-note bad" }, `${words.failed}: ${error.message}`));
  }
}

function pretty(text, type) {
  if (!type.includes("json") || type.includes("ndjson")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text;
  }
}
