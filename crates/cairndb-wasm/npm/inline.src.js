// Inline: the package in one file, for pages without a bundler and for bundlers that leave `new URL` alone. Its worker is
// made of a blob: a content security policy has to allow `worker-src blob:`.

/* global WORKER, WASM -- what build.mjs puts in: the worker's source, and the engine's code in base 64 */
import * as cairn from './index.js';

export { CairnError, Database, destroy, list } from './index.js';

const code = () => Uint8Array.from(atob(WASM), (char) => char.charCodeAt(0)).buffer;

function worker() {
  const url = URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));
  return new Worker(url, { type: 'module', name: 'cairndb' });
}

const inline = (options) => ({ worker, wasm: code(), ...options });

export const open = (name, options = {}) => cairn.open(name, inline(options));

export const importDatabase = (name, stream, options = {}) => cairn.importDatabase(name, stream, inline(options));
