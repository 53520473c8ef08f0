// Browser: Chromium under a profile of its own, and a server for what it loads. For the tests beside this file.

import { createServer } from 'node:http';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const packageRoot = fileURLToPath(new URL('..', import.meta.url));

const TYPES = {
  '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm',
};

const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Serves folders, and an empty page under `/blank`. No header that a static host would not send. */
export async function serve(...roots) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
    if (path === '/favicon.ico') {
      // Asked for by every page, and missed by none.
      response.writeHead(204).end();
      return;
    }
    try {
      const root = roots.find((root) => existsSync(join(root, path))) ?? '';
      const body = path === '/blank' ? '<!doctype html><title>test</title>' : readFileSync(join(root, path));
      response.setHeader('content-type', TYPES[extname(path)] ?? (typeof body === 'string' ? 'text/html' : 'application/octet-stream'));
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** A profile that outlives the browsers that are started on it. */
export class Profile {
  dir = mkdtempSync(join(tmpdir(), 'cairn-browser-'));

  async launch() {
    const context = await chromium.launchPersistentContext(this.dir, {
      executablePath: process.env.CAIRN_CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ARGS,
    });
    return context;
  }

  remove() {
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A page with the package in it, as `cairn`. What its console says, and what it throws, is shown. */
export async function openPage(context, url) {
  const page = await context.newPage();
  page.on('console', (message) => message.type() === 'error' && console.error(`page: ${message.text()}`));
  page.on('pageerror', (error) => console.error(`page: ${error.stack ?? error}`));
  await page.goto(`${url}/blank`);
  await page.evaluate(async () => {
    globalThis.cairn = await import('/index.js');
    globalThis.text = (bytes) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));
    /** The kind of the error that a promise is rejected with. */
    globalThis.kindOf = (promise) => promise.then(() => 'none', (error) => error.kind ?? `${error}`);
  });
  return page;
}
