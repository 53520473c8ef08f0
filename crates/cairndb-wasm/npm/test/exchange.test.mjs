// Exchange: a database goes from the page to the command line and back, and every key with it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Profile, openPage, packageRoot, serve } from './browser.mjs';

const CAIRN = process.env.CAIRN ?? join(packageRoot, '../../../target/debug/cairn');
const cairn = (...args) => execFileSync(CAIRN, args, { encoding: 'utf8' });

let root;
let server;
let profile;
let context;

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'cairn-exchange-'));
  server = await serve(root, packageRoot);
  profile = new Profile();
  context = await profile.launch();
});

after(async () => {
  await context.close();
  server.close();
  profile.remove();
  rmSync(root, { recursive: true, force: true });
});

test('what a page exports, cairn opens, verifies and goes on with; and what cairn backs up, a page takes in', async () => {
  const page = await openPage(context, server.url);
  const out = createWriteStream(join(root, 'export.tar'));
  await page.exposeFunction('write', (base64) => void out.write(Buffer.from(base64, 'base64')));
  await page.evaluate(async () => {
    const db = await globalThis.cairn.open('exported', { memoryBudget: 8 << 20 });
    for (let first = 0; first < 6000; first += 200) {
      await Promise.all(Array.from({ length: 200 }, (_, index) => db.put(`key ${String(first + index).padStart(5, '0')}`, `value ${first + index} ${'.'.repeat(500)}`)));
    }
    await db.delete('key 00007');
    const reader = db.export().getReader();
    let first = true;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      // What is written meanwhile is not in it.
      if (first) await db.put('later', 'x');
      first = false;
      let text = '';
      for (let at = 0; at < value.length; at += 4096) text += String.fromCharCode(...value.subarray(at, at + 4096));
      await globalThis.write(btoa(text));
    }
    await db.close();
  });
  await new Promise((resolve) => out.end(resolve));

  const directory = join(root, 'native');
  mkdirSync(directory);
  execFileSync('tar', ['-xf', join(root, 'export.tar'), '-C', directory]);
  assert.ok(readdirSync(directory).some((name) => name.endsWith('.sst')), `${readdirSync(directory)}`);
  cairn('--db', directory, 'verify');
  assert.match(cairn('--db', directory, 'get', 'key 05999'), /^value 5999 \.+/);
  assert.throws(() => cairn('--db', directory, 'get', 'key 00007'));
  assert.throws(() => cairn('--db', directory, 'get', 'later'));
  cairn('--db', directory, 'put', 'from', 'cairn');

  cairn('--db', directory, 'backup', join(root, 'backup'));
  execFileSync('tar', ['-cf', join(root, 'backup.tar'), '-C', join(root, 'backup'), '.']);
  const found = await page.evaluate(async () => {
    const { importDatabase, open, list, destroy } = globalThis.cairn;
    await importDatabase('copy', (await fetch('/backup.tar')).body);
    const again = await globalThis.kindOf(importDatabase('copy', (await fetch('/backup.tar')).body));
    const broken = await globalThis.kindOf(importDatabase('broken', new Blob(['no tar file'.repeat(100)]).stream()));
    const cut = (await (await fetch('/backup.tar')).blob()).slice(0, 100_000).stream();
    const short = await globalThis.kindOf(importDatabase('short', cut));
    const db = await open('copy');
    const values = (await db.getMany(['from', 'key 00000', 'key 00007'])).map((value) => globalThis.text(value)?.slice(0, 7));
    let count = 0;
    for await (const _ of db.keys()) count += 1;
    const { ok } = await db.verify();
    await db.close();
    const names = await list();
    await destroy('copy');
    return { again, broken, short, values, count, ok, names };
  });
  assert.deepEqual(found, {
    again: 'Invalid', broken: 'Invalid', short: 'Invalid',
    values: ['cairn', 'value 0', undefined], count: 6000, ok: true, names: ['copy', 'exported'],
  });
  await page.close();
});
