// Page: the same workloads over each of the three. Each row is one verb, asked for as an application does: and awaited.
import { open, destroy } from '/package/index.js';
import { openDB, deleteDB } from '/node_modules/idb/build/index.js';
import { BATCH, GETS, KEYS, PUTS, SCANS, VALUE, keyOf, valueOf } from '/workload.js';

async function cairn() {
  await destroy('bench');
  const relaxed = await open('bench', { durability: 'os' });
  let db = relaxed;
  return {
    name: 'cairndb',
    get: (key) => db.get(key),
    put: (key, value) => db.put(key, value),
    batch: (entries) => db.batch(entries.map(([key, value]) => ({ type: 'put', key, value }))),
    scan: (from, limit) => Array.fromAsync(db.entries({ gte: from, limit })),
    async durability(level) {
      await db.close();
      db = await open('bench', { durability: level === 'strict' ? 'sync' : 'os' });
    },
    close: () => db.close(),
  };
}

async function indexedDb() {
  await deleteDB('bench');
  const db = await openDB('bench', 1, { upgrade: (db) => db.createObjectStore('kv') });
  let durability = 'relaxed';
  const write = async (entries) => {
    const tx = db.transaction('kv', 'readwrite', { durability });
    for (const [key, value] of entries) tx.store.put(value, key);
    await tx.done;
  };
  return {
    name: 'idb',
    get: (key) => db.get('kv', key),
    put: (key, value) => write([[key, value]]),
    batch: write,
    async scan(from, limit) {
      const range = IDBKeyRange.lowerBound(from);
      const tx = db.transaction('kv');
      const [keys, values] = await Promise.all([tx.store.getAllKeys(range, limit), tx.store.getAll(range, limit)]);
      return keys.map((key, index) => [key, values[index]]);
    },
    async durability(level) {
      durability = level;
    },
    close: () => db.close(),
  };
}

async function sqlite() {
  const worker = new Worker('/sqlite-worker.js', { type: 'module' });
  await new Promise((resolve, reject) => {
    worker.onmessage = resolve;
    worker.onerror = (event) => reject(new Error(event.message));
  });
  const pending = new Map();
  let last = 0;
  worker.onmessage = ({ data: [id, value] }) => {
    pending.get(id)(value);
    pending.delete(id);
  };
  const call = (...request) => new Promise((resolve) => {
    pending.set((last += 1), resolve);
    worker.postMessage([last, ...request]);
  });
  return {
    name: 'sqlite-wasm, opfs-sahpool',
    get: (key) => call('get', key),
    put: (key, value) => call('put', key, value),
    batch: (entries) => call('batch', entries),
    scan: (from, limit) => call('scan', from, limit),
    durability: (level) => call('synchronous', level === 'strict' ? 'FULL' : 'OFF'),
    close: async () => worker.terminate(),
  };
}

async function rate(count, work) {
  const begun = performance.now();
  await work();
  return (count * 1000) / (performance.now() - begun);
}

async function measure(make) {
  const db = await make();
  await db.durability('relaxed');
  const rates = {};
  // Made before the clock runs: what an application has to put is there, too.
  const entries = Array.from({ length: KEYS }, (_, number) => [keyOf(number), valueOf()]);
  rates['bulk load, entries a second'] = await rate(KEYS, async () => {
    for (let first = 0; first < KEYS; first += BATCH) await db.batch(entries.slice(first, first + BATCH));
  });
  rates['get, one after the other'] = await rate(GETS, async () => {
    for (let number = 0; number < GETS; number += 1) {
      const value = await db.get(keyOf(number * 31));
      if (value?.length !== VALUE) throw new Error('a value is not there');
    }
  });
  rates['get, 100 at a time'] = await rate(GETS * 5, async () => {
    for (let number = 0; number < GETS * 5; number += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => db.get(keyOf((number + index) * 31))));
    }
  });
  rates['put, relaxed'] = await rate(PUTS.relaxed, async () => {
    for (let number = 0; number < PUTS.relaxed; number += 1) await db.put(keyOf(number), valueOf());
  });
  rates['scans of 1,000 entries'] = await rate(SCANS, async () => {
    for (let number = 0; number < SCANS; number += 1) {
      const found = await db.scan(keyOf(number * 17), 1000);
      if (found.length === 0) throw new Error('a scan found nothing');
    }
  });
  await db.durability('strict');
  rates['put, strict'] = await rate(PUTS.strict, async () => {
    for (let number = 0; number < PUTS.strict; number += 1) await db.put(keyOf(number), valueOf());
  });
  await db.close();
  return { name: db.name, rates };
}

/** One turn of all of them; the caller makes several, since what else the machine does changes from one to the next. */
globalThis.turn = async () => {
  const results = [];
  for (const make of [cairn, indexedDb, sqlite]) results.push(await measure(make));
  return results;
};

/** The same, by a worker that has the database in its own thread, as the native engine has it. */
globalThis.inWorker = async () => {
  await destroy('bench in worker');
  const worker = new Worker('/engine-worker.js', { type: 'module' });
  const rates = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
  worker.terminate();
  return rates;
};
