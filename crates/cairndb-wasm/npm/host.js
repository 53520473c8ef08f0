// Host: the engine's one caller. It takes calls from any number of ports, makes them in the order in which they came,
// and gives maintenance its turns in between.
//
// All writes that wait when their turn comes go to the log together and share one sync; nobody is answered before it.

import { CairnError, toData } from './errors.js';
import { Maintenance, isTrap, nextTask } from './maintenance.js';
import { join } from './wire.js';

/** So often a call that found no spare file is made again, and after the first few how long it waits, in milliseconds. */
const BUSY_TRIES = 200;
const BUSY_QUICK_TRIES = 5;
const BUSY_WAIT_MS = 10;

/** The engine's calls that a port may ask for by name. */
const VERBS = new Set([
  'get', 'snapshot', 'release', 'scan', 'scanNext', 'export', 'exportNext', 'checkpoint', 'stats', 'recovery', 'verify',
]);

/** Calls after which there is nothing new to maintain. */
const READS = new Set(['get', 'getMany', 'scan', 'scanNext', 'snapshot', 'stats', 'recovery']);

/** Those whose result stands for something that the engine keeps until it is released. */
const HOLDING = new Set(['snapshot', 'scan', 'export']);

export class Host {
  #engine;
  #storage;
  #waiting = [];
  /** The numbers of snapshots, scans and exports, by port. */
  #held = new Map();
  #running;
  #maintenance;
  #closed = false;
  #onTrap;

  /** `onTrap` is called once, if the engine breaks down: nothing can be asked of it any more. */
  constructor(engine, storage, onTrap) {
    this.#engine = engine;
    this.#storage = storage;
    this.#onTrap = onTrap;
    this.#maintenance = new Maintenance(engine, () => this.#running !== undefined, (error) => this.#trapped(error));
  }

  /**
   * Takes what came from one port, which is any object: calls, and what their writes wait
   * for. `answer` is called once with the replies to all calls of the message.
   */
  take(port, { calls, durability }, answer) {
    if (this.#closed) return;
    if (!this.#running && calls.length === 1 && calls[0][1] === 'get') {
      this.#answerGet(calls[0], answer);
      return;
    }
    this.#waiting.push({ port, calls, durability, answer });
    this.#running ??= this.#run();
  }

  /** One read alone, which is what applications wait for most: nothing that could be waited for comes before it. */
  #answerGet([id, , snapshot, key], answer) {
    try {
      answer([[id, this.#engine.get(snapshot, key)]]);
    } catch (error) {
      if (isTrap(error)) this.#trapped(error);
      else answer([[id, undefined, this.#told(error)]]);
    }
  }

  /** The port is gone: so is what it held. */
  leave(port) {
    if (!this.#closed) for (const number of this.#held.get(port) ?? []) this.#engine.release(number);
    this.#held.delete(port);
  }

  /** Answers what has come, and closes the database. */
  async close() {
    while (this.#running) await this.#running;
    this.#closed = true;
    await this.#maintenance.end();
    this.#engine.close();
  }

  async #run() {
    let leavesWork = false;
    try {
      while (this.#waiting.length > 0) {
        const writes = this.#waiting.some(({ calls }) => calls.some(([, verb]) => !READS.has(verb)));
        // Writes that have come behind these share their sync. Reads have nothing to wait for.
        if (writes) await nextTask();
        leavesWork ||= writes;
        await this.#answer(this.#waiting.splice(0));
      }
    } catch (error) {
      this.#trapped(error);
    }
    this.#running = undefined;
    if (leavesWork) this.#maintenance.start();
  }

  async #answer(messages) {
    const replies = messages.map(() => []);
    const writes = [];
    const write = async () => {
      if (writes.length > 0) await this.#write(writes.splice(0));
    };
    const written = [];
    let strongest = 0;
    for (const [index, { port, calls, durability }] of messages.entries()) {
      for (const [id, verb, ...args] of calls) {
        const reply = [id, undefined, undefined];
        replies[index].push(reply);
        if (verb === 'write') {
          writes.push({ request: args[0], reply });
          written.push(reply);
          strongest = Math.max(strongest, durability);
          continue;
        }
        await write();
        try {
          reply[1] = await this.#patiently(() => this.#call(verb, args));
          this.#note(port, verb, verb === 'release' ? args[0] : reply[1]);
        } catch (error) {
          reply[2] = this.#told(error);
        }
      }
    }
    await write();
    if (written.some((reply) => reply[2] === undefined)) this.#sync(written, strongest);
    for (const [index, { answer }] of messages.entries()) answer(replies[index]);
  }

  /** Writes what waits; where there is no spare file, what is left of it is tried again once there is one. */
  async #write(writes) {
    let left = writes;
    for (let tries = 0; left.length > 0; tries += 1) {
      const results = this.#engine.write(join(left.map(({ request }) => request)));
      const isBusy = results.at(-1)?.kind === 'Busy' && tries < BUSY_TRIES;
      const done = results.length - (isBusy ? 1 : 0);
      for (const [index, { reply }] of left.slice(0, done).entries()) {
        const result = results[index];
        if (result instanceof Error) reply[2] = this.#told(result);
        else reply[1] = result;
      }
      if (!isBusy && done < left.length) {
        for (const { reply } of left.slice(done)) reply[2] = this.#told(results.at(-1));
        return;
      }
      left = left.slice(done);
      if (isBusy) await this.#relieve(tries);
    }
  }

  #sync(written, durability) {
    try {
      this.#engine.sync(durability);
    } catch (error) {
      const told = this.#told(error);
      for (const reply of written) if (reply[2] === undefined) reply.splice(1, 2, undefined, told);
    }
  }

  /** Makes a call that may want files which have to be made ahead. */
  async #patiently(call) {
    for (let tries = 0; ; tries += 1) {
      try {
        return call();
      } catch (error) {
        if (error?.kind !== 'Busy' || tries >= BUSY_TRIES) throw error;
        await this.#relieve(tries);
      }
    }
  }

  #call(verb, args) {
    if (verb === 'getMany') {
      const [snapshot, keys] = args;
      return keys.map((key) => this.#engine.get(snapshot, key));
    }
    if (!VERBS.has(verb)) throw new CairnError('Invalid', `there is no call '${verb}'`);
    return this.#engine[verb](...args);
  }

  #note(port, verb, number) {
    if (HOLDING.has(verb)) this.#held.set(port, (this.#held.get(port) ?? new Set()).add(number));
    if (verb === 'release') this.#held.get(port)?.delete(number);
  }

  /** What a call waits for that could not be made just now. */
  async #relieve(tries) {
    if (tries >= BUSY_QUICK_TRIES) await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT_MS));
    await this.#maintenance.relieve();
  }

  #told(error) {
    if (isTrap(error)) throw error;
    return toData(error, this.#storage);
  }

  #trapped(error) {
    if (!isTrap(error)) error = new Error(`a bug in the host: ${error?.stack ?? error}`);
    this.#closed = true;
    this.#waiting = [];
    this.#maintenance?.stop();
    this.#onTrap(error);
  }
}
