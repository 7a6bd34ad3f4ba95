// The map islands: the live city, a page of search results, or one place. Without WebGL the lists remain.

import { groundStyle, rgb, token } from "./basemap.js";
import { Fleet, STATES } from "./fleet.js";
import { LiveLine } from "./live.js";
import { mercator } from "./frames.js";
import { DistrictNames } from "./names.js";
import { stillness } from "./page.js";

const SHAPES = ["circle", "arrow", "line", "square", "hexagon", "pentagon", "triangle", "drop", "star", "diamond", "bar", "dot"];
const TOUCH_PX = 18;
const SETTLE_MS = 400;
const LIST_MS = 15000;

for (const box of document.querySelectorAll("[data-map]")) {
  open(box).catch((error) => {
    console.warn("map unavailable", error);
    box.dataset.failed = "1";
    box.querySelector("[data-map-words]").hidden = false;
    for (const words of box.querySelectorAll("[data-map-words] span")) words.hidden = !("noMap" in words.dataset);
    document.getElementById("live-state")?.remove();
  });
}

async function open(box) {
  const library = await import(box.dataset.maplibre);
  const words = JSON.parse(box.dataset.words), kind = box.dataset.map, small = kind === "place";
  const [west, south, east, north] = box.dataset.box.split(",").map(Number);
  const stage = document.createElement("div");
  box.append(stage);
  const map = new library.Map({
    container: stage,
    style: groundStyle(box.dataset.lang),
    center: box.dataset.centre.split(",").map(Number),
    zoom: Number(box.dataset.zoom),
    minZoom: 9,
    maxZoom: 19,
    maxBounds: [[2 * west - east, 2 * south - north], [2 * east - west, 2 * north - south]],
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    scrollZoom: !small,
    dragPan: !small || !matchMedia("(pointer: coarse)").matches,
    fadeDuration: stillness() ? 0 : 200,
    localIdeographFontFamily: token("--font"),
    locale: { "Map.Title": box.dataset.label, "NavigationControl.ZoomIn": words.in, "NavigationControl.ZoomOut": words.out, "NavigationControl.ResetBearing": words.north },
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
  const fleet = new Fleet({ stage: map.getCanvasContainer(), still: stillness });
  new DistrictNames({ map, stage: map.getCanvasContainer(), language: box.dataset.lang });
  const island = { box, map, fleet, words, flows: new Map(), after: [] };
  map.on("style.load", () => dress(island));
  document.addEventListener("sejong:look", () => map.setStyle(groundStyle(box.dataset.lang), { diff: false }));
  map.once("load", () => {
    box.querySelector("[data-map-words]").hidden = true;
    box.dataset.ready = "1";
  });
  box.island = island;
  ({ live: watchCity, points: showPoints, place: showPlace })[kind](island, library);
}

/** After every change of style: colours, our layer, the flow on the roads. */
function dress({ map, fleet, flows, after }) {
  fleet.colours(rgb);
  map.addLayer(fleet);
  for (const [id, s] of flows) map.setFeatureState({ source: "ground", sourceLayer: "road", id }, { s });
  for (const step of after) step();
}

function watchCity(island) {
  const { map, fleet, words } = island;
  const form = document.getElementById("layers"), state = document.getElementById("live-state");
  const layers = () => [...form.querySelectorAll("[data-layer]:checked")].map((box) => box.value);
  let lineWords = words.connecting;
  const show = () => {
    state.querySelector("[data-live-words]").textContent =
      state.dataset.state === "live" ? `${words.live} · ${words.count.replace("{n}", fleet.count.toLocaleString())}` : lineWords;
  };
  fleet.onCount = show;
  const line = new LiveLine({
    look: () => ({ bbox: bounds(map), zoom: map.getZoom(), layers: layers() }),
    hello: (hello) => fleet.hello(hello),
    frame: (frame) => fleet.apply(frame),
    roads: (roads) => flow(island, roads),
    state: (name) => {
      state.dataset.state = name;
      lineWords = words[name];
      show();
    },
    words,
  });
  map.once("load", () => line.open());
  map.on("moveend", () => line.look());
  let moved = false, timer;
  const list = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const query = new URLSearchParams([...layers(), "none"].map((key) => ["layer", key]));
      if (moved) query.set("bbox", bounds(map).map((n) => n.toFixed(5)).join(","));
      htmx.ajax("GET", `/now/nearby?${query}`, { target: "#nearby", swap: "innerMorph" });
    }, SETTLE_MS);
  };
  map.on("moveend", (event) => {
    if (event.originalEvent) moved = true;
    if (moved) list();
  });
  form.addEventListener("change", () => {
    const on = layers();
    const query = new URLSearchParams([...on, "none"].map((key) => ["layer", key]));
    history.replaceState(history.state, "", `/?${query}`);
    for (const part of document.querySelectorAll("[data-legend]")) part.hidden = !on.includes(part.dataset.legend);
    if (!on.includes("road")) flow(island, Object.fromEntries([...island.flows.keys()].map((id) => [id, 0])));
    line.look();
    list();
  });
  setInterval(() => document.hidden || list(), LIST_MS);
  if (matchMedia("(min-width: 1280px) and (min-height: 800px)").matches) document.getElementById("legend").open = true;
  choosable(island);
}

