// Tools: finding a key, making steps, cutting the power.

import { bytesOf, count, element, size } from './text.js';

const $ = (id) => document.getElementById(id);

/** So many calls of a step are listed at first. */
const CALLS = 40;

/** So many things are listed of those that were not synced; the others go as all of them go. */
const LISTED = 120;

/** So many states are tried before the page may draw. */
const SWEPT_AT_ONCE = 16;

const LETTERS = { kept: 'k', lost: 'l', zeros: 'z', torn: 't', garbage: 'g' };

export class Tools {
  #app;
  #steps = [];
  #things = [];
  /** What becomes of each of them, by name. */
  #fates = [];
  #run = 0;

  /** `app` has the session, and shows bytes, draws anew and catches what fails. */
  constructor(app) {
    this.#app = app;
    $('find-form').addEventListener('submit', (event) => {
      event.preventDefault();
      app.attempt($('find-told'), () => this.#find());
    });
    $('step-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#make(event.submitter?.dataset.verb ?? 'put');
    });
    for (const button of $('step-form').querySelectorAll('button[type="button"][data-verb]')) {
      button.addEventListener('click', () => this.#make(button.dataset.verb));
    }
    $('lies').addEventListener('change', () => app.session.lie($('lies').checked));
    $('crash-step').addEventListener('change', () => this.#moments());
    $('crash-moment').addEventListener('change', () => this.#unsynced());
    $('presets').addEventListener('click', ({ target }) => target.dataset.preset && this.#preset(target.dataset.preset));
    $('unsynced').addEventListener('change', ({ target }) => {
      this.#fates[Number(target.dataset.index)] = target.value;
      target.dataset.fate = target.value;
    });
    $('crash-form').addEventListener('submit', (event) => {
      event.preventDefault();
      app.attempt($('crash-told'), () => this.#cut());
    });
    $('sweep').addEventListener('click', () => app.attempt($('crash-told'), () => this.#sweep()));
    $('adopt').addEventListener('click', () => app.attempt($('crash-told'), () => this.#adopt()));
    tabs();
  }

  /** There is another database, or the same one as it was at first. */
  restart() {
    this.#run += 1;
    this.#steps = [];
    this.#things = [];
    $('lies').checked = false;
    for (const id of ['sights', 'steps', 'outcomes', 'unsynced']) $(id).replaceChildren();
    for (const id of ['find-told', 'step-told', 'crash-told']) tell($(id), '');
    this.#fillSteps();
  }

  // ---- Find.

  #find() {
    const found = JSON.parse(this.#app.session.search(keyspaceOf('find'), bytesOf($('find-key').value)));
    $('find-hint').hidden = true;
    const entry = found.sights.find((sight) => !sight.is_beyond && sight.question === 'entry' && sight.answer === found.answer);
    tell($('find-told'), found.answer ? `A read finds: ${found.answer}` : `${found.key} is nowhere.`);
    $('sights').replaceChildren(...found.sights.map((sight) => {
      const where = `${sight.file}${sight.level === null ? ', log' : `, level ${sight.level}`}`;
      const classes = ['look', sight.is_beyond ? 'beyond' : '', sight.is_damage ? 'bad' : '', sight === entry ? 'hit' : ''].join(' ');
      const note = sight.is_beyond ? '; no read comes here: it has its answer' : sight.is_damage ? '; damaged' : '';
      return element('li', {}, element(
        'button',
        { type: 'button', class: classes, onclick: () => this.#app.show(sight.file, sight.offset, sight.len, sight.packed_in) },
        element('small', {}, `${where}: ${sight.question}${note}`),
        element('span', {}, sight.answer),
      ));
    }));
    if (entry) this.#app.show(entry.file, entry.offset, entry.len, entry.packed_in);
  }

  // ---- Step.

  #make(verb) {
    this.#app.attempt($('step-told'), async () => {
      const [key, value] = [bytesOf($('step-key').value), bytesOf($('step-value').value)];
      tell($('step-told'), 'working …');
      await drawn();
      const made = JSON.parse(this.#app.session.step(verb, keyspaceOf('step'), key, value, Number($('step-durability').value)));
      this.#steps.push(...made);
      const last = made.at(-1);
      tell($('step-told'), last ? `${last.title}: ${last.answer}` : 'It is not open.', last?.failed);
      if (made.length === 0) return;
      this.#app.redraw(touchedBy(made));
      this.#drawSteps();
      this.#fillSteps();
      const written = last.calls.filter(({ operation, file }) => operation === 'append' && this.#app.has(file));
      const read = last.calls.filter(({ operation, file }) => operation === 'read' && this.#app.has(file));
      // Of a flush the table is what people want to see; the log and the manifest are beside it in the list.
      const call = written.find(({ file }) => file.endsWith('.sst')) ?? written.at(-1) ?? read.at(-1);
      if (call) this.#app.show(call.file, call.offset, call.len);
    });
  }

  #drawSteps() {
    $('steps').scrollTop = 0;
    $('steps').replaceChildren(...[...this.#steps].reverse().map((step, index) => {
      const wrote = step.calls.filter(({ operation }) => operation === 'append').reduce((sum, { len }) => sum + len, 0);
      const read = step.calls.filter(({ operation }) => operation === 'read').reduce((sum, { len }) => sum + len, 0);
      const summary = element('summary', {}, element('b', {}, `${step.index + 1}. ${step.title}`), ` ${size(wrote)} written, ${size(read)} read`);
      const answer = element('p', { class: step.failed ? 'answer wrong' : 'answer' }, step.answer);
      const looks = step.looks.length > 0 ? element('ul', { class: 'looks' }, ...step.looks.map((look) => element('li', {}, look))) : null;
      return element('li', {}, element('details', { open: index === 0 }, summary, answer, looks, this.#calls(step)));
    }));
  }

  #calls(step) {
    const list = element('ol', { 'aria-label': 'Calls on the storage' });
    const calls = joined(step.calls);
    const draw = (call) => element('li', {}, this.#call(call));
    list.append(...calls.slice(0, CALLS).map(draw));
    if (calls.length > CALLS) {
      const more = element('button', { type: 'button', class: 'call' }, `${count(calls.length - CALLS)} more calls`);
      more.addEventListener('click', () => more.parentElement.replaceWith(...calls.slice(CALLS).map(draw)));
      list.append(element('li', {}, more));
    }
    if (step.dropped > 0) list.append(element('li', { class: 'call' }, `and ${count(step.dropped, 'call')} that were not kept`));
    return list;
  }

  #call({ operation, file, offset, len, site, times }) {
    const stretch = len > 0 ? ` ${count(len, 'byte')} at ${offset}` : '';
    const parts = [element('i', {}, operation), element('span', {}, `${file ?? 'the names of the files'}${stretch}${times > 1 ? `, ${times} times` : ''}`), element('small', {}, site)];
    const className = `call ${operation.replace(' ', '-')}`;
    if (!file || !this.#app.has(file)) return element('div', { class: className }, ...parts);
    return element('button', { type: 'button', class: className, onclick: () => this.#app.show(file, offset, len) }, ...parts);
  }

  // ---- Crash.

  #fillSteps() {
    const steps = this.#steps.filter(({ index }) => index >= this.#steps.length - 6 && this.#steps[index].moments.length > 0);
    $('crash-none').hidden = steps.length > 0;
    $('crash-form').hidden = steps.length === 0;
    $('crash-step').replaceChildren(...steps.map(({ index, title }) => element('option', { value: index }, `${index + 1}. ${title}`)));
    if (steps.length === 0) return;
    $('crash-step').value = String(steps.at(-1).index);
    this.#moments();
  }

  get #step() {
    return Number($('crash-step').value);
  }

  get #moment() {
    return Number($('crash-moment').value);
  }

  #moments() {
    const { moments } = this.#steps[this.#step];
    $('crash-moment').replaceChildren(...moments.map(({ title, unsynced }, index) =>
      element('option', { value: index }, unsynced > 0 ? `${title} (${unsynced} not synced)` : title)));
    // The most that is ever at stake, and of several such moments the last.
    const most = Math.max(...moments.map(({ unsynced }) => unsynced));
    $('crash-moment').value = String(moments.findLastIndex(({ unsynced }) => unsynced === most));
    this.#unsynced();
  }

  #unsynced() {
    this.#run += 1;
    this.#things = JSON.parse(this.#app.session.unsynced(this.#step, this.#moment));
    tell($('crash-told'), '');
    $('outcomes').replaceChildren();
    $('crash-legend').textContent = this.#things.length > 0 ? `What was not synced, and what becomes of it` : 'Everything was synced: nothing can be lost.';
    $('presets').hidden = this.#things.length === 0;
    $('unsynced').replaceChildren(...this.#things.slice(0, LISTED).map((thing, index) => {
      const select = element('select', { id: `fate-${index}`, 'data-index': index }, ...thing.fates.map((fate) => element('option', {}, fate)));
      return element('li', {}, element('label', { for: `fate-${index}` }, `${thing.file} ${thing.text}`), select);
    }));
    const more = this.#things.length - LISTED;
    if (more > 0) $('unsynced').append(element('li', {}, `and ${count(more)} more, for which the buttons above stand`));
    const { states, is_all: isAll } = JSON.parse(this.#app.session.plan(this.#step, this.#moment));
    $('sweep').textContent = isAll ? `Try every state (${states})` : `Try ${states} states`;
    this.#preset('lost');
  }

  #preset(fate) {
    this.#set(this.#things.map(() => fate));
  }

  /** Sets what becomes of each; what cannot become of a thing is a loss to it. */
  #set(fates) {
    this.#fates = this.#things.map((thing, index) => (thing.fates.includes(fates[index]) ? fates[index] : 'lost'));
    $('unsynced').querySelectorAll('select').forEach((select, index) => {
      select.value = this.#fates[index];
      select.dataset.fate = select.value;
    });
  }

  get #letters() {
    return this.#fates.map((fate) => LETTERS[fate]).join('');
  }

  #cut() {
    const outcome = JSON.parse(this.#app.session.crash(this.#step, this.#moment, this.#letters));
    tell($('crash-told'), outcome.verdict === 'kept' ? 'Every promise is kept.' : 'A promise is broken.', outcome.verdict === 'broken');
    $('outcomes').replaceChildren(drawOutcome(outcome, ''));
  }

  async #sweep() {
    const run = (this.#run += 1);
    const { states } = JSON.parse(this.#app.session.plan(this.#step, this.#moment));
    const found = new Map();
    let broken = 0;
    for (let first = 0; first < states; first += SWEPT_AT_ONCE) {
      const swept = JSON.parse(this.#app.session.sweep(this.#step, this.#moment, first, Math.min(SWEPT_AT_ONCE, states - first)));
      for (const outcome of swept) {
        const name = `${outcome.verdict} ${outcome.text.replace(/ \(.*$/, '')}`;
        const seen = found.get(name) ?? { outcome, times: 0 };
        seen.times += 1;
        found.set(name, seen);
        if (outcome.verdict === 'broken') broken += 1;
      }
      const done = Math.min(states, first + SWEPT_AT_ONCE);
      tell($('crash-told'), done < states ? `${done} of ${states} states …` : `${count(states, 'state')}: ${states - broken} keep every promise, ${broken} break one.`, broken > 0);
      await drawn();
      if (run !== this.#run) return;
    }
    const kinds = [...found.values()].sort((a, b) => a.outcome.verdict.localeCompare(b.outcome.verdict) || b.times - a.times);
    $('outcomes').replaceChildren(...kinds.map(({ outcome, times }) => drawOutcome(outcome, `${times} × `, () => {
      const names = Object.fromEntries(Object.entries(LETTERS).map(([name, letter]) => [letter, name]));
      this.#set([...outcome.fates].map((letter) => names[letter]));
      tell($('crash-told'), 'One such state is set above.');
    })));
  }

  #adopt() {
    this.#app.session.adopt(this.#step, this.#moment, this.#letters);
    this.restart();
    this.#app.redraw(new Map());
    tell($('crash-told'), 'This is the disk as the crash left it. Step: open, to see what recovery does.');
  }
}

function drawOutcome({ verdict, text }, times, onShow) {
  return element(
    'li',
    { class: verdict },
    element('b', { class: 'verdict' }, verdict),
    element('span', {}, `${times}${text}`),
    onShow ? element('button', { type: 'button', class: 'small', onclick: onShow }, 'Show') : null,
  );
}

/** What steps have done to each file: [offset, length, was it written]. */
function touchedBy(steps) {
  const touched = new Map();
  for (const { operation, file, offset, len } of steps.flatMap(({ calls }) => calls)) {
    if (len === 0 || !file || !['append', 'read'].includes(operation)) continue;
    if (!touched.has(file)) touched.set(file, []);
    touched.get(file).push([offset, len, operation === 'append']);
  }
  return touched;
}

/** Calls that follow one another and do the same to the same bytes' neighbours are told as one. */
function joined(calls) {
  const all = [];
  for (const call of calls) {
    const last = all.at(-1);
    const goesOn = last && last.operation === call.operation && last.file === call.file && last.site === call.site;
    if (goesOn && call.operation === 'read' && call.offset === last.offset + last.len) {
      last.len += call.len;
      last.times += 1;
    } else {
      all.push({ ...call, times: 1 });
    }
  }
  return all;
}

function keyspaceOf(form) {
  const keyspace = Number($(`${form}-keyspace`).value);
  const most = form === 'find' ? 255 : 254;
  if (!Number.isInteger(keyspace) || keyspace < 0 || keyspace > most) throw new Error(`a keyspace is a number from 0 to ${most}`);
  return keyspace;
}

export function tell(place, text, isWrong = false) {
  place.textContent = text;
  place.classList.toggle('wrong', Boolean(isWrong));
}

/** Lets the page draw. */
function drawn() {
  return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
}

/** Tabs, as the pattern for them asks: arrows choose, Tab goes into the panel. */
function tabs() {
  const all = [...$('tabs').querySelectorAll('[role="tab"]')];
  const choose = (chosen) => {
    for (const tab of all) {
      const isChosen = tab === chosen;
      tab.setAttribute('aria-selected', String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      $(tab.getAttribute('aria-controls')).hidden = !isChosen;
    }
  };
  for (const [index, tab] of all.entries()) {
    tab.addEventListener('click', () => choose(tab));
    tab.addEventListener('keydown', (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = all[to % all.length];
      choose(next);
      next.focus();
    });
  }
}
