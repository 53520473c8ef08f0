// Database: what an application holds. Promises and encodings over a connection; nothing here knows where the engine is.

import { CairnError } from './errors.js';
import { batchRequest, entriesOf, swapRequest } from './wire.js';

/** About so many bytes of a scan come at a time. */
export const CHUNK_BYTES = 64 << 10;

/** And of an export. */
export const EXPORT_BYTES = 256 << 10;

const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

function toBytes(value) {
  if (typeof value === 'string') return toUtf8.encode(value);
  if (value instanceof Uint8Array) return value;
  throw new CairnError('Invalid', `a key or value is a string or a Uint8Array, and not ${typeName(value)}`);
}

function typeName(value) {
  return value === null ? 'null' : typeof value === 'object' ? (value.constructor?.name ?? 'an object') : typeof value;
}

const ENCODINGS = {
  bytes: { encode: toBytes, decode: (bytes) => bytes },
  utf8: { encode: toBytes, decode: (bytes) => fromUtf8.decode(bytes) },
  json: { encode: encodeJson, decode: (bytes) => JSON.parse(fromUtf8.decode(bytes)) },
};

function encodeJson(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new CairnError('Invalid', `JSON has no ${typeName(value)}`);
  return toUtf8.encode(text);
}

export function encodingOf(name, what) {
  const encoding = ENCODINGS[name];
  if (!encoding) throw new CairnError('Invalid', `${what} is 'bytes', 'utf8' or 'json', and not '${name}'`);
  return encoding;
}

/** The least key behind `key`. */
function successor(key) {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** The least key behind all that begin with `prefix`, if there is one. */
function prefixEnd(prefix) {
  const last = prefix.findLastIndex((byte) => byte < 0xff);
  if (last < 0) return undefined;
  const end = prefix.slice(0, last + 1);
  end[last] += 1;
  return end;
}

function isBefore(a, b) {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) if (a[index] !== b[index]) return a[index] < b[index];
  return a.length < b.length;
}

/** A stretch from `start` on, and to before `end` if there is one. */
export function boundsOf({ gt, gte, lt, lte, prefix }, encoding) {
  const encode = (key) => (key === undefined ? undefined : encoding.encode(key));
  const after = (key) => (key === undefined ? undefined : successor(key));
  // A prefix is one of bytes: of JSON's text there is none that an application would mean.
  const prefixed = prefix === undefined ? undefined : toBytes(prefix);
  const starts = [encode(gte), after(encode(gt)), prefixed].filter((key) => key !== undefined);
  const ends = [encode(lt), after(encode(lte)), prefixed && prefixEnd(prefixed)].filter((key) => key !== undefined);
  const start = starts.reduce((last, key) => (isBefore(last, key) ? key : last), new Uint8Array(0));
  const end = ends.length === 0 ? undefined : ends.reduce((first, key) => (isBefore(key, first) ? key : first));
  return { start, end };
}

/** The bytes of a batch. */
export function requestOf(operations, { key: k, value: v }) {
  const writes = Array.from(operations, ({ type, key, value }) => {
    if (type !== 'put' && type !== 'delete') throw new CairnError('Invalid', `a batch puts and deletes; it does not '${type}'`);
    return [k.encode(key), type === 'put' ? v.encode(value) : undefined];
  });
  return batchRequest(writes);
}

/** Reads of one moment or of the present. */
class Reader {
  #connection;
  #encodings;
  #moment;

  constructor(connection, encodings, moment) {
    this.#connection = connection;
    this.#encodings = encodings;
    this.#moment = moment;
  }

  async get(key, { signal } = {}) {
    const value = await this.#call('get', [this.#encodings.key.encode(key)], signal);
    return value === undefined ? undefined : this.#encodings.value.decode(value);
  }

