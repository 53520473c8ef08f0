// SQLite as a key-value table, in a worker: the other side of what sqlite.js asks for, a list of calls in each message.
import sqlite3InitModule from '/node_modules/@sqlite.org/sqlite-wasm/dist/index.mjs';

const sqlite3 = await sqlite3InitModule();
const pool = await sqlite3.installOpfsSAHPoolVfs({ name: 'bench', clearOnInit: true, initialCapacity: 8 });
const db = new pool.OpfsSAHPoolDb('/bench.db');
// The cache is as large as ours; the journal is the one that this file system works best with.
db.exec('PRAGMA cache_size = -32768; CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID');
const get = db.prepare('SELECT value FROM kv WHERE key = ?');
const put = db.prepare('INSERT OR REPLACE INTO kv VALUES (?, ?)');
const scan = db.prepare('SELECT key, value FROM kv WHERE key >= ? ORDER BY key LIMIT ?');

const VERBS = {
  synchronous: (level) => db.exec(`PRAGMA synchronous = ${level}`),
  get(key) {
    get.bind(1, key);
    const value = get.step() ? get.getBlob(0) : undefined;
    get.reset();
    return value;
  },
  put(key, value) {
    put.bind(1, key).bind(2, value).stepReset();
  },
  batch(entries) {
    db.exec('BEGIN');
    for (const [key, value] of entries) put.bind(1, key).bind(2, value).stepReset();
    db.exec('COMMIT');
  },
  scan(from, limit) {
    const rows = [];
    scan.bind(1, from).bind(2, limit);
    while (scan.step()) rows.push([scan.getBlob(0), scan.getBlob(1)]);
    scan.reset();
    return rows;
  },
};

self.onmessage = ({ data: [id, verb, ...args] }) => self.postMessage([id, VERBS[verb](...args)]);
self.postMessage('ready');
