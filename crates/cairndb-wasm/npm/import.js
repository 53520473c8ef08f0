// Import: a tar file, such as `export` makes or `tar -c` of a backup, becomes a database's directory. In a worker.

import { CairnError } from './errors.js';
import { DIRECTORY } from './names.js';

const BLOCK = 512;
const FILE_NAME = /^(?:\.\/|[^/]+\/)?(\d{6,}\.(?:manifest|sst|wal|reserve)|LOCK)$/;

/** Writes the files of `stream` into the directory of `name`. One that cannot be taken in whole is removed again. */
export async function importTar(name, stream, onTaken = () => {}) {
  const root = await navigator.storage.getDirectory();
  const databases = await root.getDirectoryHandle(DIRECTORY, { create: true });
  const directory = await databases.getDirectoryHandle(name, { create: true });
  for await (const _ of directory.keys()) throw new CairnError('Invalid', `there is a database '${name}' already`);
  try {
    let isDatabase = false;
    const reader = new Pieces(stream.getReader(), onTaken);
    for (let header = await reader.header(); header; header = await reader.header()) {
      const found = FILE_NAME.exec(header.name);
      if (!header.isFile) await reader.skip(header.length);
      else if (!found) throw new CairnError('Invalid', `'${header.name}' is no file of a database`);
      else await copy(reader, directory, found[1], header.length);
      isDatabase ||= found?.[1].endsWith('.manifest') ?? false;
    }
    if (!isDatabase) throw new CairnError('Invalid', 'the stream holds no database');
  } catch (error) {
    await databases.removeEntry(name, { recursive: true });
    throw error;
  }
}

async function copy(reader, directory, name, length) {
  const file = await directory.getFileHandle(name, { create: true });
  const access = await file.createSyncAccessHandle();
  try {
    for (let at = 0; at < length; ) {
      const piece = await reader.upTo(length - at);
      access.write(piece, { at });
      at += piece.length;
    }
    access.flush();
  } catch (error) {
    if (error?.name === 'QuotaExceededError') throw new CairnError('DiskFull', `writing ${name}: ${error.message}`);
    throw error;
  } finally {
    access.close();
  }
  await reader.skip((BLOCK - (length % BLOCK)) % BLOCK);
}

/** A stream's bytes, as many at a time as are asked for. */
class Pieces {
  #reader;
  #onTaken;
  #piece = new Uint8Array(0);

  constructor(reader, onTaken) {
    this.#reader = reader;
    this.#onTaken = onTaken;
  }

  /** The next file's header; nothing at the end. */
  async header() {
    for (;;) {
      const block = await this.#exactly(BLOCK);
      if (!block) return undefined;
      if (block.every((byte) => byte === 0)) continue;
      const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
      if (octal(block, 148, 8) !== sum) throw new CairnError('Invalid', 'the stream is no tar file, or a damaged one');
      const type = block[156];
      return { name: text(block, 0, 100), length: octal(block, 124, 12), isFile: type === 48 || type === 0 };
    }
  }

  /** At least one byte and at most `length`. */
  async upTo(length) {
    if (this.#piece.length === 0 && !(await this.#more())) throw new CairnError('Invalid', 'the stream ends early');
    const taken = this.#piece.subarray(0, length);
    this.#piece = this.#piece.subarray(taken.length);
    return taken;
  }

  async skip(length) {
    for (let left = length; left > 0; ) left -= (await this.upTo(left)).length;
  }

  async #exactly(length) {
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      if (filled === 0 && this.#piece.length === 0 && !(await this.#more())) return undefined;
      const taken = await this.upTo(length - filled);
      bytes.set(taken, filled);
      filled += taken.length;
    }
    return bytes;
  }

  async #more() {
    while (this.#piece.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) return false;
      this.#piece = value;
      this.#onTaken();
    }
    return true;
  }
}

function text(block, from, length) {
  const bytes = block.subarray(from, from + length);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function octal(block, from, length) {
  const digits = text(block, from, length).trim();
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}
