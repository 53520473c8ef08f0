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
  if (parts.length === 1) return parts[0];
  const joined = new Uint8Array(len);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** A batch of writes, all or nothing: pairs of a key and its value, or `undefined` for a delete. In one allocation. */
export function batchRequest(writes) {
  let length = 5;
  for (const [key, value] of writes) length += 5 + key.length + (value === undefined ? 0 : 4 + value.length);
  const out = new Uint8Array(length);
  let offset = 0;
  const u32 = (value) => {
    out[offset] = value;
    out[offset + 1] = value >>> 8;
    out[offset + 2] = value >>> 16;
    out[offset + 3] = value >>> 24;
    offset += 4;
  };
  const bytes = (bytes) => {
    u32(bytes.length);
    out.set(bytes, offset);
    offset += bytes.length;
  };
  offset += 1;
  u32(writes.length);
  for (const [key, value] of writes) {
    out[offset++] = value === undefined ? 0 : 1;
    bytes(key);
    if (value !== undefined) bytes(value);
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
export function entriesOf(bytes) {
  const entries = [];
  let offset = 0;
  const take = () => {
    const len = bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24);
    offset += 4 + len;
    // A copy: what is kept of an entry must not keep all the others.
    return bytes.slice(offset - len, offset);
  };
  while (offset < bytes.length) entries.push([take(), take()]);
  return entries;
}
