// Host: the engine's one caller. It takes calls from any number of ports, makes them in the order in which they came,
// and gives maintenance its turns in between.
//
// All writes that wait when their turn comes go to the log together and share one sync; nobody is answered before it.

import { CairnError, toData } from './errors.js';
import { join } from './wire.js';

/** For so long maintenance keeps messages waiting, in milliseconds. */
const SLICE_MS = 4;

/** How long nothing must have come before the database looks whether it is idle, in milliseconds. */
const LOOK_MS = 1000;

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

const { port1: arrival, port2: departure } = new MessageChannel();
const arriving = [];
arrival.onmessage = () => {
  // In node an open port keeps the process alive: only while somebody waits.
  if (arriving.length === 1) arrival.unref?.();
  arriving.shift()();
};
arrival.unref?.();

/** Lets messages come in: a microtask does not. */
function nextTask() {
  return new Promise((resolve) => {
    arriving.push(resolve);
    arrival.ref?.();
    departure.postMessage(0);
  });
}

export class Host {
  #engine;
  #storage;
  #waiting = [];
  /** The numbers of snapshots, scans and exports, by port. */
  #held = new Map();
  #running;
  #maintaining;
  #toppingUp;
  #timer;
  #closed = false;
  #onTrap;

  /** `onTrap` is called once, if the engine breaks down: nothing can be asked of it any more. */
  constructor(engine, storage, onTrap) {
    this.#engine = engine;
    this.#storage = storage;
    this.#onTrap = onTrap;
    this.#startMaintenance();
  }

  /**
   * Takes what came from one port, which is any object: calls, and what their writes wait
   * for. `answer` is called once with the replies to all calls of the message.
   */
  take(port, { calls, durability }, answer) {
    if (this.#closed) return;
    this.#waiting.push({ port, calls, durability, answer });
    this.#running ??= this.#run();
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
    clearTimeout(this.#timer);
    await this.#maintaining;
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
    if (leavesWork) this.#startMaintenance();
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
    await this.#topUp();
    try {
      this.#engine.maintain(false);
    } catch (error) {
      if (isTrap(error)) throw error;
      // Whoever is kept waiting by it is told when the call is made again.
    }
  }

  /** Makes files ahead: one at a time, and whoever else wants some waits for that. Where it fails, they are told `Busy`. */
  #topUp() {
    this.#toppingUp ??= (async () => {
      try {
        await this.#engine.topUp();
      } catch (error) {
        if (isTrap(error)) throw error;
      } finally {
        this.#toppingUp = undefined;
      }
    })();
    return this.#toppingUp;
  }

  #startMaintenance() {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#maintaining ??= this.#maintain(false).finally(() => (this.#maintaining = undefined));
  }

  async #maintain(isIdle) {
    try {
      let more = true;
      while (more && !this.#closed) {
        if (this.#engine.wantsTopUp()) await this.#topUp();
        if (this.#closed) return;
        const until = performance.now() + SLICE_MS;
        do more = this.#step(isIdle);
        while (more && performance.now() < until);
        // A step that found no spare file can be made once there is one.
        if (!more && this.#engine.wantsTopUp()) {
          await this.#topUp();
          more = !this.#closed && !this.#engine.wantsTopUp();
        }
        if (more) await nextTask();
      }
    } catch (error) {
      this.#trapped(error);
      return;
    }
    if (!isIdle && !this.#closed) this.#lookLater(2);
  }

  /** Twice nothing to do and nothing written in between: the database is idle. */
  #lookLater(looks) {
    clearTimeout(this.#timer);
    if (looks === 0 || this.#closed) return;
    this.#timer = setTimeout(async () => {
      if (this.#maintaining) return;
      this.#maintaining = this.#maintain(true).finally(() => (this.#maintaining = undefined));
      await this.#maintaining;
      if (!this.#running) this.#lookLater(looks - 1);
    }, LOOK_MS);
    this.#timer.unref?.();
  }

  /** Whether another step waits. One that fails is tried again after the next call; writers and `stats` tell why. */
  #step(isIdle) {
    try {
      return this.#engine.maintain(isIdle);
    } catch (error) {
      if (isTrap(error)) throw error;
      return false;
    }
  }

  #told(error) {
    if (isTrap(error)) throw error;
    return toData(error, this.#storage);
  }

  #trapped(error) {
    if (!isTrap(error)) error = new Error(`a bug in the host: ${error?.stack ?? error}`);
    this.#closed = true;
    this.#waiting = [];
    clearTimeout(this.#timer);
    this.#onTrap(error);
  }
}

/** After a trap, and after what a trap left behind, the instance is of no use. */
function isTrap(error) {
  return error instanceof WebAssembly.RuntimeError || !(error instanceof Error) || error.kind === undefined;
}
