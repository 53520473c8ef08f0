import type { CallOptions, Encoding, Input, OpenOptions, Operation, Output, Range, Recovery, Stats, Verification } from './index.js';

export { CairnError, type ErrorKind } from './index.js';

export interface OpenSyncOptions<K extends Encoding = 'bytes', V extends Encoding = 'bytes'>
  extends Omit<OpenOptions<K, V>, 'lock' | 'worker'> {
  /** What happens if a tab or another worker has it open: fail with `Locked`, or wait. Default `'fail'`. */
  lock?: 'fail' | 'wait';
}

/** A stretch of keys, in the order of their bytes. Bounds that are given together all hold. */
export type RangeSync<K = Uint8Array | string> = Omit<Range<K>, keyof CallOptions>;

interface ReaderSync<KI, KO, VO> {
  /** The value of a key; `undefined` if it has none. */
  get(key: KI): VO | undefined;
  /** The values of several keys, in their order. */
  getMany(keys: Iterable<KI>): (VO | undefined)[];
  /** Keys and values at one moment: that at which the first one was asked for. */
  entries(range?: RangeSync<KI>): Generator<[KO, VO], void, undefined>;
  keys(range?: RangeSync<KI>): Generator<KO, void, undefined>;
  values(range?: RangeSync<KI>): Generator<VO, void, undefined>;
}

/** A hold on one moment: reads through it see that moment, whatever is written since. */
export interface SnapshotSync<KI = Uint8Array | string, KO = Uint8Array, VO = Uint8Array> extends ReaderSync<KI, KO, VO> {
  /** Lets go of the moment, whose files take room until then. */
  release(): void;
  [Symbol.dispose](): void;
}

/** An open database in this thread: each call is done when it returns. A write that wants a file made first throws `Busy`. */
export interface DatabaseSync<KI = Uint8Array | string, KO = Uint8Array, VI = Uint8Array | string, VO = Uint8Array>
  extends ReaderSync<KI, KO, VO> {
  /** Gives the key this value, and syncs that, if the durability says so. */
  put(key: KI, value: VI): void;
  delete(key: KI): void;
  /** All of it or nothing, with one sync. */
  batch(operations: Iterable<Operation<KI, VI>>): void;
  /** Puts `value` if the key has the value `expected`; `undefined` stands for absent. Whether it was done. */
  compareAndSwap(key: KI, expected: VI | undefined, value: VI | undefined): boolean;
  snapshot(): SnapshotSync<KI, KO, VO>;
  /** Moves what is in memory into tables, so that the next open has nothing to replay. */
  checkpoint(): { wal: number; seq: number };
  stats(): Stats;
  /** What opening the database found and did. */
  recovery(): Recovery;
  /** Checks every byte on the disk against what was promised. */
  verify(): Verification;
  /** An openable copy, as the pieces of a tar file. */
  export(): Generator<Uint8Array, void, undefined>;
  /** Does what writes have left behind: makes files ahead, flushes and compacts. Resolves when nothing is due. */
  rest(): Promise<void>;
  close(): void;
  [Symbol.dispose](): void;
}

/** Opens the database `name` of this origin in this very thread, a worker's, and makes one if there is none. */
export function openSync<JK = unknown, JV = unknown, K extends Encoding = 'bytes', V extends Encoding = 'bytes'>(
  name: string,
  options?: OpenSyncOptions<K, V>,
): Promise<DatabaseSync<Input<K, JK>, Output<K, JK>, Input<V, JV>, Output<V, JV>>>;
