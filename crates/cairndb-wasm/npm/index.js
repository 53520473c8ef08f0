// Index: what the package gives an application.

import { Local } from './local.js';
import { Connection } from './tabs.js';
import { Database } from './database.js';
import { CairnError, fromData } from './errors.js';
import { DIRECTORY, lockOf } from './names.js';
import { checkName, oneOf, optionsOf, requireOpfs } from './options.js';

export { CairnError, Database };

/** Opens the database `name`, and makes one if there is none. The options are listed in index.d.ts. */
export async function open(name, options = {}) {
  const { lock = 'share', worker = defaultWorker, signal, wasm } = options;
  const { encodings, ...engine } = optionsOf(name, options);
  oneOf(lock, ['share', 'fail', 'wait'], 'lock');
  const hasWorkers = typeof Worker === 'function';
  const connection = hasWorkers ? new Connection({ ...engine, lock, worker, wasm }) : new Local({ ...engine, wasm });
  await connection.open(signal);
  return new Database(connection, encodings);
}

/** The names of this origin's databases, in order. */
export async function list() {
  requireOpfs();
  const databases = await directoryOfDatabases();
  const names = [];
  for await (const [name, entry] of databases.entries()) if (entry.kind === 'directory') names.push(name);
  return names.sort();
}

/** Removes a database, with everything in it; one that is not there too. */
export async function destroy(name) {
  requireOpfs();
  checkName(name);
  const databases = await directoryOfDatabases();
  await alone(name, async () => {
    try {
      await databases.removeEntry(name, { recursive: true });
    } catch (error) {
      if (error?.name === 'NoModificationAllowedError') throw locked();
      if (error?.name !== 'NotFoundError') throw new CairnError('Io', `removing '${name}': ${error.message}`);
    }
  });
}

/** Makes the database `name` of a stream that `export` has made, or of a tar file of a backup. */
export async function importDatabase(name, stream, { signal, worker = defaultWorker, wasm } = {}) {
  requireOpfs();
  checkName(name);
  signal?.throwIfAborted();
  await alone(name, async () => {
    const importer = worker();
    const reader = stream.getReader();
    try {
      await new Promise((resolve, reject) => {
        const fail = (error) => {
          reader.cancel(error).catch(() => {});
          reject(error);
        };
        const send = async () => {
          const { done, value } = await reader.read();
          importer.postMessage(done ? { end: true } : { piece: value });
        };
        importer.onmessage = ({ data }) => {
          if (data.imported) resolve();
          else if (data.failed) fail(fromData(data.failed));
          else send().catch(fail);
        };
        importer.onerror = (event) => fail(new CairnError('WorkerCrashed', event.message ?? 'the worker could not be loaded'));
        signal?.addEventListener('abort', () => fail(signal.reason), { once: true });
        importer.postMessage({ importing: name, wasm });
      });
    } finally {
      importer.terminate();
    }
  });
}

function defaultWorker() {
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'cairndb' });
}

/** Does something while no tab has the database open. */
async function alone(name, work) {
  await navigator.locks.request(lockOf(name), { ifAvailable: true }, async (held) => {
    if (!held) throw locked();
    await work();
  });
}

function locked() {
  return new CairnError('Locked', 'the database is open in this tab or another one');
}

async function directoryOfDatabases() {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(DIRECTORY, { create: true });
}
