// Client: calls over a port, as promises. The calls of one tick go in one message.

import { CairnError, fromData } from './errors.js';

export class Client {
  #durability;
  #post;
  #pending = new Map();
  #outbox = [];
  #lastId = 0;
  #lastMessage = 0;
  #failed;

  /** `durability` is what its writes wait for, whoever has the database open: 0 for nothing, 1 for the browser, 2 for the disk. */
  constructor(durability) {
    this.#durability = durability;
  }

  /** How many hosts there have been: what one keeps under a number, another does not know. */
  generation = 0;

  /** From now on `post` takes messages to a host; until then calls wait. */
  connect(post) {
    this.generation += 1;
    this.#post = post;
    this.#flush();
  }

  /** The host is gone, and another may come: reads wait for that one; of what else was under way nobody knows. */
  disconnect(answered) {
    this.#post = undefined;
    const again = [];
    for (const call of this.#pending.values()) {
      // A host that said goodbye had not seen the messages behind the last that it answered.
      if (isRepeatable(call) || (answered !== undefined && call.message > answered)) {
        again.push(call);
      } else {
        const unknown = 'the tab that held the database went away; whether this call was done is not known';
        call.reject(new CairnError('WorkerCrashed', unknown));
      }
    }
    this.#pending.clear();
    this.#outbox.unshift(...again);
  }

  /** Nothing will be answered any more. */
  fail(error) {
    this.#failed = error;
    for (const call of [...this.#pending.values(), ...this.#outbox]) call.reject(error);
    this.#pending.clear();
    this.#outbox = [];
  }

  /** Calls `verb`. The promise is rejected with the signal's reason if that aborts first; what was begun goes on. */
  call(verb, args, signal) {
    if (this.#failed) return Promise.reject(this.#failed);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const id = (this.#lastId += 1);
      const call = { id, verb, args, resolve, reject, message: 0 };
      if (signal) {
        const abort = () => {
          this.#outbox = this.#outbox.filter((other) => other !== call);
          reject(signal.reason);
        };
        signal.addEventListener('abort', abort, { once: true });
        const settled = () => signal.removeEventListener('abort', abort);
        call.resolve = (value) => (settled(), resolve(value));
        call.reject = (error) => (settled(), reject(error));
      }
      this.#outbox.push(call);
      if (this.#outbox.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  /** Takes the replies to a message. */
  take(replies) {
    for (const [id, value, error] of replies) {
      const call = this.#pending.get(id);
      this.#pending.delete(id);
      if (error) call?.reject(fromData(error));
      else call?.resolve(value);
    }
  }

  #flush() {
    if (!this.#post || this.#outbox.length === 0) return;
    const message = (this.#lastMessage += 1);
    const calls = this.#outbox.splice(0);
    for (const call of calls) {
      call.message = message;
      this.#pending.set(call.id, call);
    }
    this.#post({ message, durability: this.#durability, calls: calls.map(({ id, verb, args }) => [id, verb, ...args]) });
  }
}

/** Whether a call changes nothing and rests on nothing that a host keeps. */
function isRepeatable({ verb, args }) {
  return verb === 'get' || verb === 'getMany' ? args[0] === 0 : ['stats', 'recovery', 'verify'].includes(verb);
}
