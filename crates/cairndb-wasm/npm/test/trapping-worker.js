// The package's worker, whose engine breaks down at the key 'trap' by a trap of WebAssembly's.
import { Engine } from '../wasm/cairndb.js';

// (module (func (export "f") unreachable))
const code = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11);
const { f } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
const get = Engine.prototype.get;
Engine.prototype.get = function (snapshot, key) {
  if (new TextDecoder().decode(key) === 'trap') f();
  return get.call(this, snapshot, key);
};

// Messages that come before the package's worker listens are kept for it.
const early = [];
self.onmessage = (event) => early.push(event);
await import('../worker.js');
for (const event of early) self.onmessage(event);
