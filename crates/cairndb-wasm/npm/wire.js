// Wire: what goes between here and the engine in one piece of bytes; src/wire.rs is the other side.

/** The bytes of requests, in pieces that can be joined. */
class Bytes {
  #parts = [];
  #len = 0;

  byte(value) {
    this.#push(Uint8Array.of(value));
  }

  u32(value) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.#push(bytes);
  }

  bytes(bytes) {
    this.u32(bytes.length);
    this.#push(bytes);
  }

  maybe(bytes) {
    this.byte(bytes === undefined ? 0 : 1);
    if (bytes !== undefined) this.bytes(bytes);
  }

  join() {
    return join(this.#parts, this.#len);
  }

  #push(part) {
    this.#parts.push(part);
    this.#len += part.length;
  }
}

export function join(parts, len = parts.reduce((sum, part) => sum + part.length, 0)) {
  const joined = new Uint8Array(len);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** A batch of writes, all or nothing: pairs of a key and its value, or `undefined` for a delete. */
export function batchRequest(writes) {
  if (writes.length === 1) return singleRequest(writes[0]);
  const out = new Bytes();
  out.byte(0);
  out.u32(writes.length);
  for (const [key, value] of writes) {
    out.byte(value === undefined ? 0 : 1);
    out.bytes(key);
    if (value !== undefined) out.bytes(value);
  }
  return out.join();
}

/** The same of one write, which is what most are: in one allocation. */
function singleRequest([key, value]) {
  const out = new Uint8Array(10 + key.length + (value === undefined ? 0 : 4 + value.length));
  const view = new DataView(out.buffer);
  view.setUint32(1, 1, true);
  out[5] = value === undefined ? 0 : 1;
  view.setUint32(6, key.length, true);
  out.set(key, 10);
  if (value !== undefined) {
    view.setUint32(10 + key.length, value.length, true);
    out.set(value, 14 + key.length);
  }
  return out;
}

/** A compare-and-swap; `undefined` stands for absent. */
export function swapRequest(key, expected, value) {
  const out = new Bytes();
  out.byte(1);
  out.bytes(key);
  out.maybe(expected);
  out.maybe(value);
  return out.join();
}

/** A scan's entries. */
export function* entriesOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 0;
  const take = () => {
    const len = view.getUint32(offset, true);
    offset += 4 + len;
    // A copy: what is kept of an entry must not keep all the others.
    return bytes.slice(offset - len, offset);
  };
  while (offset < bytes.length) yield [take(), take()];
}
