// The quiet ground under everything: the pack's own boundaries, streets and names, in the page's colours.

/** Reads a custom property of the page. */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A colour property as red, green, blue from 0 to 1. */
export function rgb(name) {
  const paper = document.createElement("canvas").getContext("2d");
  paper.fillStyle = token(name) || "#888";
  const hex = paper.fillStyle;
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
}

const wide = (...stops) => ["interpolate", ["exponential", 1.5], ["zoom"], ...stops];
const rank = ["match", ["get", "class"], ["motorway", "trunk"], 1, "primary", 0.8, ["secondary", "tertiary"], 0.6, 0.4];
const byRank = (...stops) => wide(...stops.map((stop, i) => (i % 2 ? ["*", rank, stop] : stop)));

/** The MapLibre style in a language. Roads take the flow colour of their feature state `s`. */
export function groundStyle(language) {
  const name = language === "en" ? ["coalesce", ["get", "name_en"], ["get", "name"]] : ["get", "name"];
  const tiles = { source: "ground" };
  const flow = ["match", ["feature-state", "s"], 1, token("--flow-good"), 2, token("--flow-fair"), 3, token("--flow-bad"), "#0000"];
  return {
    version: 8,
    sources: { ground: { type: "vector", tiles: [`${location.origin}/tiles/{z}/{x}/{y}.pbf`], minzoom: 9, maxzoom: 14 } },
    layers: [
      { id: "outside", type: "background", paint: { "background-color": token("--map-outside") } },
      { id: "land", ...tiles, "source-layer": "boundary", type: "fill", paint: { "fill-color": token("--map-land"), "fill-antialias": false } },
      { id: "border", ...tiles, "source-layer": "boundary", type: "line", paint: { "line-color": token("--map-border"), "line-width": wide(9, 0.5, 14, 1), "line-dasharray": [3, 3], "line-opacity": 0.7 } },
      { id: "path", ...tiles, "source-layer": "sidewalk", type: "line", minzoom: 14, paint: { "line-color": token("--map-path"), "line-width": wide(14, 0.8, 18, 5) } },
      { id: "road-edge", ...tiles, "source-layer": "road", type: "line", layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": token("--map-road-edge"), "line-width": byRank(9, 2.4, 13, 6, 18, 34) } },
      { id: "road", ...tiles, "source-layer": "road", type: "line", layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": token("--map-road"), "line-width": byRank(9, 1.2, 13, 4, 18, 29) } },
      { id: "flow", ...tiles, "source-layer": "road", type: "line", layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": flow, "line-width": wide(9, ["match", ["feature-state", "s"], 3, 2.4, 2, 1.8, 1], 14, ["match", ["feature-state", "s"], 3, 5, 2, 3.4, 2], 18, ["match", ["feature-state", "s"], 3, 11, 2, 8, 5]), "line-offset": wide(11, 0, 14, 1.6, 18, 7) } },
      { id: "spot", ...tiles, "source-layer": "place", type: "symbol", minzoom: 13.5, filter: ["!=", ["get", "kind"], "dong"], layout: { "text-field": name, "text-font": ["Pretendard GOV"], "text-size": 12, "text-max-width": 8, "text-padding": 6, "symbol-sort-key": ["get", "sort"] }, paint: { "text-color": token("--map-label-soft"), "text-halo-color": token("--map-halo"), "text-halo-width": 1.6 } },
    ],
  };
}
