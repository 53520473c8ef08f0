// Lifecycle: what a database in a page goes through, in a real browser over real files.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Profile, openPage, packageRoot, serve } from './browser.mjs';

const KILLS = Number(process.env.CAIRN_KILLS ?? 20);

let server;
let profile;
let context;

before(async () => {
  server = await serve(packageRoot);
  profile = new Profile();
  context = await profile.launch();
});

after(async () => {
  await context.close();
  server.close();
  profile.remove();
});

test('every verb does what it says', async () => {
  const page = await openPage(context, server.url);
  const found = await page.evaluate(async () => {
    const { open, list } = globalThis.cairn;
    const { text, kindOf } = globalThis;
    const db = await open('verbs');
    await Promise.all([db.put('b', '2'), db.put('a', '1'), db.put('c', new Uint8Array([51])), db.put('gone', 'x')]);
    await db.delete('gone');
    const snapshot = await db.snapshot();
    await db.batch([{ type: 'put', key: 'd', value: '4' }, { type: 'delete', key: 'a' }]);
    const all = async (generator) => (await Array.fromAsync(generator)).map((one) => (Array.isArray(one) ? one.map(text) : text(one)));
    const result = {
      get: text(await db.get('b')),
      missing: (await db.get('gone')) === undefined,
      many: (await db.getMany(['d', 'a', 'c'])).map(text),
      entries: await all(db.entries()),
      keys: await all(db.keys({ gt: 'b', lte: 'd', reverse: true })),
      values: await all(db.values({ gte: 'b', limit: 2 })),
      prefix: await all(db.keys({ prefix: 'c' })),
      before: await all(snapshot.entries()),
      swapped: [
        await db.compareAndSwap('n', undefined, '1'), await db.compareAndSwap('n', undefined, '2'),
        await db.compareAndSwap('n', '1', '2'), await db.compareAndSwap('n', '2', undefined),
      ],
      swappedAway: await db.get('n'),
      checkpoint: await db.checkpoint(),
      stats: await db.stats(),
      verified: await db.verify(),
      kinds: await Promise.all([
        kindOf(db.put(new Uint8Array(70_000), '')), kindOf(db.put(7, '')), kindOf(db.put('', '')),
        kindOf(open('no/name')), kindOf(open('x', { storage: 'disk' })),
      ]),
    };
    snapshot.release();
    result.released = await kindOf(snapshot.get('a'));
    // A value far beyond what a put may take leaves what came with it alone.
    const [, large] = await Promise.allSettled([db.put('beside', 'it'), db.put('large', new Uint8Array(20 << 20))]);
    result.large = large.reason?.kind;
    result.beside = text(await db.get('beside'));
    result.list = await list();
    await db.close();
    result.closed = await kindOf(db.get('b'));
    return result;
  });
  assert.equal(found.get, '2');
  assert.ok(found.missing);
  assert.deepEqual(found.many, ['4', undefined, '3']);
  assert.deepEqual(found.entries, [['b', '2'], ['c', '3'], ['d', '4']]);
  assert.deepEqual(found.keys, ['d', 'c']);
  assert.deepEqual(found.values, ['2', '3']);
  assert.deepEqual(found.prefix, ['c']);
  assert.deepEqual(found.before, [['a', '1'], ['b', '2'], ['c', '3']]);
  assert.deepEqual(found.swapped, [true, false, true, true]);
  assert.equal(found.swappedAway, undefined);
  assert.equal(found.stats.memtable_entries, 0);
  assert.ok(found.verified.ok && found.verified.checks.length >= 12);
  assert.deepEqual(found.kinds, ['Invalid', 'Invalid', 'none', 'Invalid', 'Invalid']);
  assert.equal(found.released, 'Invalid');
  assert.equal(found.large, 'Invalid');
  assert.equal(found.beside, 'it');
  assert.ok(found.list.includes('verbs'));
  assert.equal(found.closed, 'Closed');
  await page.close();
});

test('puts of one tick share one sync', async () => {
  const page = await openPage(context, server.url);
  const syncs = await page.evaluate(async () => {
    const db = await globalThis.cairn.open('ticks');
    const before = (await db.stats()).wal_syncs;
    await Promise.all(Array.from({ length: 500 }, (_, number) => db.put(`key ${number}`, 'value')));
    const after = (await db.stats()).wal_syncs;
    await db.close();
    return after - before;
  });
  assert.equal(syncs, 1);
  await page.close();
});

