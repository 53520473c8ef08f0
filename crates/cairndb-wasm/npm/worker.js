// Worker: where the engine runs in a browser. One database each.
//
// From the page: { open } once, then { message, calls } and { close }. To it: { opened } or { failed }, { replies },
// { closed }, { trap }. Other tabs come over channels of their own, with the same messages; see tabs.js.

import init, { Engine } from './wasm/cairndb.js';
import { toData } from './errors.js';
import { Host } from './host.js';
import { channelOf, clientChannelOf } from './names.js';
import { importTar } from './import.js';

/** For so long a closing owner waits for tabs to have heard it, in milliseconds. */
const GOODBYE_MS = 1000;

let host;
let tabs;

self.onmessage = async ({ data }) => {
  if (data.open) await open(data.open);
  else if (data.importing) await importing(data);
  else if (data.calls) host?.take(self, data, (replies) => self.postMessage({ replies }, buffersOf(replies)));
  else if (data.close) await close();
};

async function open({ name, storage, memoryBudget, compression, wasm, share }) {
  try {
    await init(wasm === undefined ? undefined : { module_or_path: wasm });
    const engine = await Engine.open(storage === 'memory' ? undefined : name, memoryBudget, compression === 'lz4');
    host = new Host(engine, storage, trapped);
    if (storage === 'opfs') tabs = new Tabs(name, share);
    self.postMessage({ opened: true });
  } catch (error) {
    self.postMessage({ failed: toData(error, storage) });
  }
}

async function close() {
  let failed;
  try {
    await host?.close();
  } catch (error) {
    failed = toData(error);
  }
  await tabs?.close();
  self.postMessage({ closed: true, failed });
}

function trapped(error) {
  self.postMessage({ trap: String(error?.message ?? error) });
}

/** Values go to the page without being copied once more. */
function buffersOf(replies) {
  const buffers = new Set();
  const add = (value) => value instanceof Uint8Array && buffers.add(value.buffer);
  for (const [, value] of replies) Array.isArray(value) ? value.forEach(add) : add(value);
  return [...buffers];
}

/** The other tabs that use the database through this worker. */
class Tabs {
  #name;
  #share;
  #main;
  #clients = new Map();

  constructor(name, share) {
    this.#name = name;
    this.#share = share;
    this.#main = new BroadcastChannel(channelOf(name));
    this.#main.onmessage = ({ data }) => data.hello && this.#welcome(data.hello);
    // Whoever waits says hello again.
    this.#main.postMessage({ owner: true });
  }

  /** Tells every tab how far it was answered, before another can have the lock: what is behind that, it sends there. */
  async close() {
    this.#main.close();
    const left = [...this.#clients.values()].map((client) => {
      client.channel.postMessage({ goodbye: true, answered: client.answered });
      return new Promise((resolve) => (client.left = resolve));
    });
    await Promise.race([Promise.all(left), new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
    for (const { channel } of this.#clients.values()) channel.close();
  }

  #welcome(id) {
    if (this.#clients.has(id)) return;
    const channel = new BroadcastChannel(clientChannelOf(this.#name, id));
    if (!this.#share) {
      channel.postMessage({ refused: true });
      channel.close();
      return;
    }
    const client = { channel, answered: 0 };
    this.#clients.set(id, client);
    channel.onmessage = ({ data }) => {
      if (data.calls) {
        host.take(client, data, (replies) => {
          client.answered = data.message;
          channel.postMessage({ replies });
        });
      } else if (data.left) {
        client.left?.();
      }
    };
    // The tab has this lock for as long as it lives.
    navigator.locks.request(clientChannelOf(this.#name, id), () => {
      this.#clients.delete(id);
      channel.close();
      client.left?.();
      host.leave(client);
    });
    channel.postMessage({ welcome: true });
  }
}

/** Takes an exported database in, piece by piece; the pieces come as { importing: name }, { piece } and { end }. */
async function importing({ importing: name, wasm }) {
  const pieces = new ReadableStream({
    start(controller) {
      self.onmessage = ({ data }) => {
        if (data.end) controller.close();
        else controller.enqueue(data.piece);
      };
    },
  });
  self.postMessage({ ready: true });
  try {
    await importTar(name, pieces, () => self.postMessage({ taken: true }));
    await init(wasm === undefined ? undefined : { module_or_path: wasm });
    const engine = await Engine.open(name, 8 << 20, false);
    engine.close();
    self.postMessage({ imported: true });
  } catch (error) {
    self.postMessage({ failed: toData(error, 'opfs') });
  }
}
