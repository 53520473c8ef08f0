// Bytes: a file part by part, as hex beside the fields that it decodes to. Choosing a field shows its bytes, and a byte its field.

import { List } from './list.js';
import { count, element, hex, size } from './text.js';

const $ = (id) => document.getElementById(id);

/** So many bytes of a part are shown at once. */
const SHOWN = 4096;

/** So many in a line: fewer where there is little room. */
const narrow = matchMedia('(max-width: 480px)');
const lineLength = () => (narrow.matches ? 8 : 16);

export class Bytes {
  #session;
  #file = '';
  #parts = [];
  #part = -1;
  #taken = { stored: [], unpacked: null };
  #isUnpacked = false;
  /** What is shown as hex: bytes, and where the first of them stands. */
  #shown = { bytes: new Uint8Array(), at: 0 };
  #chosen = -1;
  #at = -1;
  /** What is highlighted: offset and length. */
  #range = null;
  /** What the last step did, by file: [offset, length, was it written]. */
  #touched = new Map();
  #partList;
  #fieldList;
  #onFile;

  constructor(onFile) {
    this.#onFile = onFile;
    this.#partList = new List($('parts'), { draw: (item, part) => this.#drawPart(item, part), onChoose: (index) => this.#openPart(index) });
    this.#fieldList = new List($('fields'), { draw: (item, field) => drawField(item, field), onChoose: (index) => this.#chooseField(index) });
    $('file').addEventListener('change', () => this.open($('file').value));
    $('stored').addEventListener('click', () => this.#turn(false));
    $('unpacked').addEventListener('click', () => this.#turn(true));
    $('hex-back').addEventListener('click', () => this.#page(-1));
    $('hex-more').addEventListener('click', () => this.#page(1));
    narrow.addEventListener('change', () => {
      this.#drawHex();
      this.#highlight();
    });
    $('hex').addEventListener('mousedown', (event) => this.#point(event));
    $('hex').addEventListener('keydown', (event) => this.#key(event));
  }

  get file() {
    return this.#file;
  }

  /** Takes another database, or the same one after it has changed. */
  refresh(session, files, touched = new Map()) {
    this.#session = session;
    this.#touched = touched;
    const names = files.map(({ name }) => name);
    $('file').replaceChildren(...files.map(({ name, len }) => element('option', { value: name }, `${name} (${size(len)})`)));
    const part = this.#parts[this.#part]?.offset ?? 0;
    if (names.includes(this.#file)) this.#reopen(this.#file, part);
    else this.open(names.find((name) => name.endsWith('.sst')) ?? names.find((name) => name.endsWith('.wal')) ?? names[0] ?? '');
  }

  open(file) {
    this.#reopen(file, 0);
  }

  /** Shows bytes of a file: those at an offset, or those in the unpacked block that begins at `packedIn`. */
  show(file, offset, len, packedIn = null) {
    if (file !== this.#file) this.#reopen(file, 0);
    const at = packedIn ?? offset;
    const index = this.#parts.findIndex((part) => at >= part.offset && at < part.offset + part.len);
    if (index < 0) return;
    this.#partList.mark(index);
    this.#openPart(index, packedIn !== null);
    if (len === 0) return;
    const fields = this.#fields;
    let best = fields.findIndex((field) => field[0] === offset && field[1] === len);
    if (best < 0) best = fields.findLastIndex((field) => field[0] <= offset && offset + len <= field[0] + field[1]);
    if (best >= 0) this.#chooseField(best);
    else this.#showRange(offset, len);
  }

  get #fields() {
    return (this.#isUnpacked && this.#taken.unpacked) || this.#taken.stored;
  }

  #reopen(file, offset) {
    this.#file = file;
    $('file').value = file;
    this.#parts = file ? JSON.parse(this.#session.parts(file)) : [];
    this.#part = -1;
    $('parts-title').textContent = `Parts (${count(this.#parts.length)})`;
    const bad = this.#parts.filter((part) => part.damage).length;
    $('file-note').textContent = bad > 0 ? `${count(bad, 'part')} damaged` : file ? 'every checksum fits' : '';
    $('file-note').className = bad > 0 ? 'note damage' : 'note';
    this.#partList.items = this.#parts;
    this.#onFile(file);
    const index = Math.max(0, this.#parts.findIndex((part) => part.offset === offset));
    this.#partList.mark(this.#parts.length > 0 ? index : -1);
    this.#openPart(index);
  }

  #openPart(index, isUnpacked = null) {
    const part = this.#parts[index];
    this.#part = part ? index : -1;
    this.#taken = part ? JSON.parse(this.#session.fields(this.#file, part.offset)) : { stored: [], unpacked: null };
    $('form').hidden = !this.#taken.unpacked;
    this.#isUnpacked = this.#taken.unpacked !== null && (isUnpacked ?? true);
    this.#begin();
    this.#say(part ? `${part.title}. ${count(part.len, 'byte')} at ${part.offset}.` : 'This file is empty: a spare, made ahead and not used.', part?.damage);
  }

  #turn(isUnpacked) {
    this.#isUnpacked = isUnpacked;
    this.#begin();
  }

  #begin() {
    $('stored').setAttribute('aria-pressed', String(!this.#isUnpacked));
    $('unpacked').setAttribute('aria-pressed', String(this.#isUnpacked));
    this.#chosen = -1;
    this.#at = -1;
    this.#range = null;
    this.#fieldList.items = this.#fields;
    $('fields-title').textContent = `Fields (${count(this.#fields.length)})`;
    this.#load(this.#start);
  }

  /** Where what is shown begins, and where it ends. */
  get #start() {
    return this.#isUnpacked ? 0 : (this.#parts[this.#part]?.offset ?? 0);
  }

  get #end() {
    const part = this.#parts[this.#part];
    if (!part) return 0;
    if (!this.#isUnpacked) return part.offset + part.len;
    return this.#taken.unpacked.reduce((end, field) => Math.max(end, field[0] + field[1]), 0);
  }

  #load(at) {
    const part = this.#parts[this.#part];
    let bytes = new Uint8Array();
    if (part && this.#isUnpacked) bytes = this.#session.unpacked(this.#file, part.offset).slice(at, at + SHOWN);
    else if (part) bytes = this.#session.bytes(this.#file, at, Math.min(SHOWN, this.#end - at));
    this.#shown = { bytes, at };
    const [start, end] = [this.#start, this.#end];
    $('hex-paging').hidden = end - start <= SHOWN;
    $('hex-back').disabled = at <= start;
    $('hex-more').disabled = at + bytes.length >= end;
    $('hex-range').textContent = part ? `${hex(at)} to ${hex(at + bytes.length)}${this.#isUnpacked ? ' of the unpacked block' : ''}` : '';
    this.#drawHex();
    $('hex').scrollTop = 0;
  }

  #page(direction) {
    this.#load(Math.min(this.#end - 1, Math.max(this.#start, this.#shown.at + direction * SHOWN)));
    this.#highlight();
  }

  /** Bytes in runs that belong to one field, so that there are as few elements as may be. */
  #drawHex() {
    const { bytes, at } = this.#shown;
    const length = lineLength();
    const leaves = this.#leaves();
    const touched = this.#isUnpacked ? [] : (this.#touched.get(this.#file) ?? []);
    const written = touched.filter(([from, len, isWritten]) => isWritten && from < at + bytes.length && from + len > at);
    let leaf = 0;
    const lines = [];
    for (let line = 0; line < bytes.length; line += length) {
      const row = element('div', { class: 'line' }, element('span', { class: 'at' }, hex(at + line, 6)));
      const text = element('span', { class: 'text' });
      let run = null;
      const end = Math.min(bytes.length, line + length);
      for (let n = line; n < end; n += 1) {
        const offset = at + n;
        while (leaf < leaves.length - 1 && offset >= leaves[leaf].end) leaf += 1;
        const { index, turn, bad } = leaves[leaf] ?? { index: -1, turn: 0, bad: false };
        const isWritten = written.some(([from, len]) => offset >= from && offset < from + len);
        const className = [turn % 2 ? 'other' : '', isWritten ? 'written' : '', bad ? 'bad' : ''].join(' ').trim();
        if (!run || run.index !== index || run.className !== className) {
          const attributes = { 'data-f': index, 'data-at': offset, class: className };
          run = { index, className, hex: element('span', attributes), text: element('span', attributes) };
          row.append(run.hex);
          text.append(run.text);
        }
        const byte = bytes[n];
        run.hex.append(`${hex(byte, 2)}${n + 1 < end ? (n % 8 === 7 ? '  ' : ' ') : ''}`);
        run.text.append(byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '·');
      }
      const missing = length - (end - line);
      row.append(' '.repeat(missing * 3 + (missing >= 8 ? 1 : 0)), text);
      lines.push(row);
    }
    $('hex').replaceChildren(...lines);
  }

  /** The innermost fields, in order, with the place of each among its kin. */
  #leaves() {
    const fields = this.#fields;
    const leaves = [];
    let turn = 0;
    fields.forEach(([offset, len, level, , , damage], index) => {
      if (level === 0) turn += 1;
      const isOuter = index + 1 < fields.length && fields[index + 1][2] > level;
      if (!isOuter && len > 0) leaves.push({ index, turn, end: offset + len, bad: damage !== null });
    });
    return leaves;
  }

  #innermost(offset) {
    let found = -1;
    this.#fields.forEach(([from, len], index) => {
      if (offset >= from && offset < from + len) found = index;
    });
    return found;
  }

  #chooseField(index) {
    const field = this.#fields[index];
    if (!field) return;
    this.#chosen = index;
    this.#fieldList.mark(index);
    const [offset, len, , name, value, damage] = field;
    this.#at = offset;
    const { bytes, at } = this.#shown;
    if (offset < at || offset >= at + Math.max(1, bytes.length)) {
      this.#load(Math.max(this.#start, this.#start + Math.floor((offset - this.#start) / SHOWN) * SHOWN));
    }
    this.#highlight(field);
    this.#say(`${hex(offset, 6)}, ${count(len, 'byte')}. ${name}: ${value}`, damage);
  }

  /** Shows bytes that are no field's alone. */
  #showRange(offset, len) {
    const part = this.#parts[this.#part];
    const within = this.#parts.filter((other) => other.offset < offset + len && other.offset + other.len > offset).length;
    this.#at = offset;
    this.#load(this.#start + Math.floor((offset - this.#start) / SHOWN) * SHOWN);
    this.#highlight([offset, len]);
    this.#say(`${hex(offset, 6)}, ${count(len, 'byte')}${within > 1 ? `: ${within} parts from the ${part.title} on` : ` of ${part.title}`}.`, part.damage);
  }

  #highlight(range = this.#range) {
    this.#range = range;
    let first = null;
    for (const run of $('hex').querySelectorAll('[data-f]')) {
      const of = this.#fields[Number(run.dataset.f)];
      const isIn = Boolean(range && of && of[0] >= range[0] && of[0] + of[1] <= range[0] + range[1] && range[1] > 0);
      run.classList.toggle('selected', isIn);
      if (isIn && !first) first = run;
    }
    if (!first) return;
    const [box, line] = [$('hex'), first.closest('.line')];
    if (line.offsetTop < box.scrollTop || line.offsetTop + line.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = Math.max(0, line.offsetTop - box.clientHeight / 3);
    }
  }

  #point(event) {
    const run = event.target.closest('[data-f]');
    if (run && Number(run.dataset.f) >= 0) this.#chooseField(Number(run.dataset.f));
  }

