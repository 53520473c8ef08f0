// Explorer: what a learner does with it, in a real browser, with a database that the command line has written.
//
// Screenshots go into CAIRN_SHOTS, if that names a directory.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Profile, packageRoot, serve } from '../../npm/test/browser.mjs';

const pageRoot = fileURLToPath(new URL('../page', import.meta.url));
const CAIRN = process.env.CAIRN ?? join(packageRoot, '../../../target/debug/cairn');
const cairn = (...args) => execFileSync(CAIRN, args, { encoding: 'utf8' });

let root;
let native;
let server;
let profile;
let context;
let page;
let trouble;

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'cairn-explorer-'));
  native = join(root, 'stones');
  const lines = Array.from({ length: 3000 }, (_, n) => `stone ${String(n).padStart(4, '0')}\tvalue ${n} ${'on a stone '.repeat(n % 6)}`);
  writeFileSync(join(root, 'stones.tsv'), `${lines.join('\n')}\n`);
  cairn('--db', native, 'load', join(root, 'stones.tsv'));
  cairn('--db', native, 'compact');
  writeFileSync(join(root, 'more.tsv'), 'stone 0007\tseven anew\nstone 9999\tlast\n');
  cairn('--db', native, 'load', join(root, 'more.tsv'));
  cairn('--db', native, 'checkpoint');
  cairn('--db', native, 'delete', 'stone 0003');
  cairn('--db', native, 'put', 'fresh', 'in the log');
  // The page first, so that its own files are what is served; the package for its OPFS databases.
  server = await serve(pageRoot, packageRoot);
  profile = new Profile();
  context = await profile.launch();
});

after(async () => {
  await context.close();
  server.close();
  profile.remove();
  rmSync(root, { recursive: true, force: true });
});

beforeEach(async () => {
  page = await context.newPage();
  await page.setViewportSize({ width: 1280, height: 1000 });
  trouble = [];
  page.on('console', (message) => message.type() === 'error' && trouble.push(message.text()));
  page.on('pageerror', (error) => trouble.push(String(error.stack ?? error)));
  page.on('request', (request) => !/^(?:http:\/\/127\.0\.0\.1|data:|blob:)/.test(request.url()) && trouble.push(`asked for ${request.url()}`));
  await page.goto(`${server.url}/index.html`);
});

afterEach(async () => {
  await page.close();
  assert.deepEqual(trouble, []);
});

/** Drops a directory or files on the page, as a person would with a pointer. */
async function drop(...files) {
  const session = await context.newCDPSession(page);
  const data = { items: [], files, dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await session.send('Input.dispatchDragEvent', { type, x: 400, y: 300, data });
  }
  await page.waitForSelector('#database:not([hidden])');
}

const says = (selector, pattern) => page.waitForFunction(
  ([selector, source]) => new RegExp(source, 'u').test(document.querySelector(selector).textContent), [selector, pattern.source], { timeout: 20_000 });

const shot = async (name, options = {}) => {
  if (process.env.CAIRN_SHOTS) await page.screenshot({ path: join(process.env.CAIRN_SHOTS, `${name}.png`), fullPage: true, ...options });
};

