// Everything that moves or changes, drawn by one WebGL program over the map: 12 bytes a thing, two draw calls.

const STRIDE = 12;
const GLIDE_MS = 1000;
const FRAME_MS = 66;
const TELEPORT = 2000;
const ARROW = 1;
export const STATES = ["unknown", "good", "fair", "bad", "worst", "off"];

const VERTEX = `#version 300 es
in vec2 before; in vec2 now; in vec3 look;
uniform mat4 matrix; uniform float t, scale, ratio; uniform int pass; uniform vec2 kinds[32];
flat out int shape, state; flat out float size, turn;
void main() {
  vec2 kind = kinds[int(look.x)];
  shape = int(kind.x); state = int(look.y); turn = look.z / 255.0 * 6.2831853;
  size = max(5.0, kind.y * scale) * ratio;
  gl_Position = (shape == 1) == (pass == 1) ? matrix * vec4(mix(before, now, t), 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
flat in int shape, state; flat in float size, turn;
uniform vec3 colours[6]; uniform vec3 halo, mark;
out vec4 colour;
float ngon(vec2 p, float n, float r) {
  float a = 6.2831853 / n, b = atan(p.x, -p.y);
  return cos(floor(0.5 + b / a) * a - b) * length(p) - r * cos(a * 0.5);
}
float star(vec2 p, float r) {
  float a = 6.2831853 / 5.0, b = abs(mod(atan(p.x, -p.y) + a * 0.5, a) - a * 0.5);
  vec2 q = length(p) * vec2(cos(b), sin(b)) - vec2(r, 0.0);
  return dot(q, normalize(vec2(0.5, 0.8)));
}
float outline(vec2 p) {
  if (shape == 1) {
    p = mat2(cos(turn), sin(turn), -sin(turn), cos(turn)) * p;
    float sides = abs(p.x) * 0.92 - p.y * 0.4 - 0.34;
    return max(sides, p.y - 0.42 - abs(p.x) * 0.5);
  }
  if (shape == 3) return max(abs(p.x), abs(p.y)) - 0.66;
  if (shape == 4) return ngon(p, 6.0, 0.82);
  if (shape == 5) return ngon(p - vec2(0.0, 0.05), 5.0, 0.84);
  if (shape == 6) return ngon(p - vec2(0.0, 0.16), 3.0, 0.92);
  if (shape == 7) return min(length(p - vec2(0.0, 0.2)) - 0.56, max(abs(p.x) * 0.87 - p.y * 0.5 - 0.41, p.y - 0.2));
  if (shape == 8) return star(p, 0.86);
  if (shape == 9) return (abs(p.x) + abs(p.y) - 0.84) * 0.7;
  if (shape == 10) return max(abs(p.x) - 0.8, abs(p.y) - 0.34);
  if (shape == 11) return length(p) - 0.46;
  return length(p) - 0.72;
}
float sign_of(vec2 p) {
  if (size < 13.0) return 1.0;
  if (state == 2) return max(abs(p.x) - 0.34, abs(p.y) - 0.1);
  if (state == 3) { vec2 q = abs(vec2(p.x + p.y, p.x - p.y)) * 0.707; return max(min(q.x, q.y) - 0.1, max(q.x, q.y) - 0.4); }
  if (state == 4) return max(abs(abs(p.x) - 0.17) - 0.09, abs(p.y) - 0.38);
  return 1.0;
}
void main() {
  vec2 p = (gl_PointCoord * 2.0 - 1.0) * 1.12;
  float soft = 2.2 / size, d = outline(p), rim = max(0.16, 3.0 / size);
  float body = 1.0 - smoothstep(-soft, soft, d + rim * 0.6);
  float whole = 1.0 - smoothstep(-soft, soft, d - rim * 0.4);
  vec3 fill = state == 0 ? mix(colours[0], halo, 1.0 - smoothstep(-soft, soft, d + rim * 2.0)) : colours[state];
  fill = mix(fill, mark, 1.0 - smoothstep(-soft, soft, sign_of(shape == 6 ? p - vec2(0.0, 0.16) : p)));
  colour = vec4(mix(halo, fill, body), 1.0) * whole;
}`;