test('encodings go in and come out', async () => {
  const page = await openPage(context, server.url);
  const found = await page.evaluate(async () => {
    const db = await globalThis.cairn.open('encodings', { keyEncoding: 'utf8', valueEncoding: 'json' });
    await db.put('é', { a: [1, null, 'x'] });
    const entries = await Array.fromAsync(db.entries());
    const swapped = await db.compareAndSwap('é', { a: [1, null, 'x'] }, 7);
    const value = await db.get('é');
    await db.close();
    return { entries, swapped, value };
  });
  assert.deepEqual(found, { entries: [['é', { a: [1, null, 'x'] }]], swapped: true, value: 7 });
  await page.close();
});

test('the instance stays within its budget, whatever goes through it', async () => {
  const page = await openPage(context, server.url);
  const memoryBudget = 16 << 20;
  const sizes = await page.evaluate(async (memoryBudget) => {
    const db = await globalThis.cairn.open('bounded', { memoryBudget, durability: 'os' });
    const sizes = [];
    for (let round = 0; round < 5; round += 1) {
      for (let first = 0; first < 20_000; first += 100) {
        const value = crypto.getRandomValues(new Uint8Array(1000));
        await Promise.all(Array.from({ length: 100 }, (_, index) => db.put(`key ${(first + index) * 7919 % 20_000}`, value)));
      }
      for await (const _ of db.entries()) {
        // Every block passes through the cache.
      }
      sizes.push((await db.stats()).wasm_bytes);
    }
    await db.close();
    return sizes;
  }, memoryBudget);
  console.log(`${sizes.map((size) => (size / 2 ** 20).toFixed(1)).join(', ')} MiB of ${memoryBudget / 2 ** 20}`);
  assert.ok(sizes.at(-1) <= memoryBudget, `${sizes}`);
  assert.equal(sizes.at(-1), sizes[1], 'it is flat from the second round on');
  await page.close();
});

test('inside a worker every call is done when it returns', async () => {
  const page = await openPage(context, server.url);
  await page.evaluate(async () => {
    const worker = new Worker('/test/sync-worker.js', { type: 'module' });
    const answer = () => new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.failed ? reject(new Error(data.failed)) : resolve(data.done));
      worker.onerror = (event) => reject(new Error(event.message));
    });
    await answer();
    globalThis.ask = (what) => (worker.postMessage(what), answer());
  });
  const found = await page.evaluate(() => globalThis.ask('verbs'));
  assert.deepEqual(found, {
    get: '2', missing: true, many: ['3', undefined, '1'], entries: [['a', '1'], ['b', '2'], ['c', '3']], keys: ['c'], first: '1',
    before: ['a', 'b'], swapped: [true, false], checkpoint: found.checkpoint, ok: true, exported: found.exported, syncs: found.syncs,
    kinds: ['Invalid', 'Invalid', 'Invalid', 'Locked'],
  });
  assert.ok(found.checkpoint >= 6 && found.exported > 1000 && found.syncs >= 5, JSON.stringify(found));
  // A page is told that it is somebody's alone, and finds what was written once it is not.
  assert.equal(await page.evaluate(() => globalThis.kindOf(globalThis.cairn.open('synchronous'))), 'Locked');
  await page.evaluate(() => globalThis.ask('close'));
  assert.equal(await page.evaluate(async () => {
    const db = await globalThis.cairn.open('synchronous');
    const value = globalThis.text(await db.get('c'));
    await db.close();
    return value;
  }), '3');
  const loaded = await page.evaluate(() => globalThis.ask('load'));
  assert.deepEqual([loaded.refused, loaded.after], ['Busy', 'Closed']);
  assert.equal(loaded.found, loaded.count);
  assert.ok(loaded.unrested > 5000, `${loaded.unrested} puts went without a rest`);
  console.log(`${loaded.unrested} puts of 1,000 bytes went without a rest`);
  const kind = await page.evaluate(async () => {
    const { openSync } = await import('/sync.js');
    return globalThis.kindOf(openSync('x'));
  });
  assert.equal(kind, 'Unsupported');
  await page.close();
});

test('a reload finds everything, again and again', async () => {
  const page = await openPage(context, server.url);
  for (let round = 0; round < 5; round += 1) {
    const count = await page.evaluate(async (round) => {
      const db = (globalThis.db = await globalThis.cairn.open('reloads'));
      await db.put(`round ${round}`, 'x');
      return (await Array.fromAsync(db.keys())).length;
    }, round);
    assert.equal(count, round + 1);
    // Without closing anything.
    await page.reload();
    await page.evaluate(async () => (globalThis.cairn = await import('/index.js')));
  }
  await page.close();
});

