// Works the console in a real browser, with a keyboard and nothing else, and looks at what it asks for and how it looks.
//
//     console.mjs HTTP_PORT PASSWORD DIRECTORY      screenshots go into the directory

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [port, password, directory] = process.argv.slice(2);
const origin = `http://127.0.0.1:${port}`;
const authorization = { Authorization: `Bearer ${password}` };
const ask = (path, options = {}) => fetch(origin + path, { ...options, headers: { ...authorization, ...options.headers } });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A page that is watched: what it asks for, what it complains of, and whether the browser asks anything itself. */
async function openPage(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const trouble = [];
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) trouble.push(`it asked for ${url}`);
  });
  page.on('console', (message) => {
    // Of an answer that is no success the browser tells in the console, whatever a page makes of it.
    const isAnswer = /^Failed to load resource: the server responded with a status of (401|404|412)/.test(message.text());
    if (message.type() === 'error' && !isAnswer) trouble.push(message.text());
  });
  page.on('pageerror', (error) => trouble.push(error.message));
  page.on('dialog', (dialog) => trouble.push(`the browser asks: ${dialog.message()}`));
  await page.goto(`${origin}/`);
  return { page, context, trouble };
}

/** Goes on with Tab until it is at what was wanted; on its way every place must be seen to have the focus. */
async function tabTo(page, selector) {
  for (let n = 0; n < 80; n += 1) {
    await page.keyboard.press('Tab');
    const { isThere, isSeen, name } = await page.evaluate((selector) => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      return {
        isThere: element.matches(selector),
        isSeen: element === document.body || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2),
        name: element.outerHTML.slice(0, 80),
      };
    }, selector);
    assert(isSeen, `the focus cannot be seen on ${name}`);
    if (isThere) return;
  }
  assert.fail(`Tab does not come to ${selector}`);
}

const says = (page, selector, pattern) =>
  page.waitForFunction(([selector, source]) => new RegExp(source, 'u').test(document.querySelector(selector).textContent), [selector, pattern.source], { timeout: 10_000 });

async function signIn(page, word) {
  await page.waitForSelector('#sign-in[open]');
  await page.keyboard.type(word);
  await page.keyboard.press('Enter');
}

/** Types into a field what it is to hold instead of what it does. */
async function fill(page, text) {
  await page.keyboard.press('Control+A');
  await page.keyboard.press('Delete');
  await page.keyboard.type(text);
}

/** Text too faint to be read, by WCAG's measure. */
const faint = (page) => page.evaluate(() => {
  const channels = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const light = (color) => {
    const [r, g, b] = channels(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0.99) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent.trim()).join('');
    if (!text || element.closest('[hidden], dialog:not([open]), script, style, option, :disabled') || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  return faint;
});

async function passwordIsAskedFor({ page }) {
  await says(page, '#state', /wants a password/);
  await signIn(page, 'wrong');
  await says(page, '#sign-in-told', /not the password/);
  assert.equal(await page.inputValue('#password'), '');
  await signIn(page, password);
  await says(page, '#state', /^serving$/);
  assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, '']);
}

/** Every string of one and of two bytes, and all of Unicode, comes back from how it is shown. */
async function spellingLosesNothing({ page }) {
  const wrong = await page.evaluate(() => {
    const lost = (bytes) => [false, true].some((lines) => String(unescaped(escaped(bytes, lines))) !== String(bytes));
    for (let high = 0; high < 256; high += 1) {
      if (lost(Uint8Array.of(high))) return [high];
      for (let low = 0; low < 256; low += 1) if (lost(Uint8Array.of(high, low))) return [high, low];
    }
    const encoder = new TextEncoder();
    for (let point = 0; point < 0x110000; point += 1) {
      if (point >= 0xd800 && point < 0xe000) continue;
      const bytes = encoder.encode(String.fromCodePoint(point));
      if (lost(bytes)) return [...bytes];
    }
    return null;
  });
  assert.equal(wrong, null);
}

async function keyIsPutFoundEditedDeleted({ page }) {
  const key = Buffer.from([...Buffer.from('größe/'), 0x00, 0xff, 0x5c]);
  const target = `/v1/kv/${[...key].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')}`;
  const stored = async () => Buffer.from(await (await ask(target)).arrayBuffer());

  // Put.
  await page.keyboard.press('n');
  await page.keyboard.type('größe/\\x00\\xff\\\\');
  await tabTo(page, '#value');
  await page.keyboard.type('first line\nsecond \\x01\\r');
  await tabTo(page, '#put');
  await page.keyboard.press('Enter');
  await says(page, '#told', /^Put\.$/);
  assert.deepEqual(await stored(), Buffer.from('first line\nsecond \x01\r'));

  // Found, by its beginning.
  await page.keyboard.press('/');
  await fill(page, 'größe/');
  await page.keyboard.press('Enter');
  await says(page, '#found', /^1 to 1$/);
  await tabTo(page, '#list button');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'größe/\\x00\\xff\\\\');
  await page.keyboard.press('Enter');
  await says(page, '#meta', /^20 B, written as "\d+"$/);
  assert.equal(await page.inputValue('#value'), 'first line\nsecond \\x01\\r');

  // Edited, but not over what somebody else has written meanwhile.
  await tabTo(page, '#value');
  await page.keyboard.press('Control+End');
  await page.keyboard.type('!');
  await ask(target, { method: 'PUT', body: 'theirs' });
  await tabTo(page, '#put');
  await page.keyboard.press('Enter');
  await says(page, '#told', /changed meanwhile/);
  assert.deepEqual(await stored(), Buffer.from('theirs'));
  await page.keyboard.press('n');
  await page.keyboard.type('größe/\\x00\\xff\\\\');
  await tabTo(page, '#get');
  await page.keyboard.press('Enter');
  await says(page, '#meta', /^6 B/);
  await tabTo(page, '#value');
  await fill(page, 'mine');
  await tabTo(page, '#put');
  await page.keyboard.press('Enter');
  await says(page, '#told', /^Put\.$/);
  assert.deepEqual(await stored(), Buffer.from('mine'));

  // Deleted.
  await tabTo(page, '#delete');
  await page.keyboard.press('Enter');
  await says(page, '#told', /^Deleted\.$/);
  assert.equal((await ask(target)).status, 404);
  await says(page, '#found', /^no keys$/);

  // A spelling that means nothing is told, and writes nothing.
  await fill(page, 'a\\q');
  await page.keyboard.press('Enter');
  await says(page, '#told', /a backslash begins one of/);
}

