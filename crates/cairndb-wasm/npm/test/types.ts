// Types: what the compiler must accept, and what it must refuse. Compiled, and never run.

import { CairnError, type Database, type ErrorKind, destroy, importDatabase, list, open } from 'cairndb';
import { type DatabaseSync, openSync } from 'cairndb/sync';

async function bytes(): Promise<void> {
  await using db = await open('notes', { durability: 'sync', memoryBudget: 32 << 20, lock: 'share' });
  await db.put('key', new Uint8Array(3));
  const value: Uint8Array | undefined = await db.get('key');
  const many: (Uint8Array | undefined)[] = await db.getMany(['a', new Uint8Array(1)]);
  for await (const [k, v] of db.entries({ gte: 'a', lt: 'b', prefix: 'a', reverse: true, limit: 5 })) {
    const both: [Uint8Array, Uint8Array] = [k, v];
    void both;
  }
  // @ts-expect-error a number is no key
  await db.put(7, 'value');
  // @ts-expect-error a delete has no value
  await db.batch([{ type: 'delete', key: 'a', value: 'b' }]);
  const swapped: boolean = await db.compareAndSwap('key', undefined, 'value');
  using snapshot = await db.snapshot();
  const before: Uint8Array | undefined = await snapshot.get('key');
  // @ts-expect-error a snapshot is not written
  await snapshot.put('key', 'value');
  const stream: ReadableStream<Uint8Array> = db.export();
  await importDatabase('copy', stream, { signal: AbortSignal.timeout(1000) });
  const { ok, checks } = await db.verify();
  void [value, many, swapped, before, ok, checks[0]?.problems];
}

async function typed(): Promise<void> {
  interface Note {
    title: string;
  }
  const db = await open<string, Note, 'json', 'json'>('typed', { keyEncoding: 'json', valueEncoding: 'json' });
  await db.put('key', { title: 'a' });
  const note: Note | undefined = await db.get('key');
  // @ts-expect-error no such note
  await db.put('key', { name: 'a' });
  void note;
}

async function text(): Promise<void> {
  const db = await open('text', { keyEncoding: 'utf8', valueEncoding: 'json' });
  await db.put('key', { any: ['thing'] });
  const value: unknown = await db.get('key');
  for await (const key of db.keys()) key.toUpperCase();
  void value;
}

async function synchronous(): Promise<void> {
  using db = await openSync('text', { keyEncoding: 'utf8', lock: 'wait' });
  db.put('key', 'value');
  const value: Uint8Array | undefined = db.get('key');
  for (const [k, v] of db.entries({ prefix: 'k', limit: 3 })) {
    const both: [string, Uint8Array] = [k, v];
    void both;
  }
  using snapshot = db.snapshot();
  // @ts-expect-error a snapshot is not written
  snapshot.put('key', 'value');
  // @ts-expect-error one thread shares with nobody
  await openSync('x', { lock: 'share' });
  // @ts-expect-error nothing could abort it
  db.keys({ signal: AbortSignal.timeout(1) });
  await db.rest();
  const plain: DatabaseSync = await openSync('plain');
  const swapped: boolean = plain.compareAndSwap('key', undefined, 'value');
  void [value, swapped];
}

async function failures(): Promise<void> {
  // @ts-expect-error no such lock
  await open('x', { lock: 'steal' });
  try {
    await destroy('x');
  } catch (error) {
    if (error instanceof CairnError) {
      const kind: ErrorKind = error.kind;
      const place: [string | undefined, number | undefined] = [error.file, error.offset];
      void [kind, place];
    }
  }
  const names: string[] = await list();
  void names;
}

const held: Database[] = [];
void [bytes, typed, text, synchronous, failures, held];