/** The bytes that are highlighted, as the page writes them. */
const highlighted = () => page.$$eval('#hex .line > .selected', (runs) => runs.map((run) => run.textContent).join(' ').replace(/\s+/g, ' ').trim());
const asHex = (text) => [...Buffer.from(text)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

/** Every file of a directory, to compare with later. */
const contents = (directory) => readdirSync(directory).map((name) => `${name} ${readFileSync(join(directory, name)).toString('base64')}`);

test('a directory that the command line wrote is dropped, and a key is found down to its bytes', async () => {
  const before = contents(native);
  await drop(native);
  await says('#source', /^stones, \d+ files/);
  await says('#file-note', /every checksum fits/);
  const levels = await page.$$eval('.level > h3', (titles) => titles.map((title) => title.firstChild.textContent));
  assert.ok(levels.includes('level 0') && levels.includes('level 6'), `${levels}`);
  await says('#levels', /0\/"stone 0000" … 0\/"stone/);
  await shot('dropped-light');

  await page.fill('#find-key', 'stone 1234');
  await page.click('#find-form button');
  await says('#find-told', /^A read finds: put 0\/"stone 1234" @\d+ = "value 1234/);
  const asked = await page.$$eval('#sights .look small', (looks) => looks.map((look) => look.textContent.replace(/^.*?: /, '')));
  for (const question of ['filter', 'index', 'block', 'entry']) assert.ok(asked.includes(question), `${asked}`);
  // The entry's own bytes are shown, with the value in them.
  assert.ok((await highlighted()).includes(asHex('value 1234')), await highlighted());
  await says('#said', /put: 0\/"stone 1234"/);
  await shot('found-light');

  // The index entry leads to the block that the entry is in.
  const offset = await page.$eval('#parts .item[aria-selected="true"] .offset', (item) => Number.parseInt(item.textContent, 16));
  await page.click('#sights .look:has(small:text-matches("index$"))');
  await says('#said', new RegExp(`separator: up to .*bytes at ${offset}`));

  // A key in the log, a deleted one with what it hides, and one that is nowhere.
  await page.fill('#find-key', 'fresh');
  await page.press('#find-key', 'Enter');
  await says('#find-told', /in the log/);
  await says('#said', /put: 0\/"fresh"/);
  await page.fill('#find-key', 'stone 0003');
  await page.press('#find-key', 'Enter');
  await says('#find-told', /delete 0\/"stone 0003"/);
  await says('#sights', /no read comes here: it has its answer.*value 3/s);
  await page.fill('#find-key', 'nowhere');
  await page.press('#find-key', 'Enter');
  await says('#find-told', /is nowhere/);
  assert.deepEqual(contents(native), before, 'what was given is as it was');
});

test('a directory is picked; fields lead to bytes and bytes to fields', async () => {
  await page.setInputFiles('#pick-directory', native);
  await says('#source', /^stones, \d+ files/);
  const wal = readdirSync(native).filter((name) => name.endsWith('.wal')).find((name) => readFileSync(join(native, name)).includes('fresh'));
  await page.selectOption('#file', wal);
  await page.click('#fields .item:has(.name:text-is("magic"))');
  assert.equal(await highlighted(), asHex('cairnwal'));
  await page.click('#hex .line:nth-child(2) [data-f]');
  await says('#said', /number: \d+/);
  assert.equal(await page.$eval('#fields .item[aria-selected="true"] .name', (name) => name.textContent), 'number');
});

test('a put is stepped through to an SSTable, each byte of it', async () => {
  await drop(native);
  await page.click('#tab-step');
  await page.fill('#step-key', 'granite');
  await page.fill('#step-value', 'an igneous rock');
  await page.click('[data-verb="put"]');
  await says('#step-told', /^put "granite", sync: written, and visible: @\d+/);
  await says('#steps', /1\. open/);
  const wal = await page.inputValue('#file');
  assert.match(wal, /\.wal$/);
  assert.ok((await page.$$eval('#hex .line > .written', (runs) => runs.map((run) => run.textContent).join(''))).length > 0);
  await says('#said', /bytes of batch: 1 entry from @\d+/);
  await shot('put-light');

  await page.click('[data-verb="get"]');
  await says('#step-told', /get "granite": "an igneous rock"/);
  await says('#steps', /active memtable: a value @/);

  await page.click('[data-verb="flush"]');
  await says('#step-told', /what was in memory is in a table/);
  const table = await page.inputValue('#file');
  assert.match(table, /\.sst$/);
  await says('#said', /bytes: \d+ parts from the header of/);
  await says('#steps', /append\s*\d+\.sst.*sync\s*\d+\.sst/s);
  await page.click('#tab-find');
  await page.fill('#find-key', 'granite');
  await page.press('#find-key', 'Enter');
  await says('#find-told', /an igneous rock/);
  assert.equal(await page.inputValue('#file'), table);
  assert.ok((await highlighted()).includes(asHex('an igneous rock')));

  await page.click('#tab-step');
  await page.click('[data-verb="compact"]');
  await says('#step-told', /nothing is left that nobody can see/);
  await says('#steps', /read\s*\d+\.sst.*append\s*\d+\.sst.*append\s*\d+\.manifest.*remove\s*\d+\.sst/s);
  await page.click('[data-verb="get"]');
  await says('#step-told', /an igneous rock/);
  await says('#steps', /\d+\.sst, level 6: a value @/);
  // The block that was read is shown, and is told from the others.
  await page.waitForSelector('#parts .item[aria-selected="true"] .badge:text-is("read")');
  await page.click('#restart');
  await says('#steps', /^$/);
  assert.equal(await page.$$eval(`.stone[data-file="${table}"]`, (all) => all.length), 0, 'the copy is as what was given');
});

test('the power is cut at every call of a put: an honest disk keeps each promise, and one that lies does not', async () => {
  await page.click('#empty');
  await page.click('#tab-step');
  await page.click('[data-verb="put"]');
  await says('#step-told', /written/);
  await page.click('#tab-crash');
  const moments = await page.$$eval('#crash-moment option', (all) => all.length);
  assert.ok(moments >= 2, `${moments}`);
  await page.click('#sweep');
  await says('#crash-told', /^\d+ states: \d+ keep every promise, 0 break one/);
  await shot('crash-light');

  await page.click('#tab-step');
  await page.check('#lies');
  await page.fill('#step-key', 'slate');
  await page.click('[data-verb="put"]');
  await says('#step-told', /"slate".*written/);
  await page.click('#tab-crash');
  await page.click('[data-preset="lost"]');
  await page.click('#cut');
  await says('#crash-told', /A promise is broken/);
  await says('#outcomes', /1 write of 2 acknowledged with sync is lost\. The disk had lied/);
  await page.click('#sweep');
  await says('#crash-told', /states: \d+ keep every promise, [1-9]\d* break one/);
  await shot('lied-light');

  // The disk as it was found is gone on with, and recovery made a step of.
  await page.click('#adopt');
  await says('#crash-told', /the disk as the crash left it/);
  await page.click('#tab-step');
  await page.click('[data-verb="get"]');
  await says('#step-told', /get "slate": /);
  await says('#steps', /1\. open.*not closed cleanly before/s);
});

test('damage is shown where it is, and nothing breaks', async () => {
  const damaged = join(root, 'damaged');
  cpSync(native, damaged, { recursive: true });
  const largest = readdirSync(damaged).filter((name) => name.endsWith('.sst')).map((name) => ({ name, bytes: readFileSync(join(damaged, name)) })).sort((a, b) => b.bytes.length - a.bytes.length)[0];
  largest.bytes[5000] ^= 0x40;
  writeFileSync(join(damaged, largest.name), largest.bytes);
  const manifest = readdirSync(damaged).find((name) => name.endsWith('.manifest'));
  await drop(damaged);
  await page.selectOption('#file', largest.name);
  await says('#file-note', /2 parts damaged|1 part damaged/);
  await page.click('#parts .item.bad');
  await says('#said', /Damaged: the block does not fit its checksum/);
  await page.press('#fields', 'End');
  await says('#said', /crc: [0-9a-f]{8}.*Damaged: the bytes under it have [0-9a-f]{8}/);
  assert.ok((await page.$$('#hex .bad')).length > 0);
  await shot('damaged-light');

  // The manifest's bytes torn in the middle of its base: the tree is in doubt, and the bytes are there all the same.
  writeFileSync(join(damaged, manifest), readFileSync(join(damaged, manifest)).fill(0xee, 100, 120));
  await page.click('#another');
  await drop(damaged);
  await page.waitForSelector('#doubt:not([hidden])');
  await page.click('#tab-step');
  await page.click('[data-verb="get"]');
  await says('#step-told', /corrupt/);

  // No database at all.
  await page.click('#another');
  mkdirSync(join(root, 'nothing'), { recursive: true });
  writeFileSync(join(root, 'nothing', 'README'), 'no stones');
  const session = await context.newCDPSession(page);
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await session.send('Input.dispatchDragEvent', { type, x: 400, y: 300, data: { items: [], files: [join(root, 'nothing')], dragOperationsMask: 1 } });
  }
  await says('#trouble', /there is no file of a database in nothing/);
  assert.equal(await page.isVisible('#welcome'), true);
});

test('a backup is dropped, what the page saves is verified by the command line, and a tar file comes back', async () => {
  const backup = join(root, 'backup');
  cairn('--db', native, 'backup', backup);
  await drop(backup);
  await says('#source', /^backup, \d+ files/);
  await page.click('#tab-step');
  await page.fill('#step-key', 'from the page');
  await page.click('[data-verb="put"]');
  await says('#step-told', /written/);
  const tar = join(root, 'saved.tar');
  const save = async (name) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
    await download.saveAs(tar);
    const unpacked = join(root, name);
    mkdirSync(unpacked);
    execFileSync('tar', ['-xf', tar, '-C', unpacked]);
    cairn('--db', unpacked, 'verify');
    assert.equal(cairn('--db', unpacked, 'get', 'from the page').trim(), 'igneous');
    assert.match(cairn('--db', unpacked, 'get', 'stone 0007'), /^seven anew/);
  };
  await save('unpacked-open');
  await page.click('[data-verb="close"]');
  await says('#step-told', /closed cleanly/);
  await save('unpacked-closed');

  await page.click('#another');
  await page.setInputFiles('#pick-tar', tar);
  await says('#source', /^saved\.tar, \d+ files/);
  await page.click('#tab-find');
  await page.fill('#find-key', 'from the page');
  await page.press('#find-key', 'Enter');
  await says('#find-told', /igneous/);
});

test("the browser's own database is looked at while it is open", async () => {
  const owner = await context.newPage();
  await owner.goto(`${server.url}/blank`);
  await owner.evaluate(async () => {
    const { open } = await import('/index.js');
    globalThis.db = await open('own', { memoryBudget: 8 << 20 });
    await globalThis.db.put('basalt', 'from a browser');
  });
  await page.reload();
  await page.click('#own-list button:text-is("own")');
  await says('#source', /^own, \d+ files/);
  await page.fill('#find-key', 'basalt');
  await page.press('#find-key', 'Enter');
  await says('#find-told', /from a browser/);
  await owner.evaluate(() => globalThis.db.close());
  await owner.close();
});

test('it is all done with the keyboard, in the dark', async () => {
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot('welcome-dark');
  await tabTo('#empty');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#database:not([hidden])');
  await tabTo('#tab-find');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.$eval(':focus', (element) => element.id), 'tab-step');
  await tabTo('[data-verb="put"]');
  await page.keyboard.press('Enter');
  await says('#step-told', /written/);
  await tabTo('[data-verb="flush"]');
  await page.keyboard.press('Enter');
  await says('#step-told', /in a table/);
  await tabTo('.stone[data-file$=".sst"]', true);
  await page.keyboard.press('Enter');
  await tabTo('#parts');
  await page.keyboard.press('ArrowDown');
  await says('#said', /block 1: to/);
  await tabTo('#hex');
  await page.keyboard.press('ArrowRight');
  await says('#said', /shared: 0/);
  await page.keyboard.press('ArrowRight');
  await says('#said', /rest len/);
  await tabTo('#fields');
  await page.keyboard.press('Home');
  await says('#said', /put: 0\/"granite" @\d+ = "igneous"/);
  assert.ok((await highlighted()).endsWith(asHex('graniteigneous')), await highlighted());
  await shot('keyboard-dark');
  await tabTo('#tab-step', true);
  await page.keyboard.press('ArrowRight');
  await tabTo('#sweep');
  await page.keyboard.press('Enter');
  await says('#crash-told', /0 break one/);
  await shot('crash-dark');
  assert.deepEqual(await faint(), []);
});

