// Sync: a database in this very thread, every call of which is done when it returns. For workers, and for node.
//
// The engine is synchronous anyway; what the page's promises wait for is a message to its worker and back. Two things remain
// that only waiting can do: to open files, which is why `openSync` is awaited, and to make files ahead, for which a thread
// that writes without end has to `await db.rest()` now and then.

import init, { Engine } from './wasm/cairndb.js';
import { wasmHere } from './code.js';
import { CHUNK_BYTES, EXPORT_BYTES, boundsOf, requestOf } from './database.js';
import { CairnError, fromData, toData } from './errors.js';
import { Guests } from './guests.js';
import { Maintenance, isTrap } from './maintenance.js';
import { lockOf } from './names.js';
import { oneOf, optionsOf } from './options.js';
import { batchRequest, entriesOf, swapRequest } from './wire.js';

export { CairnError };

/** Opens the database `name` in this thread. The options are listed in sync.d.ts. */
export async function openSync(name, options = {}) {
  const { lock = 'fail', signal, wasm } = options;
  const { storage, memoryBudget, durability, compression, encodings } = optionsOf(name, options);
  oneOf(lock, ['fail', 'wait'], 'lock');
  signal?.throwIfAborted();
  if (storage === 'opfs' && typeof document !== 'undefined') {
    throw new CairnError('Unsupported', "browsers give a page's own thread no such files; openSync is for workers, and open for pages");
  }
  const unlock = storage === 'opfs' ? await hold(name, lock, signal) : () => {};
  try {
    await init({ module_or_path: wasm ?? (await wasmHere()) });
    const engine = await Engine.open(storage === 'opfs' ? name : undefined, memoryBudget, compression === 'lz4');
    return new DatabaseSync(new Calls(engine, storage, durability, unlock), encodings, storage === 'opfs' ? new Guests(name) : undefined);
  } catch (error) {
    unlock();
    throw fromData(toData(error, storage));
  }
}

/** Locks that were given back, and that the browser has not taken yet, by database. */
const leaving = new Map();

/** Takes the lock by which tabs and workers keep out of each other's way; the result gives it back. */
async function hold(name, lock, signal) {
  await leaving.get(name);
  return new Promise((resolve, reject) => {
    const how = lock === 'fail' ? { ifAvailable: true } : { signal };
    const asked = navigator.locks.request(lockOf(name), how, (held) => {
      if (!held) throw new CairnError('Locked', 'the database is open in another tab or worker');
      return new Promise((unlock) => {
        resolve(() => {
          leaving.set(name, asked);
          unlock();
        });
      });
    });
    asked.catch(reject);
  });
}

/** The engine, with errors that an application can tell apart. */
class Calls {
  #engine;
  #storage;
  #durability;
  #unlock;
  #maintenance;
  /** Why nothing can be asked any more. */
  #over;

  constructor(engine, storage, durability, unlock) {
    this.#engine = engine;
    this.#storage = storage;
    this.#durability = durability;
    this.#unlock = unlock;
    this.#maintenance = new Maintenance(engine, () => false, (error) => this.#trapped(error));
  }

