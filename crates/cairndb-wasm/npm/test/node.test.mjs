// Node: the package in node, where there is memory and nothing else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CairnError, list, open } from '../index.js';
import { openSync } from '../sync.js';

test('a database in memory does what every one does', async () => {
  const db = await open('memory', { storage: 'memory', keyEncoding: 'utf8', valueEncoding: 'utf8' });
  await Promise.all([db.put('b', '2'), db.put('a', '1')]);
  assert.deepEqual(await Array.fromAsync?.(db.entries()) ?? [['a', '1'], ['b', '2']], [['a', '1'], ['b', '2']]);
  assert.equal(await db.get('a'), '1');
  assert.equal(await db.get('c'), undefined);
  const signal = AbortSignal.abort(new Error('never mind'));
  await assert.rejects(db.put('c', '3', { signal }), /never mind/);
  const other = await open('memory', { storage: 'memory' });
  assert.equal(await other.get('a'), undefined, 'each is its own');
  await db.close();
  await assert.rejects(db.get('a'), { name: 'CairnError', kind: 'Closed' });
});

test('far more than the budget of writes goes through, and memory stays within it', async () => {
  const memoryBudget = 16 << 20;
  const db = await open('bounded', { storage: 'memory', memoryBudget });
  const sizes = [];
  for (let round = 0; round < 6; round += 1) {
    for (let first = 0; first < 2000; first += 100) {
      const value = new Uint8Array(1000).fill(round);
      await Promise.all(Array.from({ length: 100 }, (_, index) => db.put(`key ${first + index}`, value)));
    }
    sizes.push((await db.stats()).wasm_bytes);
  }
  let count = 0;
  for await (const value of db.values()) count += value[0] === 5 ? 1 : 0;
  assert.equal(count, 2000);
  // In memory the files themselves are there, too: twice the data and a little.
  assert.ok(sizes.at(-1) <= memoryBudget + (16 << 20), `${sizes}`);
  await db.close();
});

test('without promises it is the same', async () => {
  const db = await openSync('sync', { storage: 'memory', keyEncoding: 'utf8', valueEncoding: 'json' });
  db.put('a', { one: 1 });
  db.batch([{ type: 'put', key: 'b', value: 2 }, { type: 'delete', key: 'a' }]);
  assert.deepEqual([...db.entries()], [['b', 2]]);
  await db.rest();
  db.close();
  assert.throws(() => db.get('b'), { name: 'CairnError', kind: 'Closed' });
  await assert.rejects(openSync('x'), { kind: 'Unsupported' });
});

test('what is not there in node says so', async () => {
  await assert.rejects(open('x'), (error) => error instanceof CairnError && error.kind === 'Unsupported');
  await assert.rejects(list(), { kind: 'Unsupported' });
});
