// Tree: the tables by level, and the other files, each a way to its bytes.

import { count, element, size } from './text.js';

const $ = (id) => document.getElementById(id);

/** So many tables of a level are shown at first. */
const TABLES = 60;

/** Draws the tree; `show` is called with the name of a file that somebody has chosen. */
export function drawTree({ files, tables, manifest, checkpoint, doubt, open }, touched, show) {
  $('doubt').hidden = !doubt;
  $('doubt').textContent = doubt ?? '';
  const bytes = files.reduce((sum, { len }) => sum + len, 0);
  $('tree-note').textContent = `${count(files.length, 'file')}, ${size(bytes)}${manifest ? `; recovery begins at ${checkpoint}` : ''}`;
  const rows = [];
  if (open) {
    const memory = `${size(open.memtable_bytes)} in memtables; last write ${open.seq}. At the open: ${open.recovery}.`;
    rows.push(level('memory', [], element('p', {}, memory)));
  }
  const named = new Set(tables.map(({ file }) => file));
  const others = (kind) => files.filter((file) => file.kind === kind && !named.has(file.name));
  const plain = ({ name, len }) => stone({ name, lines: [len === 0 ? 'spare' : size(len)], isPlain: true, touched, show });
  rows.push(level('logs', [], stones(others('WAL').map(plain)), 'no log'));
  const last = Math.max(0, ...tables.map((table) => table.level));
  for (let number = 0; number <= last; number += 1) {
    const here = tables.filter((table) => table.level === number);
    if (here.length === 0 && number > 0) continue;
    const entries = here.reduce((sum, table) => sum + counted(table, 'entries'), 0);
    const len = here.reduce((sum, table) => sum + table.len, 0);
    const notes = here.length > 0 ? [count(entries, 'entry', 'entries'), size(len)] : [];
    rows.push(level(`level ${number}`, notes, stones(here.map((table) => tableStone(table, touched, show))), 'no table'));
  }
  const rest = [...others('manifest'), ...others('reserve'), ...others('SSTable')];
  rows.push(level('other files', [], stones(rest.map(plain)), 'none'));
  $('levels').replaceChildren(...rows);
}

/** Marks the file whose bytes are shown. */
export function markFile(name) {
  for (const button of $('levels').querySelectorAll('.stone')) {
    if (button.dataset.file === name) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
  }
}

function counted(table, name) {
  return table.counts.find(([counted]) => counted === name)?.[1] ?? 0;
}

function tableStone(table, touched, show) {
  const deletes = counted(table, 'deletes') + counted(table, 'range deletes');
  const facts = [size(table.len), count(counted(table, 'entries'), 'entry', 'entries'), ...(deletes > 0 ? [count(deletes, 'delete')] : [])];
  const range = element('span', { class: 'range' }, `${table.start} … ${table.end}`);
  return stone({ name: table.file, lines: [facts.join(', '), range], damage: table.damage, touched, show, title: `@${counted(table, 'seq min')} to @${counted(table, 'seq max')}` });
}

function stone({ name, lines, damage, isPlain, touched, show, title }) {
  const does = touched.get(name);
  const className = ['stone', isPlain ? 'plain' : '', damage ? 'bad' : '', does ? 'touched' : ''].join(' ');
  return element(
    'button',
    { type: 'button', class: className, 'data-file': name, title, onclick: () => show(name) },
    element('b', {}, name),
    ...lines.map((line) => (typeof line === 'string' ? element('span', {}, line) : line)),
    damage ? element('span', { class: 'damage' }, damage) : null,
  );
}

function stones(buttons) {
  if (buttons.length === 0) return null;
  const list = element('ul', { class: 'stones' });
  const add = (from) => list.append(...buttons.slice(from, from + TABLES).map((button) => element('li', {}, button)));
  add(0);
  if (buttons.length > TABLES) {
    let shown = TABLES;
    const more = element('button', { type: 'button', class: 'small' }, `${count(buttons.length - shown)} more`);
    more.addEventListener('click', () => {
      more.parentElement.remove();
      add(shown);
      shown += TABLES;
      if (shown < buttons.length) {
        more.textContent = `${count(buttons.length - shown)} more`;
        list.append(element('li', {}, more));
      }
      list.querySelectorAll('.stone')[shown - TABLES]?.focus();
    });
    list.append(element('li', {}, more));
  }
  return list;
}

function level(name, notes, content, none) {
  const title = element('h3', {}, name, ...notes.map((note) => element('small', {}, note)));
  return element('div', { class: 'level' }, title, content ?? element('p', {}, none));
}