async function manyKeysComeInPages({ page }) {
  const put = (n) => ask(`/v1/kv/page:${String(n).padStart(4, '0')}`, { method: 'PUT', body: `value ${n}` });
  await Promise.all(Array.from({ length: 250 }, (_, n) => put(n)));
  await tabTo(page, '#prefix');
  await fill(page, 'page:');
  await page.keyboard.press('Enter');
  await says(page, '#found', /^1 to 100$/);
  const first = () => page.textContent('#list button');
  await tabTo(page, '#more');
  await page.keyboard.press('Enter');
  await says(page, '#found', /^101 to 200$/);
  assert.equal(await first(), 'page:0100');
  await page.keyboard.press('Enter');
  await says(page, '#found', /^201 to 250$/);
  assert(await page.isDisabled('#more'));
  await tabTo(page, '#back');
  await page.keyboard.press('Enter');
  await says(page, '#found', /^101 to 200$/);
  await tabTo(page, '#list button');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await says(page, '#meta', /^9 B/);
  assert.equal(await page.inputValue('#value'), 'value 102');
}

async function treeChangesWithAFlush({ page }) {
  const tables = () => page.evaluate(() => [...document.querySelectorAll('#levels tbody tr')].slice(1).reduce((all, row) => all + Number(row.cells[2].textContent), 0));
  const before = await tables();
  assert.equal(before, 0);
  await tabTo(page, '[data-admin=flush]');
  await page.keyboard.press('Enter');
  await says(page, '#tree-note', /^flushed$/);
  await page.waitForFunction(() => [...document.querySelectorAll('#levels tbody tr')].slice(1).some((row) => row.querySelector('svg rect')));
  assert.equal(await tables(), 1);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.admin), 'flush', 'the focus has stayed');
}

async function aReadIsExplained({ page }) {
  await tabTo(page, '#key');
  await fill(page, 'page:0007');
  await tabTo(page, '#explain');
  await page.keyboard.press('Enter');
  await says(page, '#looks tbody', /active memtable.*level 0, table \d+.*a value, of write/);
  await says(page, '#told', /for a read after it/);
}

async function ratesMove({ page }) {
  const stop = Date.now() + 3_000;
  while (Date.now() < stop) await Promise.all(Array.from({ length: 20 }, (_, n) => ask(`/v1/kv/busy:${n}`, { method: 'PUT', body: 'x'.repeat(100) })));
  await says(page, '#commands-more', /^[1-9][0-9,.k]* \/s over HTTP; [1-9]/);
  assert(await page.evaluate(() => document.querySelector('#sync-spark .line').getAttribute('d').length > 0));
}

async function looks(scheme, watched) {
  const { page, trouble } = watched;
  assert.deepEqual(await faint(page), [], scheme);
  assert(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'it is wider than the window');
  await page.screenshot({ path: `${directory}/${scheme}.png`, fullPage: true });
  await page.setViewportSize({ width: 380, height: 800 });
  await page.waitForTimeout(300);
  assert(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'it is wider than a narrow window');
  await page.screenshot({ path: `${directory}/${scheme}-narrow.png`, fullPage: true });
  assert.deepEqual(trouble, []);
}

const light = await openPage({ colorScheme: 'light' });
let passed = 0;
for (const story of [passwordIsAskedFor, spellingLosesNothing, keyIsPutFoundEditedDeleted, manyKeysComeInPages, treeChangesWithAFlush, aReadIsExplained, ratesMove]) {
  try {
    await story(light);
    passed += 1;
  } catch (error) {
    await light.page.screenshot({ path: `${directory}/failed.png`, fullPage: true });
    throw new Error(`${story.name}: ${error.message}; ${directory}/failed.png shows it\n${light.trouble.join('\n')}`, { cause: error });
  }
}
const dark = await openPage({ colorScheme: 'dark' });
await signIn(dark.page, password);
await says(dark.page, '#state', /^serving$/);
await dark.page.waitForTimeout(2_500);
const grounds = await Promise.all([light, dark].map(({ page }) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)));
assert.notEqual(grounds[0], grounds[1]);
await looks('light', light);
await looks('dark', dark);
await browser.close();
console.log(`console: ${passed} stories by keyboard, in light and dark`);
