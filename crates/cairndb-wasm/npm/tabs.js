// Tabs: one tab has the database open, in a worker of its own; the others talk to that worker.
//
// Who that is, a Web Lock decides: it goes to whoever asked first, and when that tab closes, crashes or is killed, to the
// next. A tab that waits for it meanwhile works through the one that has it. What two tabs say to each other goes over a
// channel that only these two know.

import { CairnError, fromData } from './errors.js';
import { Client } from './client.js';
import { channelOf, clientChannelOf, lockOf } from './names.js';

/** A promise, and what settles it. */
function deferred() {
  const settle = {};
  settle.promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
  return settle;
}

/** How often a tab that nobody has answered asks again, in milliseconds. */
const HELLO_MS = 250;

/** A connection to the engine, wherever it runs: what `Database` calls. */
export class Connection {
  #options;
  #client;
  #worker;
  #unlock;
  #closing;
  /** Aborts what waits for the lock. */
  #waiting = new AbortController();
  #main;
  #channel;
  #hello;
  #opened = deferred();
  #isGuest = false;
  /** It has the database itself, or has closed it. */
  #isAtHome = false;
  #alive = deferred();

  constructor(options) {
    this.#options = options;
    this.#client = new Client(options.durability);
    this.#opened.promise.catch(() => {});
  }

  get generation() {
    return this.#client.generation;
  }

  call(verb, args = [], signal = undefined) {
    return this.#client.call(verb, args, signal);
  }

  /** Opens the database here, or finds the tab that has it. */
  async open(signal) {
    signal?.throwIfAborted();
    const { storage, lock, name } = this.#options;
    if (storage === 'memory') {
      await this.#own();
      return;
    }
    if (lock === 'share') this.#look();
    const ifAvailable = lock === 'fail';
    const how = ifAvailable ? { ifAvailable } : { signal: this.#waiting.signal };
    const asked = navigator.locks.request(lockOf(name), how, (held) => {
      if (!held) throw new CairnError('Locked', 'the database is open in another tab or worker');
      return this.#hold();
    });
    asked.catch((error) => this.#opened.reject(error));
    const abort = () => this.#end(signal.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await this.#opened.promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async close() {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close() {
    const closed = new CairnError('Closed', 'the database is closed');
    let failed;
    if (this.#worker) {
      const done = deferred();
      this.#worker.onclosed = (data) => done.resolve(data.failed);
      this.#worker.postMessage({ close: true });
      failed = await done.promise;
    }
    this.#end(closed);
    if (failed) throw fromData(failed);
  }

  /** Has the lock until the database is closed here. */
  async #hold() {
    if (this.#waiting.signal.aborted) return;
    const until = deferred();
    this.#unlock = until.resolve;
    this.#leaveOwner(undefined);
    this.#stopLooking();
    try {
      await this.#own();
      this.#opened.resolve();
    } catch (error) {
      this.#opened.reject(error);
      this.#end(error);
    }
    await until.promise;
  }

  /** Runs the engine in a worker of this tab. */
  async #own() {
    const { name, storage, memoryBudget, compression, lock } = this.#options;
    const worker = this.#options.worker();
    const opened = deferred();
    worker.onmessage = ({ data }) => {
      if (data.replies) this.#client.take(data.replies);
      else if (data.opened) opened.resolve();
      else if (data.failed && !data.closed) opened.reject(fromData(data.failed));
      else if (data.closed) worker.onclosed?.(data);
      else if (data.trap) crashed(data.trap);
    };
    const crashed = (what) => {
      const error = new CairnError('WorkerCrashed', `the database's worker has ended: ${what}; open the database again`);
      opened.reject(error);
      worker.onclosed?.({});
      this.#end(error);
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      crashed(event.message ?? 'it could not be loaded');
    };
    worker.onmessageerror = () => crashed('a message could not be read');
    this.#worker = worker;
    const { wasm } = this.#options;
    const share = lock === 'share';
    worker.postMessage({ open: { name, storage, memoryBudget, compression, wasm, share } });
    await opened.promise;
    this.#client.connect((message) => worker.postMessage(message, buffersOf(message.calls)));
  }

  /** Looks for the tab that has the database. */
  #look() {
    const { name } = this.#options;
    const id = crypto.randomUUID();
    this.#main = new BroadcastChannel(channelOf(name));
    this.#channel = new BroadcastChannel(clientChannelOf(name, id));
    let isAlive = false;
    const hello = () => {
      if (isAlive && !this.#isGuest && !this.#isAtHome) this.#main.postMessage({ hello: id });
    };
    this.#main.onmessage = ({ data }) => {
      if (!data.owner) return;
      this.#leaveOwner(undefined);
      hello();
    };
    this.#channel.onmessage = ({ data }) => {
      if (data.replies) {
        this.#client.take(data.replies);
      } else if (data.welcome) {
        this.#isGuest = true;
        this.#client.connect((message) => this.#channel.postMessage(message));
        this.#opened.resolve();
      } else if (data.refused) {
        this.#end(new CairnError('Locked', 'the database is open in another tab, which does not share it'));
      } else if (data.goodbye) {
        this.#leaveOwner(data.answered);
        this.#channel.postMessage({ left: true });
      }
    };
    // The other side sees by this lock that this tab is gone, so it has to be held before the other side hears of it.
    const begin = () => {
      if (this.#isAtHome) return undefined;
      isAlive = true;
      this.#hello = setInterval(hello, HELLO_MS);
      hello();
      return this.#alive.promise;
    };
    navigator.locks.request(clientChannelOf(name, id), begin).catch((error) => this.#opened.reject(error));
  }

  /** The owner has said goodbye, with the last message that it answered; or there is another, and it is gone without. */
  #leaveOwner(answered) {
    if (!this.#isGuest) return;
    this.#isGuest = false;
    this.#client.disconnect(answered);
  }

  #stopLooking() {
    this.#isAtHome = true;
    clearInterval(this.#hello);
    this.#alive.resolve();
    this.#main?.close();
    this.#channel?.close();
  }

  #end(error) {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#stopLooking();
    this.#client.fail(error);
    this.#opened.reject(error);
    this.#waiting.abort(error);
    this.#unlock?.();
  }
}

/** What was encoded for a message goes with it, instead of being copied. */
function buffersOf(calls) {
  return calls.filter(([, verb]) => verb === 'write').map(([, , request]) => request.buffer);
}
