// The line to `/live`: says what is looked at, hears what changed, comes back when it breaks.

import { readFrame } from "./frames.js";
import { say } from "./page.js";

const LOOK_MS = 250;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;

export class LiveLine {
  constructor({ look, hello, frame, roads, state, words }) {
    Object.assign(this, { viewport: look, onHello: hello, onFrame: frame, onRoads: roads, onState: state, words });
    this.wait = FIRST_WAIT_MS;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
  }

  open() {
    if (this.socket || document.hidden) return;
    clearTimeout(this.again);
    const socket = (this.socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/live`));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.send();
    socket.onmessage = ({ data }) => this.hear(data);
    socket.onclose = () => this.lost(socket);
  }

  hear(data) {
    if (typeof data !== "string") {
      this.onFrame(readFrame(data));
      this.tell("live");
      return;
    }
    const told = JSON.parse(data);
    if (told.kinds) this.onHello(told);
    if (told.roads) this.onRoads(told.roads);
  }

  /** Tells the server what is looked at now, at most four times a second. */
  look() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.send(), LOOK_MS);
  }

  send() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(this.viewport()));
  }

  lost(socket) {
    if (this.socket !== socket) return;
    this.socket = undefined;
    this.tell("lost");
    this.again = setTimeout(() => this.open(), this.wait * (0.7 + 0.6 * Math.random()));
    this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 2);
  }

  close() {
    const socket = this.socket;
    this.socket = undefined;
    clearTimeout(this.again);
    socket?.close();
  }

  tell(state) {
    if (state === "live") this.wait = FIRST_WAIT_MS;
    if (this.state === state) return;
    if (this.state !== undefined) say(this.words[state]);
    this.state = state;
    this.onState(state);
  }
}
