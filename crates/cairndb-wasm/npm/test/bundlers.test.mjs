// Bundlers: the package, installed from its tarball, in what applications are built with; and each result in a browser.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Profile, packageRoot, serve } from './browser.mjs';

const APPLICATION = `
import { open } from 'cairndb';
const db = await open('bundled', { keyEncoding: 'utf8', valueEncoding: 'utf8' });
await db.put('key', 'value');
document.title = await db.get('key');
await db.close();
`;

let root;
let profile;
let context;

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'cairn-bundlers-'));
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', root], { cwd: packageRoot, encoding: 'utf8' });
  execFileSync('tar', ['-xzf', join(root, packed.trim()), '-C', root]);
  mkdirSync(join(root, 'node_modules'));
  cpSync(join(root, 'package'), join(root, 'node_modules/cairndb'), { recursive: true });
  for (const name of readdirSync(join(packageRoot, 'node_modules'))) {
    symlinkSync(join(packageRoot, 'node_modules', name), join(root, 'node_modules', name));
  }
  writeFileSync(join(root, 'package.json'), '{ "type": "module", "private": true }');
  writeFileSync(join(root, 'main.js'), APPLICATION);
  writeFileSync(join(root, 'index.html'), '<!doctype html><title>none</title><script type="module" src="/main.js"></script>');
  profile = new Profile();
  context = await profile.launch();
});

after(async () => {
  await context?.close();
  profile?.remove();
  rmSync(root, { recursive: true, force: true });
});

/** Opens a page, and waits until the application in it has read what it wrote. */
async function requireItRuns(url) {
  const page = await context.newPage();
  const told = [];
  page.on('console', (message) => told.push(message.text()));
  page.on('pageerror', (error) => told.push(`${error}`));
  await page.goto(url);
  await page.waitForFunction(() => document.title === 'value', undefined, { timeout: 60_000 }).catch((error) => {
    throw new Error(`${error.message}\n${told.join('\n')}`);
  });
  await page.close();
}

async function requireItRunsIn(folder, page = '') {
  const server = await serve(folder);
  await requireItRuns(`${server.url}/${page}`);
  server.close();
}

test('a plain module, out of the installed folder', async () => {
  const importMap = '<script type="importmap">{ "imports": { "cairndb": "/node_modules/cairndb/index.js" } }</script>';
  writeFileSync(join(root, 'plain.html'), `<!doctype html><title>none</title>${importMap}<script type="module" src="/main.js"></script>`);
  await requireItRunsIn(root, 'plain.html');
});

test('everything in one file', async () => {
  const importMap = '<script type="importmap">{ "imports": { "cairndb": "/node_modules/cairndb/inline.js" } }</script>';
  writeFileSync(join(root, 'inline.html'), `<!doctype html><title>none</title>${importMap}<script type="module" src="/main.js"></script>`);
  await requireItRunsIn(root, 'inline.html');
});

test('a build of Vite', async () => {
  execFileSync(join(root, 'node_modules/.bin/vite'), ['build', '--outDir', 'vite'], { cwd: root, stdio: 'pipe' });
  await requireItRunsIn(join(root, 'vite'), 'index.html');
});

test('the development server of Vite', async () => {
  const vite = spawn(join(root, 'node_modules/.bin/vite'), ['--host', '127.0.0.1', '--port', '0'], { cwd: root });
  try {
    const url = await new Promise((resolve, reject) => {
      let told = '';
      const hear = (chunk) => {
        // Its colours go around the port.
        told += String(chunk).replace(/\u001b\[\d+m/g, '');
        const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(told);
        if (found) resolve(found[0]);
      };
      vite.stdout.on('data', hear);
      vite.stderr.on('data', hear);
      vite.on('exit', () => reject(new Error(told)));
    });
    await requireItRuns(url);
  } finally {
    vite.kill();
  }
});

test('a build of webpack', async () => {
  const config = "export default { mode: 'production', entry: './main.js', experiments: { topLevelAwait: true } };";
  writeFileSync(join(root, 'webpack.config.mjs'), config);
  execFileSync(join(root, 'node_modules/.bin/webpack'), ['--output-path', 'webpack'], { cwd: root, stdio: 'pipe' });
  writeFileSync(join(root, 'webpack/index.html'), '<!doctype html><title>none</title><script type="module" src="main.js"></script>');
  await requireItRunsIn(join(root, 'webpack'), 'index.html');
});

test('the package holds what it needs and nothing else', () => {
  const files = execFileSync('tar', ['-tzf', join(root, readdirSync(root).find((name) => name.endsWith('.tgz')))], { encoding: 'utf8' });
  const names = files.trim().split('\n').map((name) => name.replace('package/', '')).sort();
  assert.ok(['README.md', 'index.d.ts', 'index.js', 'inline.js', 'wasm/cairndb.js', 'wasm/cairndb_bg.wasm', 'worker.js'].every((name) => names.includes(name)), `${names}`);
  assert.ok(!names.some((name) => name.startsWith('test/') || name.includes('.src.') || name.endsWith('.mjs')), `${names}`);
});
