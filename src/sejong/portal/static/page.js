// What every page does: ages stay true, choices apply at once, things can be copied.

const root = document.documentElement;
const ages = document.body.dataset.ages.split("|");
const skew = Date.parse(root.dataset.now) - Date.now();
const steps = [[86400, 4], [3600, 3], [60, 2], [10, 1]];

/** City time in milliseconds, as the server keeps it. */
export const cityNow = () => Date.now() + skew;

/** The same words `say.age_text` writes on the server. */
export function ageWords(then, now = cityNow()) {
  const seconds = Math.trunc((now - then) / 1000);
  for (const [step, words] of steps) {
    if (seconds >= step) return ages[words].replace("{n}", words === 1 ? seconds : Math.trunc(seconds / step));
  }
  return ages[0];
}

function keepAges() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const words = ageWords(Date.parse(time.dateTime));
    if (time.textContent !== words) time.textContent = words;
  }
}

/** Says a sentence to screen readers, once. */
export function say(words) {
  const region = document.getElementById("said");
  if (region) region.textContent = words;
}

/** Whether things should hold still. */
export const stillness = () =>
  root.dataset.motion === "reduce" || matchMedia("(prefers-reduced-motion: reduce)").matches;

function choose(form) {
  const chosen = new FormData(form);
  for (const name of ["theme", "size", "motion"]) root.dataset[name] = chosen.get(name);
  document.dispatchEvent(new CustomEvent("sejong:look"));
  fetch(form.action, { method: "POST", body: new URLSearchParams(chosen), redirect: "manual" }).catch(() => {});
}

async function copy(button) {
  const text = document.querySelector(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(document.querySelector(button.dataset.copy));
    document.execCommand("copy");
  }
  say(button.dataset.said);
}

function nearMe(button) {
  const search = new URLSearchParams(new FormData(button.form));
  navigator.geolocation.getCurrentPosition(
    ({ coords }) => {
      search.set("near", `${coords.longitude.toFixed(5)},${coords.latitude.toFixed(5)}`);
      location.href = `/find?${search}`;
    },
    () => say(button.dataset.failed),
    { timeout: 8000, maximumAge: 60000 },
  );
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.near) nearMe(button);
});
document.getElementById("view-form")?.addEventListener("change", (event) => choose(event.currentTarget));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  document.dispatchEvent(new CustomEvent("sejong:look")),
);
setInterval(keepAges, 5000);
keepAges();
