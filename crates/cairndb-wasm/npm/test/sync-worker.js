// A worker that has a database in its own thread, and tells what it found.
import { openSync } from '../sync.js';

const text = (bytes) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

/** The kind of the error that a call throws. */
function kindOf(call) {
  try {
    call();
    return 'none';
  } catch (error) {
    return error.kind ?? `${error}`;
  }
}

async function verbs() {
  const db = await openSync('synchronous');
  db.put('b', '2');
  db.batch([{ type: 'put', key: 'a', value: '1' }, { type: 'put', key: 'gone', value: 'x' }]);
  db.delete('gone');
  const snapshot = db.snapshot();
  db.put('c', '3');
  const found = {
    get: text(db.get('b')),
    missing: db.get('gone') === undefined,
    many: db.getMany(['c', 'd', 'a']).map(text),
    entries: [...db.entries()].map((one) => one.map(text)),
    keys: [...db.keys({ gt: 'a', reverse: true, limit: 1 })].map(text),
    first: text(db.values().next().value),
    before: [...snapshot.keys()].map(text),
    swapped: [db.compareAndSwap('n', undefined, '1'), db.compareAndSwap('n', '2', '3')],
    checkpoint: db.checkpoint().seq,
    ok: db.verify().ok,
    exported: [...db.export()].reduce((sum, piece) => sum + piece.length, 0),
    syncs: db.stats().wal_syncs,
    kinds: [kindOf(() => db.put(7, '')), kindOf(() => db.put('large', new Uint8Array(20 << 20)))],
  };
  snapshot.release();
  found.kinds.push(kindOf(() => snapshot.get('a')));
  found.kinds.push(await openSync('synchronous').then(() => 'none', (error) => error.kind));
  globalThis.db = db;
  return found;
}

/** Far more than memory holds, with a rest now and then; and how far it goes without one. */
async function load() {
  const db = await openSync('loaded', { memoryBudget: 16 << 20, durability: 'os' });
  let refused;
  let count = 0;
  const put = () => db.put(`key ${String(count).padStart(6, '0')}`, new Uint8Array(1000).fill(count));
  for (; !refused; count += 1) {
    try {
      put();
    } catch (error) {
      refused = error;
      count -= 1;
    }
  }
  const unrested = count;
  for (await db.rest(); count < unrested + 30_000; count += 1) {
    put();
    if (count % 2000 === 0) await db.rest();
  }
  let found = 0;
  for (const value of db.values()) found += value[0] === found % 256 ? 1 : 0;
  db.close();
  // At once, in the same task.
  const again = await openSync('loaded', { memoryBudget: 16 << 20 });
  found -= count - [...again.keys()].length;
  again.close();
  return { unrested, refused: refused.kind, count, found, after: kindOf(() => db.get('key')) };
}

const STEPS = { verbs, load, close: () => db.close() };

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ done: await STEPS[data]() });
  } catch (error) {
    self.postMessage({ failed: String(error?.stack ?? error) });
  }
};
self.postMessage('ready');