  async getMany(keys, { signal } = {}) {
    const values = await this.#call('getMany', [Array.from(keys, this.#encodings.key.encode)], signal);
    return values.map((value) => (value === undefined ? undefined : this.#encodings.value.decode(value)));
  }

  entries(range = {}) {
    const { key, value } = this.#encodings;
    return this.#scan(range, true, ([k, v]) => [key.decode(k), value.decode(v)]);
  }

  keys(range = {}) {
    const { key } = this.#encodings;
    return this.#scan(range, false, ([k]) => key.decode(k));
  }

  values(range = {}) {
    const { value } = this.#encodings;
    return this.#scan(range, true, ([, v]) => value.decode(v));
  }

  async *#scan(range, withValues, decode) {
    const { start, end } = boundsOf(range, this.#encodings.key);
    const { reverse = false, limit = Infinity, signal } = range;
    const connection = this.#connection;
    const number = await this.#call('scan', [start, end, reverse, limit, withValues], signal);
    const generation = connection.generation;
    let isOver = false;
    try {
      while (!isOver) {
        requireSame(connection, generation);
        const chunk = await connection.call('scanNext', [number, CHUNK_BYTES], signal);
        isOver = chunk.length === 0;
        for (const entry of entriesOf(chunk)) {
          signal?.throwIfAborted();
          yield decode(entry);
        }
      }
    } finally {
      if (!isOver) release(connection, generation, number);
    }
  }

  #call(verb, args, signal) {
    if (this.#moment) {
      if (this.#moment.isReleased) throw new CairnError('Invalid', 'the snapshot has been released');
      requireSame(this.#connection, this.#moment.generation);
    }
    return this.#connection.call(verb, [this.#moment?.number ?? 0, ...args], signal);
  }
}

/** What one owner of the database keeps, the next does not know. */
function requireSame(connection, generation) {
  if (connection.generation !== generation) {
    throw new CairnError('WorkerCrashed', 'the tab that held the database went away, and the moment that was read with it');
  }
}

function release(connection, generation, number) {
  if (connection.generation === generation) connection.call('release', [number]).catch(() => {});
}

/** A hold on one moment of a database. */
export class Snapshot extends Reader {
  #connection;
  #moment;

  constructor(connection, encodings, moment) {
    super(connection, encodings, moment);
    this.#connection = connection;
    this.#moment = moment;
  }

  release() {
    if (!this.#moment.isReleased) release(this.#connection, this.#moment.generation, this.#moment.number);
    this.#moment.isReleased = true;
  }

  [Symbol.dispose]() {
    this.release();
  }
}

/** An open database. */
export class Database extends Reader {
  #connection;
  #encodings;

  constructor(connection, encodings) {
    super(connection, encodings, undefined);
    this.#connection = connection;
    this.#encodings = encodings;
  }

  async put(key, value, { signal } = {}) {
    const { key: k, value: v } = this.#encodings;
    await this.#connection.call('write', [batchRequest([[k.encode(key), v.encode(value)]])], signal);
  }

  async delete(key, { signal } = {}) {
    await this.#connection.call('write', [batchRequest([[this.#encodings.key.encode(key), undefined]])], signal);
  }

  async batch(operations, { signal } = {}) {
    await this.#connection.call('write', [requestOf(operations, this.#encodings)], signal);
  }

  async compareAndSwap(key, expected, value, { signal } = {}) {
    const { key: k, value: v } = this.#encodings;
    const maybe = (given) => (given === undefined ? undefined : v.encode(given));
    return this.#connection.call('write', [swapRequest(k.encode(key), maybe(expected), maybe(value))], signal);
  }

  async snapshot() {
    const number = await this.#connection.call('snapshot');
    return new Snapshot(this.#connection, this.#encodings, { number, generation: this.#connection.generation, isReleased: false });
  }

  async checkpoint({ signal } = {}) {
    return this.#connection.call('checkpoint', [], signal);
  }

  async stats() {
    return this.#connection.call('stats');
  }

  async recovery() {
    return this.#connection.call('recovery');
  }

  async verify({ signal } = {}) {
    return this.#connection.call('verify', [], signal);
  }

  export() {
    const connection = this.#connection;
    let number;
    let generation;
    return new ReadableStream({
      async pull(controller) {
        if (number === undefined) {
          number = await connection.call('export');
          generation = connection.generation;
        }
        requireSame(connection, generation);
        const bytes = await connection.call('exportNext', [number, EXPORT_BYTES]);
        if (bytes.length > 0) controller.enqueue(bytes);
        else controller.close();
      },
      cancel() {
        if (number !== undefined) release(connection, generation, number);
      },
    });
  }

  async close() {
    await this.#connection.close();
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }
}