  /** Arrow keys go byte by byte and line by line; what is chosen is the field of the byte. */
  #key(event) {
    const { bytes, at } = this.#shown;
    const length = lineLength();
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: length, ArrowUp: -length }[event.key];
    if (by === undefined || bytes.length === 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const [start, end] = [this.#start, this.#end];
    if (this.#at < 0) this.#at = at - by;
    // Sideways a whole field is one step.
    const field = this.#fields[this.#chosen];
    if (by === 1 && field) this.#at = field[0] + Math.max(1, field[1]) - 1;
    const next = Math.min(end - 1, Math.max(start, this.#at + by));
    const index = this.#innermost(next);
    if (index < 0) return;
    this.#chooseField(index);
    if (Math.abs(by) === length) this.#at = next;
  }

  #drawPart(item, part) {
    const touched = (this.#touched.get(this.#file) ?? []).filter(([from, len]) => from < part.offset + part.len && from + len > part.offset);
    item.classList.toggle('bad', part.damage !== null);
    item.title = part.damage ? `${part.title}: ${part.damage}` : part.title;
    item.append(element('span', { class: 'offset' }, hex(part.offset, 6)), element('span', { class: 'title' }, `${part.damage ? '✕ ' : ''}${part.title}`));
    if (touched.some(([, , isWritten]) => isWritten)) item.append(element('span', { class: 'badge' }, 'written'));
    else if (touched.length > 0) item.append(element('span', { class: 'badge' }, 'read'));
  }

  #say(text, damage) {
    $('said').replaceChildren(text, ...(damage ? [element('span', { class: 'damage' }, ` Damaged: ${damage}.`)] : []));
  }
}

function drawField(item, [, , depth, name, value, damage]) {
  item.setAttribute('aria-level', depth + 1);
  item.style.paddingLeft = `${9 + depth * 14}px`;
  item.classList.toggle('bad', damage !== null);
  item.title = damage ? `${name}: ${value} (${damage})` : `${name}: ${value}`;
  item.append(element('span', { class: 'name' }, `${damage ? '✕ ' : ''}${name}`), element('span', { class: 'value' }, value));
}
