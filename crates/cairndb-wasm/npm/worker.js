// Worker: where the engine runs in a browser. One database each.
//
// From the page: { open } once, then { message, calls } and { close }. To it: { opened } or { failed }, { replies },
// { closed }, { trap }. Other tabs come over channels of their own, with the same messages; see guests.js.

import init, { Engine } from './wasm/cairndb.js';
import { toData } from './errors.js';
import { Guests } from './guests.js';
import { Host } from './host.js';
import { importTar } from './import.js';

let host;
let guests;

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
    if (storage === 'opfs') guests = new Guests(name, share ? host : undefined);
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
  await guests?.close();
  self.postMessage({ closed: true, failed });
}

function trapped(error) {
  self.postMessage({ trap: String(error?.message ?? error) });
}

/** Shorter ones are copied sooner than handed over. */
const HANDED_OVER_MIN = 16 << 10;

/** Long values go to the page without being copied once more. */
function buffersOf(replies) {
  const buffers = new Set();
  const add = (value) => value instanceof Uint8Array && value.length >= HANDED_OVER_MIN && buffers.add(value.buffer);
  for (const [, value] of replies) Array.isArray(value) ? value.forEach(add) : add(value);
  return [...buffers];
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
