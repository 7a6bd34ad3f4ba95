// The browser's half of `portal/frames.py`: bytes to numbers without copying.

const MAGIC = 0x53, VERSION = 1, FORGET = 1, HEAD = 16;

/** What changed: {tick, forget, put, gone, x, y, kind, state}, all flat arrays. Throws on anything else. */
export function readFrame(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEAD || view.getUint8(0) !== MAGIC || view.getUint8(1) !== VERSION) {
    throw new Error("not a frame");
  }
  const n = view.getUint32(8, true), m = view.getUint32(12, true);
  if (buffer.byteLength !== HEAD + 10 * n + 4 * m) throw new Error("length and counts disagree");
  let at = HEAD;
  const take = (Kind, count) => {
    const part = new Kind(buffer, at, count);
    at += part.byteLength;
    return part;
  };
  return {
    forget: (view.getUint16(2, true) & FORGET) !== 0,
    tick: view.getUint32(4, true),
    put: take(Uint32Array, n),
    gone: take(Uint32Array, m),
    x: take(Uint16Array, n),
    y: take(Uint16Array, n),
    kind: take(Uint8Array, n),
    state: take(Uint8Array, n),
  };
}

/** A place in the unit square of Web Mercator, as `frames.mercator`. */
export function mercator(lon, lat) {
  const sine = Math.sin((lat * Math.PI) / 180);
  return [lon / 360 + 0.5, 0.5 - Math.atanh(sine) / (2 * Math.PI)];
}
