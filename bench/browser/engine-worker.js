// Engine worker: the workload in the engine's own thread. examples/native.rs of the package's crate does the same natively.
import { openSync } from '/package/sync.js';
import { BATCH, GETS_IN_THREAD, KEYS, PUTS, SCANS, VALUE, keyOf, valueOf } from '/workload.js';

const rates = {};

async function rate(name, count, work) {
  const begun = performance.now();
  await work();
  rates[name] = (count * 1000) / (performance.now() - begun);
}

let db = await openSync('bench in worker', { durability: 'os' });
const keys = Array.from({ length: KEYS }, (_, number) => keyOf(number));
const batches = [];
for (let first = 0; first < KEYS; first += BATCH) {
  batches.push(keys.slice(first, first + BATCH).map((key) => ({ type: 'put', key, value: valueOf() })));
}
await rate('bulk load, entries a second', KEYS, async () => {
  for (const batch of batches) db.batch(batch);
  await db.rest();
});
db.checkpoint();
await rate('get', GETS_IN_THREAD, () => {
  for (let number = 0; number < GETS_IN_THREAD; number += 1) {
    if (db.get(keys[(number * 31) % KEYS])?.length !== VALUE) throw new Error('a value is not there');
  }
});
await rate('scans of 1,000 entries', SCANS, () => {
  for (let number = 0; number < SCANS; number += 1) {
    if ([...db.entries({ gte: keys[number * 17], limit: 1000 })].length === 0) throw new Error('a scan found nothing');
  }
});
await rate('put, relaxed', PUTS.relaxed, () => {
  for (let number = 0; number < PUTS.relaxed; number += 1) db.put(keys[number], valueOf());
});
db.close();
db = await openSync('bench in worker', { durability: 'sync' });
await rate('put, strict', PUTS.strict, () => {
  for (let number = 0; number < PUTS.strict; number += 1) db.put(keys[number], valueOf());
});
db.close();
self.postMessage(rates);
