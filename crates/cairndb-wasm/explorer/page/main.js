// Main: takes a database in, and puts the tree, the tools and the bytes together.

import init, { Explorer } from './wasm/explorer.js';
import { Bytes } from './bytes.js';
import { filesOfDrop, filesOfOwn, filesOfPick, ownDatabases } from './sources.js';
import { tarOf } from './tar.js';
import { Tools, tell } from './tools.js';
import { drawTree, markFile } from './tree.js';
import { count, element, size } from './text.js';

const $ = (id) => document.getElementById(id);

/** More than this is not taken in: it is all held in memory, with copies of what is written to. */
const TAKEN_MAX = 512 << 20;

let loaded;
let tree = { files: [] };

const app = {
  session: null,

  has: (file) => tree.files.some(({ name }) => name === file),

  show(file, offset, len, packedIn = null) {
    if (app.has(file)) bytes.show(file, offset, len, packedIn);
  },

  /** Draws everything as it now is; `touched` is what the last step did. */
  redraw(touched = new Map()) {
    tree = JSON.parse(app.session.tree());
    drawTree(tree, touched, (file) => bytes.open(file));
    bytes.refresh(app.session, tree.files, touched);
    markFile(bytes.file);
  },

  /** Does something, and tells at `place` what went wrong with it. */
  async attempt(place, work) {
    try {
      await work();
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) {
        trouble('The explorer has met a bug of its own, and cannot go on. Load the page again; the console says where it was.');
      } else if (place) {
        tell(place, error.message ?? String(error), true);
      } else {
        trouble(error.message ?? String(error));
      }
    }
  },
};

const bytes = new Bytes((file) => markFile(file));
const tools = new Tools(app);

function trouble(text) {
  $('trouble').textContent = text;
  $('trouble').hidden = text === '';
}

/** Takes a database in: names and blobs; none of them if it is to be a new one. */
async function take({ title, files, isNew = false }) {
  trouble('');
  const total = files.reduce((sum, { blob }) => sum + blob.size, 0);
  if (total > TAKEN_MAX) throw new Error(`that is ${size(total)}; the page holds everything in memory, and takes at most ${size(TAKEN_MAX)}`);
  $('source').textContent = `reading ${title} …`;
  loaded ??= init();
  await loaded;
  // As many bits as a number holds.
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  const session = new Explorer(Date.now(), (high >>> 11) * 2 ** 32 + low);
  const strange = [];
  let taken = 0;
  for (const { name, blob } of files) {
    if (session.add(name, new Uint8Array(await blob.arrayBuffer()))) taken += 1;
    else if (name !== 'LOCK') strange.push(name);
  }
  if (taken === 0 && !isNew) {
    $('source').textContent = '';
    throw new Error(`there is no file of a database in ${title}: those are named like 000001.manifest, 000001.wal, 000001.sst`);
  }
  app.session?.free();
  app.session = session;
  const ignored = strange.length > 0 ? `; ${count(strange.length, 'other file')} left alone` : '';
  $('source').replaceChildren(element('b', {}, title), `, ${count(taken, 'file')}, ${size(total)}${ignored}`);
  $('welcome').hidden = true;
  $('database').hidden = false;
  $('actions').hidden = false;
  tools.restart();
  app.redraw();
  $('main').focus();
}

async function welcome() {
  $('source').textContent = '';
  $('welcome').hidden = false;
  $('database').hidden = true;
  $('actions').hidden = true;
  const names = await ownDatabases();
  $('own').hidden = names.length === 0;
  $('own-list').replaceChildren(...names.map((name) =>
    element('button', { type: 'button', onclick: () => app.attempt(null, async () => take(await filesOfOwn(name))) }, name)));
}

for (const id of ['pick-directory', 'pick-tar']) {
  $(id).addEventListener('change', () => app.attempt(null, async () => {
    const files = [...$(id).files];
    $(id).value = '';
    if (files.length > 0) await take(await filesOfPick(files));
  }));
}
$('empty').addEventListener('click', () => app.attempt(null, () => take({ title: 'a new database', files: [], isNew: true })));
$('another').addEventListener('click', () => app.attempt(null, async () => {
  await welcome();
  $('pick-directory').focus();
}));
$('restart').addEventListener('click', () => app.attempt(null, () => {
  app.session.restart();
  tools.restart();
  app.redraw();
}));
$('save').addEventListener('click', () => app.attempt(null, () => {
  const files = tree.files.map(({ name, len }) => ({ name, bytes: app.session.bytes(name, 0, len) }));
  // The manifest comes last: a file that was cut short is no database.
  files.sort((a, b) => a.name.endsWith('.manifest') - b.name.endsWith('.manifest'));
  const url = URL.createObjectURL(tarOf(files));
  element('a', { href: url, download: 'cairn.tar' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}));

let over = 0;
addEventListener('dragenter', (event) => {
  event.preventDefault();
  over += 1;
  document.body.classList.add('over');
});
addEventListener('dragleave', () => {
  over -= 1;
  if (over <= 0) document.body.classList.remove('over');
});
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  over = 0;
  document.body.classList.remove('over');
  // The event's files are gone once it is over, so this begins at once.
  const files = filesOfDrop(event.dataTransfer);
  app.attempt(null, async () => take(await files));
});

welcome();