function flow({ map, flows }, roads) {
  for (const [link, s] of Object.entries(roads)) {
    const id = Number(link);
    flows.set(id, s);
    if (map.getSource("ground")) map.setFeatureState({ source: "ground", sourceLayer: "road", id }, { s });
  }
}

function showPoints(island, library) {
  const points = JSON.parse(island.box.dataset.points);
  place(island, points.map(([no, lon, lat, shape, state]) => ({ no, lon, lat, shape, state, size: 18 })));
  if (points.length) {
    const all = points.reduce((box, [, lon, lat]) => box.extend([lon, lat]), new library.LngLatBounds());
    island.map.fitBounds(all, { padding: 48, maxZoom: 16, animate: false });
  }
  choosable(island);
}

function showPlace(island, library) {
  const geometry = JSON.parse(island.box.dataset.geometry), { map, box } = island;
  if (geometry.type === "Point") {
    const [lon, lat] = geometry.coordinates;
    place(island, [{ no: 0, lon, lat, shape: box.dataset.shape, state: box.dataset.state, size: 26 }]);
    map.jumpTo({ center: [lon, lat], zoom: 15.5 });
    return;
  }
  island.after.push(() => {
    map.addSource("thing", { type: "geojson", data: { type: "Feature", properties: {}, geometry } });
    map.addLayer({ id: "thing-area", source: "thing", type: "fill", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": token("--accent"), "fill-opacity": 0.15 } });
    map.addLayer({ id: "thing-line", source: "thing", type: "line", paint: { "line-color": token("--accent"), "line-width": 4 } });
  });
  const all = new library.LngLatBounds();
  geometry.coordinates.flat(Infinity).forEach((n, i, flat) => i % 2 || all.extend([n, flat[i + 1]]));
  map.fitBounds(all, { padding: 24, maxZoom: 16, animate: false });
}

/** Draws fixed points through the same layer as the live ones. */
function place({ fleet, box }, points) {
  const [west, south, east, north] = box.dataset.box.split(",").map(Number);
  const [x0, y0] = mercator(2 * west - east, 2 * north - south), [x1, y1] = mercator(2 * east - west, 2 * south - north);
  const step = Math.max(x1 - x0, y1 - y0) / 65535, n = points.length;
  fleet.hello({ west: x0, north: y0, step, kinds: SHAPES.map((_, shape) => [shape, points[0]?.size ?? 18]) });
  const frame = { forget: true, put: new Uint32Array(n), gone: [], x: new Uint16Array(n), y: new Uint16Array(n), kind: new Uint8Array(n), state: new Uint8Array(n) };
  points.forEach(({ no, lon, lat, shape, state }, i) => {
    const [x, y] = mercator(lon, lat);
    frame.put[i] = no;
    frame.x[i] = Math.round((x - x0) / step);
    frame.y[i] = Math.round((y - y0) / step);
    const drawn = shape === "line" || shape === "area" ? "dot" : shape;
    frame.kind[i] = Math.max(0, SHAPES.indexOf(drawn));
    frame.state[i] = Math.max(0, STATES.indexOf(state));
  });
  fleet.apply(frame);
}

/** A click near a thing shows its small card; Escape and a click elsewhere close it. */
function choosable({ map, fleet }) {
  const pop = document.getElementById("pop");
  const close = () => (pop.hidden = true);
  map.on("click", async ({ lngLat }) => {
    const [x, y] = mercator(lngLat.lng, lngLat.lat);
    const number = fleet.nearest(x, y, TOUCH_PX / (512 * 2 ** map.getZoom()));
    if (number === undefined) return close();
    await htmx.ajax("GET", `/now/card/${number}`, { target: "#pop", swap: "innerHTML" });
    pop.hidden = false;
  });
  pop.addEventListener("click", (event) => event.target.closest("[data-close]") && close());
  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  map.getCanvas().classList.add("choosable");
}

const bounds = (map) => {
  const box = map.getBounds();
  return [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
};
