// Run: cairndb beside IndexedDB and SQLite, in Chromium, in turns; medians, and how many times as fast as each ours is. Then
// the engine in a worker's own thread beside the native one, on the same disk.
//
// Needs the package built (`node crates/cairndb-wasm/npm/build.mjs`) and `npm ci` in this folder.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const TURNS = Number(process.argv[2] ?? 5);
const here = dirname(fileURLToPath(import.meta.url));
const packageRoot = process.env.CAIRN_PACKAGE ?? join(here, '../../crates/cairndb-wasm/npm');
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://x');
  const file = pathname.startsWith('/package/') ? join(packageRoot, pathname.slice(9)) : join(here, pathname);
  if (pathname === '/') {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>bench</title><script type="module" src="/page.js"></script>');
  } else if (existsSync(file)) {
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.end(readFileSync(file));
  } else {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const profile = mkdtempSync(join(tmpdir(), 'cairn-bench-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CAIRN_CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
});
const page = await context.newPage();
page.on('pageerror', (error) => console.error(error));
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.waitForFunction(() => globalThis.turn);

// Builds it; what it prints is for the turns.
const native = () => JSON.parse(execFileSync(
  'cargo', ['run', '--release', '--quiet', '--locked', '-p', 'cairndb-wasm', '--example', 'native', profile],
  { cwd: join(here, '../..'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
));
native();

const turns = [];
const threads = [];
for (let number = 0; number < TURNS; number += 1) {
  turns.push(await page.evaluate(() => globalThis.turn()));
  threads.push({ here: await page.evaluate(() => globalThis.inWorker()), native: native() });
}
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const [ours, ...peers] = turns[0].map(({ name }) => name);
const of = (name, verb) => median(turns.map((turn) => turn.find((one) => one.name === name).rates[verb]));
console.log(`${context.browser()?.version() ?? 'Chromium'}, ${TURNS} turns, medians a second. Keys of 12 bytes, values of 100, 20,000 of them in batches of 1,000; a cache of 32 MiB each;\nrelaxed: durability 'os', IndexedDB 'relaxed', SQLite synchronous OFF; strict: 'sync', 'strict', FULL.\n`);
console.log(`| | ${ours} | ${peers.map((peer) => `${peer} | ours: times as fast`).join(' | ')} |`);
console.log(`|---|---:|${peers.map(() => '---:|---:|').join('')}`);
for (const verb of Object.keys(turns[0][0].rates)) {
  const our = of(ours, verb);
  const cells = peers.map((peer) => `${Math.round(of(peer, verb)).toLocaleString('en')} | ${(our / of(peer, verb)).toFixed(1)}`);
  console.log(`| ${verb} | ${Math.round(our).toLocaleString('en')} | ${cells.join(' | ')} |`);
}
console.log("\n| in the engine's own thread | Chromium, a second | native, a second | native: times as fast |\n|---|---:|---:|---:|");
for (const verb of Object.keys(threads[0].here)) {
  const [chromium, natively] = ['here', 'native'].map((side) => median(threads.map((turn) => turn[side][verb])));
  const cells = [chromium, natively].map((rate) => Math.round(rate).toLocaleString('en'));
  console.log(`| ${verb} | ${cells.join(' | ')} | ${(natively / chromium).toFixed(1)} |`);
}
await context.close();
server.close();
rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
