// Local: a connection to an engine in this very thread: where there are no workers, as in node.

import { Client } from './client.js';
import { wasmHere } from './code.js';
import { CairnError, toData, fromData } from './errors.js';
import { Host } from './host.js';

export class Local {
  #options;
  #client;
  #host;

  constructor(options) {
    this.#options = options;
    this.#client = new Client(options.durability);
  }

  get generation() {
    return this.#client.generation;
  }

  call(verb, args = [], signal = undefined) {
    return this.#client.call(verb, args, signal);
  }

  async open(signal) {
    signal?.throwIfAborted();
    const { memoryBudget, compression, wasm } = this.#options;
    const { default: init, Engine } = await import('./wasm/cairndb.js');
    await init({ module_or_path: wasm ?? (await wasmHere()) });
    try {
      const engine = await Engine.open(undefined, memoryBudget, compression === 'lz4');
      this.#host = new Host(engine, 'memory', (error) => this.#client.fail(new CairnError('WorkerCrashed', String(error?.message))));
    } catch (error) {
      throw fromData(toData(error, 'memory'));
    }
    this.#client.connect((message) => this.#host.take(this, message, (replies) => this.#client.take(replies)));
  }

  async close() {
    await this.#host?.close();
    this.#host = undefined;
    this.#client.fail(new CairnError('Closed', 'the database is closed'));
  }
}
