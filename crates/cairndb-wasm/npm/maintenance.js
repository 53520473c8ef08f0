// Maintenance: the work that writes leave behind, in slices between calls, and the files that are made ahead.

/** For so long maintenance keeps messages waiting, in milliseconds. */
const SLICE_MS = 4;

/** How long nothing must have come before the database looks whether it is idle, in milliseconds. */
const LOOK_MS = 1000;

const { port1: arrival, port2: departure } = new MessageChannel();
const arriving = [];
arrival.onmessage = () => {
  // In node an open port keeps the process alive: only while somebody waits.
  if (arriving.length === 1) arrival.unref?.();
  arriving.shift()();
};
arrival.unref?.();

/** Lets messages come in: a microtask does not. */
export function nextTask() {
  return new Promise((resolve) => {
    arriving.push(resolve);
    arrival.ref?.();
    departure.postMessage(0);
  });
}

export class Maintenance {
  #engine;
  #running;
  /** Something was written since it began. */
  #isWanted = false;
  #toppingUp;
  #timer;
  #closed = false;
  #isBusy;
  #onTrap;

  /** `isBusy` tells whether calls are being made; `onTrap` is told what the engine broke down with. */
  constructor(engine, isBusy, onTrap) {
    this.#engine = engine;
    this.#isBusy = isBusy;
    this.#onTrap = onTrap;
    this.start();
  }

  /** Something was written. */
  start() {
    clearTimeout(this.#timer);
    this.#isWanted = true;
    this.#begin(false);
  }

  #begin(isIdle) {
    if (this.#closed || this.#running) return;
    this.#isWanted = false;
    this.#running = this.#run(isIdle).finally(() => {
      this.#running = undefined;
      // What was written when the last step had been made, and nobody had noticed yet.
      if (this.#isWanted) this.#begin(false);
    });
  }

  /** Is done when nothing is left to do. */
  async rest() {
    this.start();
    while (this.#running) await this.#running;
  }

  /** Nothing more is begun; is done when nothing is under way. */
  async end() {
    this.stop();
    await this.#running;
    await this.#toppingUp;
  }

  /** The same, at once: what is under way finds the engine closed, or of no use. */
  stop() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** What a call waits for that could not be made just now. */
  async relieve() {
    await this.#topUp();
    try {
      this.#engine.maintain(false);
    } catch (error) {
      if (isTrap(error)) throw error;
      // Whoever is kept waiting by it is told when the call is made again.
    }
  }

  /**
   * Makes files ahead: one at a time, and whoever else wants some waits for that. Whether all are there; where they are not,
   * calls are told `Busy`.
   */
  #topUp() {
    this.#toppingUp ??= (async () => {
      try {
        await this.#engine.topUp();
        return true;
      } catch (error) {
        if (isTrap(error)) throw error;
        return false;
      } finally {
        this.#toppingUp = undefined;
      }
    })();
    return this.#toppingUp;
  }

  async #run(isIdle) {
    try {
      let more = true;
      while (more && !this.#closed) {
        if (this.#engine.wantsTopUp()) await this.#topUp();
        if (this.#closed) return;
        const until = performance.now() + SLICE_MS;
        let stepped;
        do stepped = this.#step(isIdle);
        while (stepped === 'made' && performance.now() < until);
        // A step that found no spare file can be made once there is one.
        more = stepped === 'made' || (stepped === 'busy' && (await this.#topUp()));
        if (more) await nextTask();
      }
    } catch (error) {
      if (this.#closed) return;
      this.stop();
      this.#onTrap(error);
      return;
    }
    if (!isIdle && !this.#closed) this.#lookLater(2);
  }

  /** Twice nothing to do and nothing written in between: the database is idle. */
  #lookLater(looks) {
    clearTimeout(this.#timer);
    if (looks === 0 || this.#closed) return;
    this.#timer = setTimeout(async () => {
      if (this.#running) return;
      this.#begin(true);
      await this.#running;
      if (!this.#isBusy()) this.#lookLater(looks - 1);
    }, LOOK_MS);
    this.#timer.unref?.();
  }

  /** How a step went: another one waits, or a file is missing. One that fails is tried again after the next call; `stats` tells why. */
  #step(isIdle) {
    try {
      return this.#engine.maintain(isIdle) ? 'made' : 'none';
    } catch (error) {
      if (isTrap(error)) throw error;
      return error.kind === 'Busy' ? 'busy' : 'failed';
    }
  }
}

/** After a trap, and after what a trap left behind, the instance is of no use. */
export function isTrap(error) {
  return error instanceof WebAssembly.RuntimeError || !(error instanceof Error) || error.kind === undefined;
}
