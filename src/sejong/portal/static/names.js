// District names over everything that moves: read from the base map, placed by us, so that no marker hides them.

const HIDDEN_FROM = 16;
const ROOM = 6;

/** Keeps the names of the districts in view above the fleet. Only for eyes: the lists name them in words. */
export class DistrictNames {
  constructor({ map, stage, language }) {
    this.map = map;
    this.language = language;
    this.names = new Map();
    this.box = document.createElement("div");
    this.box.className = "districts";
    this.box.setAttribute("aria-hidden", "true");
    stage.append(this.box);
    map.on("sourcedata", ({ sourceId, isSourceLoaded }) => sourceId === "ground" && isSourceLoaded && this.read());
    map.on("render", () => this.place());
  }

  read() {
    if (!this.map.getSource("ground")) return;
    const found = this.map.querySourceFeatures("ground", { sourceLayer: "place", filter: ["==", ["get", "kind"], "dong"] });
    for (const { properties, geometry } of found) {
      if (this.names.has(properties.name)) continue;
      const label = document.createElement("span");
      label.textContent = (this.language === "en" && properties.name_en) || properties.name;
      this.box.append(label);
      this.names.set(properties.name, { label, at: geometry.coordinates, sort: properties.sort ?? 0, width: 0, height: 0 });
    }
    this.order = [...this.names.values()].sort((a, b) => a.sort - b.sort);
    for (const name of this.order) if (!name.width) Object.assign(name, { width: name.label.offsetWidth, height: name.label.offsetHeight });
  }

  /** Puts each name where its district is; of two that would touch, the more important one is shown. */
  place() {
    const taken = [], hide = this.map.getZoom() >= HIDDEN_FROM;
    for (const name of this.order ?? []) {
      const { x, y } = this.map.project(name.at), { width, height, label } = name;
      const mine = [x - width / 2 - ROOM, y - height / 2 - ROOM, x + width / 2 + ROOM, y + height / 2 + ROOM];
      const free = !hide && !taken.some(([l, t, r, b]) => mine[0] < r && mine[2] > l && mine[1] < b && mine[3] > t);
      if (free) {
        taken.push(mine);
        label.style.transform = `translate(${Math.round(x - width / 2)}px, ${Math.round(y - height / 2)}px)`;
      }
      if (name.shown !== free) {
        name.shown = free;
        label.style.visibility = free ? "visible" : "hidden";
      }
    }
  }
}
