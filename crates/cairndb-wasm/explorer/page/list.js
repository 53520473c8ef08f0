// List: a long list of which only what is seen is there, gone through with the keyboard or the pointer.

import { element } from './text.js';

const ROW = 24;

/** Rows above and below what is seen. */
const AHEAD = 12;

export class List {
  #box;
  #canvas = element('div', { role: 'presentation' });
  #items = [];
  #draw = () => '';
  #chosen = -1;
  #role;
  #onChoose;

  /** `draw` fills an item's element; `onChoose` is told the index of an item that somebody has chosen. */
  constructor(box, { draw, onChoose }) {
    this.#box = box;
    this.#draw = draw;
    this.#onChoose = onChoose;
    this.#role = box.getAttribute('role') === 'tree' ? 'treeitem' : 'option';
    box.append(this.#canvas);
    box.addEventListener('scroll', () => this.#render());
    box.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('mousedown', (event) => {
      const item = event.target.closest('.item');
      if (item) this.#choose(Number(item.dataset.index));
    });
    new ResizeObserver(() => this.#render()).observe(box);
  }

  get chosen() {
    return this.#chosen;
  }

  set items(items) {
    this.#items = items;
    this.#chosen = -1;
    this.#canvas.style.height = `${items.length * ROW}px`;
    this.#box.scrollTop = 0;
    this.#render();
  }

  /** Marks an item as the chosen one, and brings it into sight, without telling anybody. */
  mark(index) {
    this.#chosen = index;
    const top = index * ROW;
    const { scrollTop, clientHeight } = this.#box;
    if (index >= 0 && (top < scrollTop || top + ROW > scrollTop + clientHeight)) {
      this.#box.scrollTop = Math.max(0, top - Math.max(0, clientHeight - ROW) / 2);
    }
    this.#render();
  }

  /** Draws everything anew. */
  redraw() {
    this.#render();
  }

  #choose(index) {
    if (index < 0 || index >= this.#items.length) return;
    this.mark(index);
    this.#onChoose(index);
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#box.clientHeight / ROW) - 1);
    const last = this.#items.length - 1;
    const to = {
      ArrowDown: this.#chosen + 1, ArrowUp: this.#chosen - 1, PageDown: this.#chosen + page, PageUp: this.#chosen - page,
      Home: 0, End: last,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#choose(Math.min(last, Math.max(0, to)));
  }

  #render() {
    const { scrollTop, clientHeight } = this.#box;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - AHEAD);
    const end = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / ROW) + AHEAD);
    const indexes = new Set(Array.from({ length: Math.max(0, end - first) }, (_, n) => first + n));
    // The chosen one has to be there for whoever cannot see the list.
    if (this.#chosen >= 0) indexes.add(this.#chosen);
    this.#canvas.replaceChildren(...[...indexes].sort((a, b) => a - b).map((index) => {
      const item = element('div', {
        class: 'item', role: this.#role, id: `${this.#box.id}-${index}`, 'data-index': index, 'aria-selected': String(index === this.#chosen),
        'aria-setsize': this.#items.length, 'aria-posinset': index + 1,
      });
      item.style.top = `${index * ROW}px`;
      this.#draw(item, this.#items[index], index);
      return item;
    }));
    if (this.#chosen >= 0) this.#box.setAttribute('aria-activedescendant', `${this.#box.id}-${this.#chosen}`);
    else this.#box.removeAttribute('aria-activedescendant');
  }
}
