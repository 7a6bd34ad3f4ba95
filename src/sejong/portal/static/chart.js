// Time series drawn by uPlot. Each chart has a table twin in the page; this is only for eyes.

import { token } from "./basemap.js";

const HEIGHT = 240;

for (const box of document.querySelectorAll("[data-chart]")) draw(box);
document.addEventListener("htmx:after:swap", () => {
  for (const box of document.querySelectorAll("[data-chart]:not([data-drawn])")) draw(box);
});
document.addEventListener("sejong:look", () => {
  for (const box of document.querySelectorAll("[data-chart]")) draw(box);
});

function draw(box) {
  try {
    box.plot?.destroy();
    const data = box.data ?? JSON.parse(box.dataset.chart);
    box.data = data;
    box.dataset.drawn = "1";
    box.plot = new uPlot(options(box), data, box);
    box.watch ??= watchSize(box);
    box.live ??= follow(box);
  } catch (error) {
    console.warn("chart unavailable", error);
    box.hidden = true;
  }
}

function options(box) {
  const { label, unit, lang, zone: timeZone } = box.dataset, span = Number(box.dataset.span), bars = "bars" in box.dataset;
  const line = token("--chart-line"), ink = token("--ink-soft"), grid = token("--line");
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize) * 1.3;
  const font = `${size}px ${token("--font")}`;
  const clock = new Intl.DateTimeFormat(lang, span > 90000 ? { month: "numeric", day: "numeric", timeZone } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone });
  const full = new Intl.DateTimeFormat(lang, { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone });
  const number = new Intl.NumberFormat(lang, { maximumSignificantDigits: 4 });
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return {
    width: box.clientWidth || 600,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), timeZone),
    scales: { x: { time: true, range: (_, low, high) => (bars ? [low - 45, high + 45] : [low, high]) }, y: { range: (_, low, high) => padded(low, high, bars) } },
    axes: [
      { ...axis, values: (_, splits) => splits.map((at) => clock.format(at * 1000)), space: size * 5.5, size: size * 2.4, grid: { show: false } },
      { ...axis, values: (_, splits) => splits.map((v) => number.format(v)), size: size * 4.2, space: size * 3.2 },
    ],
    series: [
      { value: (_, at) => (at == null ? "" : full.format(at * 1000)), label: " " },
      {
        label,
        stroke: line,
        width: bars ? 0 : 2,
        fill: bars ? line : token("--chart-fill"),
        paths: bars ? uPlot.paths.bars({ size: [0.7, 12], radius: 0.2 }) : undefined,
        points: { show: false },
        value: (_, v) => (v == null ? "–" : `${number.format(v)} ${unit}`),
      },
    ],
    legend: { show: true },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
  };
}

/** Room above and below; counts start at nothing, and a flat line is not drawn as a cliff. */
function padded(low, high, fromZero) {
  if (low == null) return [0, 1];
  if (fromZero) return [0, Math.max(1, high * 1.15)];
  const room = Math.max((high - low) * 0.15, Math.abs(high) * 0.05, 0.01);
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

function watchSize(box) {
  const watch = new ResizeObserver(() => box.plot?.setSize({ width: box.clientWidth, height: HEIGHT }));
  watch.observe(box);
  return watch;
}

/** New readings of the same attribute join the line while the page stays open. */
function follow(box) {
  const values = document.getElementById("values"), name = box.dataset.attr;
  if (!values || !name) return true;
  const watch = new MutationObserver(() => {
    if (!box.isConnected) return watch.disconnect();
    const fresh = values.querySelector(`[data-attr="${CSS.escape(name)}"][data-value]`);
    const at = fresh && Date.parse(fresh.dataset.at) / 1000, [times, numbers] = box.data;
    if (!fresh || at <= times.at(-1)) return;
    const from = at - Number(box.dataset.span), keep = times.findIndex((t) => t >= from);
    box.data = [[...times.slice(keep < 0 ? times.length : keep), at], [...numbers.slice(keep < 0 ? numbers.length : keep), Number(fresh.dataset.value)]];
    box.plot.setData(box.data);
  });
  watch.observe(values, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-at"] });
  return true;
}