/** The fleet's memory and its own canvas over the map. `onCount` hears how many things there are.
 *
 * To MapLibre it is a custom layer that only learns the camera; drawing on a canvas of our own lets things glide
 * without painting the whole map again each time, which costs twenty times as much.
 */
export class Fleet {
  id = "fleet";
  type = "custom";
  renderingMode = "2d";

  constructor({ stage, still, onCount = () => {} }) {
    this.still = still;
    this.onCount = onCount;
    this.grid = { west: 0, north: 0, step: 1 };
    this.kinds = new Float32Array(64);
    this.count = 0;
    this.slots = new Map();
    this.gliding = 0;
    this.began = 0;
    this.grow(256);
    this.canvas = document.createElement("canvas");
    this.canvas.className = "fleet";
    this.canvas.setAttribute("aria-hidden", "true");
    stage.append(this.canvas);
    this.gl = this.canvas.getContext("webgl2", { alpha: true, premultipliedAlpha: true, antialias: false, depth: false });
    if (!this.gl) throw new Error("no WebGL");
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => this.prepare());
    this.prepare();
  }

  grow(room) {
    const bytes = new Uint8Array(room * STRIDE);
    if (this.bytes) bytes.set(this.bytes);
    this.bytes = bytes;
    this.shorts = new Uint16Array(bytes.buffer);
    const numbers = new Uint32Array(room), moving = new Uint32Array(room);
    if (this.numbers) numbers.set(this.numbers);
    if (this.moving) moving.set(this.moving);
    Object.assign(this, { numbers, moving });
    this.room = room;
  }

  hello({ west, north, step, kinds }) {
    this.grid = { west, north, step };
    kinds.forEach(([shape, size], number) => this.kinds.set([shape, size], number * 2));
  }

  /** Takes a frame in; what moved glides to its new place during the next second. */
  apply(frame) {
    for (let i = 0; i < this.gliding; i++) {
      const at = this.moving[i] * 6;
      this.shorts[at] = this.shorts[at + 2];
      this.shorts[at + 1] = this.shorts[at + 3];
    }
    this.gliding = 0;
    if (frame.forget) this.forget();
    for (const number of frame.gone) this.remove(number);
    for (let i = 0; i < frame.put.length; i++) this.put(frame, i);
    this.began = performance.now();
    this.stale = true;
    this.onCount(this.count);
    this.glide();
  }

  forget() {
    this.slots.clear();
    this.count = 0;
  }

  put(frame, i) {
    const number = frame.put[i], x = frame.x[i], y = frame.y[i];
    let slot = this.slots.get(number);
    const known = slot !== undefined;
    if (!known) {
      if (this.count === this.room) this.grow(this.room * 2);
      slot = this.count++;
      this.slots.set(number, slot);
      this.numbers[slot] = number;
    }
    const { shorts, bytes } = this, at = slot * 6, look = slot * STRIDE + 8;
    const dx = x - shorts[at + 2], dy = y - shorts[at + 3];
    const moves = known && (dx !== 0 || dy !== 0) && Math.abs(dx) + Math.abs(dy) < TELEPORT;
    if (moves) {
      this.moving[this.gliding++] = slot;
      if (this.kinds[frame.kind[i] * 2] === ARROW) bytes[look + 2] = turnOf(dx, dy);
    } else if (!known) {
      bytes[look + 2] = 0;
    }
    shorts[at] = moves ? shorts[at + 2] : x;
    shorts[at + 1] = moves ? shorts[at + 3] : y;
    shorts[at + 2] = x;
    shorts[at + 3] = y;
    bytes[look] = frame.kind[i];
    bytes[look + 1] = frame.state[i];
  }

  remove(number) {
    const slot = this.slots.get(number);
    if (slot === undefined) return;
    this.slots.delete(number);
    const last = --this.count;
    if (slot === last) return;
    this.bytes.copyWithin(slot * STRIDE, last * STRIDE, (last + 1) * STRIDE);
    this.numbers[slot] = this.numbers[last];
    this.slots.set(this.numbers[slot], slot);
  }

  /** The number of the thing nearest to a place (unit Mercator), within `reach` of it, or undefined. */
  nearest(x, y, reach) {
    const { west, north, step } = this.grid;
    const px = (x - west) / step, py = (y - north) / step;
    let best = (reach / step) ** 2, found;
    for (let slot = 0; slot < this.count; slot++) {
      const dx = this.shorts[slot * 6 + 2] - px, dy = this.shorts[slot * 6 + 3] - py;
      const far = dx * dx + dy * dy;
      if (far <= best) {
        best = far;
        found = this.numbers[slot];
      }
    }
    return found;
  }

  /** Paints now, and on while something glides, at most 15 times a second. */
  glide() {
    cancelAnimationFrame(this.next);
    clearTimeout(this.timer);
    this.next = requestAnimationFrame(() => {
      this.paint();
      if (this.gliding && !this.still() && performance.now() - this.began < GLIDE_MS) {
        this.timer = setTimeout(() => this.glide(), FRAME_MS);
      }
    });
  }

  colours(read) {
    this.palette = new Float32Array(STATES.flatMap((name) => read(`--state-${name}`)));
    this.halo = read("--map-halo");
    this.mark = read("--state-mark");
  }

  onAdd(map) {
    this.map = map;
  }

  /** MapLibre paints: the camera may have moved, so we paint in the same frame. */
  render(_gl, options) {
    this.world = options.defaultProjectionData.mainMatrix;
    this.paint();
  }

  prepare() {
    const { gl } = this, program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const names = ["matrix", "t", "scale", "ratio", "pass", "kinds", "colours", "halo", "mark"];
    this.places = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)]));
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    for (const [name, size, type, at] of [["before", 2, gl.UNSIGNED_SHORT, 0], ["now", 2, gl.UNSIGNED_SHORT, 4], ["look", 3, gl.UNSIGNED_BYTE, 8]]) {
      const place = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, type, false, STRIDE, at);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.stale = true;
  }

  /** Grid to clip space; in 64 bits, or things would tremble when looked at closely. */
  matrix(world) {
    const { west, north, step } = this.grid, out = new Float32Array(16);
    for (let row = 0; row < 4; row++) {
      out[row] = world[row] * step;
      out[4 + row] = world[4 + row] * step;
      out[8 + row] = world[8 + row];
      out[12 + row] = world[row] * west + world[4 + row] * north + world[12 + row];
    }
    return out;
  }

  paint() {
    const { gl, places, canvas, map } = this;
    if (!this.world || !this.palette) return;
    const ratio = map.getPixelRatio(), ground = map.getCanvas();
    if (canvas.width !== ground.width || canvas.height !== ground.height) {
      canvas.width = ground.width;
      canvas.height = ground.height;
    }
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.count) return;
    if (this.stale) {
      gl.bufferData(gl.ARRAY_BUFFER, this.bytes.subarray(0, this.count * STRIDE), gl.DYNAMIC_DRAW);
      this.stale = false;
    }
    gl.uniformMatrix4fv(places.matrix, false, this.matrix(this.world));
    gl.uniform1f(places.t, this.still() ? 1 : Math.min(1, (performance.now() - this.began) / GLIDE_MS));
    gl.uniform1f(places.scale, Math.min(1.3, Math.max(0.45, (map.getZoom() - 8.5) / 6)));
    gl.uniform1f(places.ratio, ratio);
    gl.uniform2fv(places.kinds, this.kinds);
    gl.uniform3fv(places.colours, this.palette);
    gl.uniform3fv(places.halo, this.halo);
    gl.uniform3fv(places.mark, this.mark);
    for (const pass of [0, 1]) {
      gl.uniform1i(places.pass, pass);
      gl.drawArrays(gl.POINTS, 0, this.count);
    }
  }
}

/** A direction on the grid (y grows southward) as 256ths of a turn from north. */
function turnOf(dx, dy) {
  return Math.round(((Math.atan2(dx, -dy) / (2 * Math.PI) + 1) % 1) * 255);
}