test('everything is named, can be read, and keeps within a narrow window', async () => {
  await shot('welcome-light');
  assert.deepEqual(await faint(), []);
  await drop(native);
  await page.click('#tab-step');
  await page.click('[data-verb="put"]');
  await says('#step-told', /written/);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const tab of ['find', 'step', 'crash']) {
      await page.click(`#tab-${tab}`);
      assert.deepEqual(await faint(), [], `${colorScheme} ${tab}`);
    }
  }
  await shot('stepped-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  const nameless = await page.$$eval('button, input, select, [role="listbox"], [role="tree"], [tabindex="0"]', (all) => all
    .filter((element) => element.checkVisibility() && !(element.labels?.length || element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.textContent.trim()))
    .map((element) => element.outerHTML.slice(0, 90)));
  assert.deepEqual(nameless, []);
  for (const width of [1000, 700, 360]) {
    await page.setViewportSize({ width, height: 900 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(over <= 0, `${over} pixels too wide at ${width}`);
    await shot(`narrow-${width}`);
  }
});

/** Goes on with Tab until it is at what was wanted; on its way every place must be seen to have the focus. */
async function tabTo(selector, isBackward = false) {
  for (let n = 0; n < 90; n += 1) {
    await page.keyboard.press(isBackward ? 'Shift+Tab' : 'Tab');
    const { isThere, isSeen, name } = await page.evaluate((selector) => {
      const element = document.activeElement;
      const drawn = element.matches('.away') ? document.querySelector(`label[for="${element.id}"]`) : element;
      const style = getComputedStyle(drawn);
      return {
        isThere: element.matches(selector),
        isSeen: element === document.body || element.id === 'main' || (style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 2),
        name: element.outerHTML.slice(0, 90),
      };
    }, selector);
    assert.ok(isSeen, `the focus cannot be seen on ${name}`);
    if (isThere) return;
  }
  assert.fail(`Tab does not come to ${selector}`);
}

/** Text too faint to be read, by WCAG's measure. */
function faint() {
  return page.evaluate(() => {
    const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = channels(getComputedStyle(at).backgroundColor);
        if ((color[3] ?? 1) > 0.99) return color;
      }
      return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll('body *')) {
      const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent.trim()).join('');
      if (!text || element.closest('[hidden], option, :disabled') || !element.checkVisibility()) continue;
      const [a, b] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
      let opacity = 1;
      for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5 || opacity < 0.7) found.push(`${contrast.toFixed(2)}: ${text.slice(0, 40)}`);
    }
    return [...new Set(found)];
  });
}
