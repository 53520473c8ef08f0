// Options: what every way to open a database is told, checked.

import { encodingOf } from './database.js';
import { CairnError } from './errors.js';

const DURABILITIES = ['buffered', 'os', 'sync'];

/** Less than this holds no page of the engine's code and two memtables, in bytes. */
const MEMORY_BUDGET_MIN = 8 << 20;

/** What the engine is told, and the encodings. The options are listed in index.d.ts. */
export function optionsOf(name, options) {
  const { storage = 'opfs', durability = 'sync', memoryBudget = 32 << 20, compression = 'none' } = options;
  const { keyEncoding = 'bytes', valueEncoding = 'bytes' } = options;
  const encodings = { key: encodingOf(keyEncoding, 'keyEncoding'), value: encodingOf(valueEncoding, 'valueEncoding') };
  checkName(name);
  oneOf(storage, ['opfs', 'memory'], 'storage');
  oneOf(durability, DURABILITIES, 'durability');
  oneOf(compression, ['none', 'lz4'], 'compression');
  if (!(memoryBudget >= MEMORY_BUDGET_MIN && memoryBudget <= 2 ** 31)) {
    throw new CairnError('Invalid', `memoryBudget is from ${MEMORY_BUDGET_MIN} to ${2 ** 31} bytes, and not ${memoryBudget}`);
  }
  if (storage === 'opfs') requireOpfs();
  return { name, storage, memoryBudget, durability: DURABILITIES.indexOf(durability), compression, encodings };
}

export function requireOpfs() {
  if (typeof globalThis.navigator?.storage?.getDirectory === 'function' && navigator.locks) return;
  const why =
    globalThis.isSecureContext === false
      ? 'this page is not a secure context: it has to come by https or from localhost'
      : 'there are no such files here, as in some private windows and outside of browsers';
  throw new CairnError('Unsupported', `storage 'opfs' needs the origin private file system, and ${why}; 'memory' works everywhere`);
}

export function checkName(name) {
  if (typeof name !== 'string' || name === '' || name === '.' || name === '..' || /[/\\]/.test(name)) {
    throw new CairnError('Invalid', 'a database is named by a string that is a file name: not empty, and without slashes');
  }
}

export function oneOf(value, values, what) {
  if (!values.includes(value)) {
    throw new CairnError('Invalid', `${what} is one of ${values.map((one) => `'${one}'`).join(', ')}, and not '${value}'`);
  }
}