test('a second tab shares, is told, or waits', async () => {
  const [first, second] = [await openPage(context, server.url), await openPage(context, server.url)];
  await first.evaluate(async () => {
    globalThis.db = await globalThis.cairn.open('shared');
    await globalThis.db.put('from', 'first');
  });
  // It works through the first, and both see what either writes.
  assert.equal(await second.evaluate(async () => {
    globalThis.db = await globalThis.cairn.open('shared');
    await globalThis.db.put('also', 'second');
    return globalThis.text(await globalThis.db.get('from'));
  }), 'first');
  assert.equal(await first.evaluate(async () => globalThis.text(await globalThis.db.get('also'))), 'second');
  assert.equal(await second.evaluate(() => globalThis.kindOf(globalThis.cairn.open('shared', { lock: 'fail' }))), 'Locked');
  assert.equal(await second.evaluate(() => globalThis.kindOf(globalThis.cairn.destroy('shared'))), 'Locked');

  // The first closes its tab while the second writes: the second goes on by itself.
  const writing = second.evaluate(async () => {
    const acknowledged = [];
    for (let number = 0; number < 400; number += 1) {
      await globalThis.db.put(`n${number}`, 'x').then(() => acknowledged.push(number), (error) => {
        if (error.kind !== 'WorkerCrashed') throw error;
      });
    }
    const keys = new Set((await Array.fromAsync(globalThis.db.keys())).map(globalThis.text));
    return { count: acknowledged.length, missing: acknowledged.filter((number) => !keys.has(`n${number}`)) };
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await first.close();
  const { count, missing } = await writing;
  assert.deepEqual(missing, []);
  assert.ok(count >= 390, `${count} of 400 were acknowledged`);

  // Who waits gets it when the owner closes it.
  const third = await openPage(context, server.url);
  const waited = third.evaluate(async () => {
    const db = await globalThis.cairn.open('shared', { lock: 'wait' });
    const value = globalThis.text(await db.get('also'));
    // Nobody shares what was opened for one alone.
    globalThis.db = db;
    return value;
  });
  await second.evaluate(() => globalThis.db.close());
  assert.equal(await waited, 'second');
  assert.equal(await second.evaluate(() => globalThis.kindOf(globalThis.cairn.open('shared'))), 'Locked');
  const aborted = await second.evaluate(() => {
    const wait = globalThis.cairn.open('shared', { lock: 'wait', signal: AbortSignal.timeout(100) });
    return wait.then(() => 'opened', (error) => error.name);
  });
  assert.equal(aborted, 'TimeoutError');
  await third.evaluate(() => globalThis.db.close());
  await second.evaluate(() => globalThis.cairn.destroy('shared'));
  assert.ok(!(await second.evaluate(() => globalThis.cairn.list())).includes('shared'));
  await second.close();
  await third.close();
});

test('an owner that closes hands over without a loss', async () => {
  const [first, second] = [await openPage(context, server.url), await openPage(context, server.url)];
  await first.evaluate(async () => (globalThis.db = await globalThis.cairn.open('handed')));
  const writing = second.evaluate(async () => {
    const db = (globalThis.db = await globalThis.cairn.open('handed'));
    for (let number = 0; number < 300; number += 1) await db.put(`n${number}`, 'x');
    return (await Array.fromAsync(db.keys())).length;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await first.evaluate(() => globalThis.db.close());
  assert.equal(await writing, 300);
  await first.close();
  await second.close();
});

test('after a trap everything pending is rejected, and the database can be opened again', async () => {
  const page = await openPage(context, server.url);
  const found = await page.evaluate(async () => {
    const worker = () => new Worker('/test/trapping-worker.js', { type: 'module' });
    const db = await globalThis.cairn.open('trapped', { worker });
    await db.put('key', 'value');
    const kinds = await Promise.all([globalThis.kindOf(db.get('trap')), globalThis.kindOf(db.get('key'))]);
    const later = await globalThis.kindOf(db.put('key', 'other'));
    const again = await globalThis.cairn.open('trapped');
    const value = globalThis.text(await again.get('key'));
    await again.close();
    const missing = await globalThis.kindOf(globalThis.cairn.open('x', { worker: () => new Worker('/nowhere.js', { type: 'module' }) }));
    return { kinds, later, value, missing };
  });
  assert.deepEqual(found, { kinds: ['WorkerCrashed', 'WorkerCrashed'], later: 'WorkerCrashed', value: 'value', missing: 'WorkerCrashed' });
  await page.close();
});

test('an exhausted quota is told, deletes go on, and puts too once there is room', async () => {
  const page = await openPage(context, server.url);
  const session = await context.newCDPSession(page);
  const quota = (quotaSize) => session.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize });
  const usage = await page.evaluate(async () => (await navigator.storage.estimate()).usage);
  await quota(usage + (12 << 20));
  const filled = await page.evaluate(async () => {
    const db = (globalThis.db = await globalThis.cairn.open('quota', { memoryBudget: 8 << 20 }));
    let count = 0;
    for (;;) {
      const puts = Array.from({ length: 50 }, (_, index) => db.put(`key ${count + index}`, crypto.getRandomValues(new Uint8Array(2000))));
      const results = await Promise.allSettled(puts);
      const refused = results.find(({ status }) => status === 'rejected');
      count += results.filter(({ status }) => status === 'fulfilled').length;
      if (refused) return { count, kind: refused.reason.kind, message: refused.reason.message };
      if (count > 50_000) return { count, kind: 'none' };
    }
  });
  assert.equal(filled.kind, 'QuotaExceeded', JSON.stringify(filled));
  assert.ok(filled.count > 500, `${filled.count} puts fitted`);
  const kept = await page.evaluate(async () => {
    let found = 0;
    for await (const value of globalThis.db.values()) found += value.length === 2000 ? 1 : 0;
    return found;
  });
  assert.ok(kept >= filled.count, `${kept} of ${filled.count} are there`);
  await page.evaluate(() => globalThis.db.delete('key 0'));
  await quota(usage + (200 << 20));
  const resumed = await page.evaluate(async () => {
    for (let tries = 0; tries < 100; tries += 1) {
      const kind = await globalThis.kindOf(globalThis.db.put('after', 'x'));
      if (kind === 'none') break;
      if (kind !== 'QuotaExceeded') return kind;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const verified = await globalThis.db.verify();
    const value = globalThis.text(await globalThis.db.get('after'));
    await globalThis.db.close();
    return { ok: verified.ok, value };
  });
  assert.deepEqual(resumed, { ok: true, value: 'x' });
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.url });
  await page.close();
});

test(`a browser that is killed ${KILLS} times while writing loses nothing that was acknowledged`, async () => {
  const killed = new Profile();
  let acknowledged = -1;
  for (let round = 0; round <= KILLS; round += 1) {
    const browser = await killed.launch();
    const page = await openPage(browser, server.url);
    const heard = [];
    await page.exposeFunction('heard', (number) => heard.push(number));
    const { missing, ok, next } = await page.evaluate(async (last) => {
      const db = (globalThis.db = await globalThis.cairn.open('killed', { memoryBudget: 8 << 20, lock: 'fail' }));
      const missing = [];
      let next = 0;
      for await (const [key, value] of db.entries()) {
        const number = Number(globalThis.text(key));
        while (next < number) missing.push(next++);
        if (value.length !== 1000 || value[0] !== number % 256) missing.push(`${number} is not what was written`);
        next = number + 1;
      }
      while (next <= last) missing.push(next++);
      const { ok } = await db.verify();
      return { missing, ok, next };
    }, acknowledged);
    assert.deepEqual([missing, ok], [[], true], `round ${round}`);
    if (round === KILLS) {
      await browser.close();
      break;
    }
    page.evaluate(async (first) => {
      for (let number = first; ; number += 1) {
        await globalThis.db.put(String(number).padStart(8, '0'), new Uint8Array(1000).fill(number % 256));
        globalThis.heard(number);
      }
    }, next).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 300 + ((round * 137) % 500)));
    kill(killed.dir);
    acknowledged = Math.max(acknowledged, ...heard);
    await browser.close().catch(() => {});
  }
  assert.ok(acknowledged > KILLS * 5, `${acknowledged} writes were acknowledged in all`);
  console.log(`${acknowledged} acknowledged writes over ${KILLS} kills`);
  killed.remove();
});

/** Kills every process of the browser on this profile, which only ours name. */
function kill(dir) {
  let pids = '';
  try {
    pids = execFileSync('pgrep', ['-f', '--', `--user-data-dir=${dir}`], { encoding: 'utf8' });
  } catch {
    return;
  }
  for (const pid of pids.trim().split('\n')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It went with another.
    }
  }
}