  make(verb, ...args) {
    if (this.#over) throw this.#over;
    try {
      return this.#engine[verb](...args);
    } catch (error) {
      throw isTrap(error) ? this.#trapped(error) : this.#told(error);
    }
  }

  /** Writes one request, and syncs it. */
  write(request) {
    const [result] = this.make('write', request);
    if (result instanceof Error) throw this.#told(result);
    this.make('sync', this.#durability);
    this.#maintenance.start();
    return result;
  }

  async rest() {
    if (this.#over) throw this.#over;
    await this.#maintenance.rest();
    if (this.#over) throw this.#over;
  }

  release(number) {
    if (!this.#over) this.make('release', number);
  }

  close() {
    if (this.#over) return;
    this.#maintenance.stop();
    try {
      this.make('close');
    } finally {
      this.#over ??= new CairnError('Closed', 'the database is closed');
      this.#unlock();
    }
  }

  #told(error) {
    return fromData(toData(error, this.#storage));
  }

  #trapped(error) {
    const text = `the engine broke down (${error?.message ?? error}); end this worker, and open the database in another`;
    this.#over ??= new CairnError('WorkerCrashed', text);
    this.#maintenance?.stop();
    return this.#over;
  }
}

/** Reads of one moment or of the present. */
class ReaderSync {
  #calls;
  #encodings;
  #moment;

  constructor(calls, encodings, moment) {
    this.#calls = calls;
    this.#encodings = encodings;
    this.#moment = moment;
  }

  get(key) {
    const value = this.#calls.make('get', this.#number(), this.#encodings.key.encode(key));
    return value === undefined ? undefined : this.#encodings.value.decode(value);
  }

  getMany(keys) {
    return Array.from(keys, (key) => this.get(key));
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

  *#scan(range, withValues, decode) {
    const { start, end } = boundsOf(range, this.#encodings.key);
    const { reverse = false, limit = Infinity } = range;
    const number = this.#calls.make('scan', this.#number(), start, end, reverse, limit, withValues);
    try {
      for (;;) {
        const chunk = this.#calls.make('scanNext', number, CHUNK_BYTES);
        if (chunk.length === 0) return;
        for (const entry of entriesOf(chunk)) yield decode(entry);
      }
    } finally {
      this.#calls.release(number);
    }
  }

  #number() {
    if (this.#moment?.isReleased) throw new CairnError('Invalid', 'the snapshot has been released');
    return this.#moment?.number ?? 0;
  }
}

/** A hold on one moment of a database. */
export class SnapshotSync extends ReaderSync {
  #calls;
  #moment;

  constructor(calls, encodings, moment) {
    super(calls, encodings, moment);
    this.#calls = calls;
    this.#moment = moment;
  }

  release() {
    if (!this.#moment.isReleased) this.#calls.release(this.#moment.number);
    this.#moment.isReleased = true;
  }

  [Symbol.dispose]() {
    this.release();
  }
}

/** An open database. */
export class DatabaseSync extends ReaderSync {
  #calls;
  #encodings;
  #guests;

  constructor(calls, encodings, guests) {
    super(calls, encodings, undefined);
    this.#calls = calls;
    this.#encodings = encodings;
    this.#guests = guests;
  }

  put(key, value) {
    this.#calls.write(batchRequest([[this.#encodings.key.encode(key), this.#encodings.value.encode(value)]]));
  }

  delete(key) {
    this.#calls.write(batchRequest([[this.#encodings.key.encode(key), undefined]]));
  }

  batch(operations) {
    this.#calls.write(requestOf(operations, this.#encodings));
  }

  compareAndSwap(key, expected, value) {
    const { key: k, value: v } = this.#encodings;
    const maybe = (given) => (given === undefined ? undefined : v.encode(given));
    return this.#calls.write(swapRequest(k.encode(key), maybe(expected), maybe(value)));
  }

  snapshot() {
    return new SnapshotSync(this.#calls, this.#encodings, { number: this.#calls.make('snapshot'), isReleased: false });
  }

  checkpoint() {
    return this.#calls.make('checkpoint');
  }

  stats() {
    return this.#calls.make('stats');
  }

  recovery() {
    return this.#calls.make('recovery');
  }

  verify() {
    return this.#calls.make('verify');
  }

  *export() {
    const number = this.#calls.make('export');
    try {
      for (;;) {
        const bytes = this.#calls.make('exportNext', number, EXPORT_BYTES);
        if (bytes.length === 0) return;
        yield bytes;
      }
    } finally {
      this.#calls.release(number);
    }
  }

  async rest() {
    await this.#calls.rest();
  }

  close() {
    try {
      this.#calls.close();
    } finally {
      this.#guests?.close();
      this.#guests = undefined;
    }
  }

  [Symbol.dispose]() {
    this.close();
  }
}
