/** What a failed call is about, named for what the caller can do. */
export type ErrorKind =
  /** The browser refused. Whether a write that ended so is there shows when the database is opened again. */
  | 'Io'
  /** Bytes on the disk are not what was written there; `file` and `offset` say where. */
  | 'Corrupt'
  /** This origin may take no more room. The write was not done; deletes go on, and so does writing once there is room. */
  | 'QuotaExceeded'
  /** The same of a database in memory. */
  | 'DiskFull'
  /** An argument cannot be used. */
  | 'Invalid'
  /** Not now: the write was not done. Try again. */
  | 'Busy'
  /** The database was closed. */
  | 'Closed'
  /** Another tab or worker has the database open. */
  | 'Locked'
  /** The database was opened for reading only. */
  | 'ReadOnly'
  /** An earlier failure stopped all writing; open the database again. */
  | 'Stopped'
  /** This browser, window or place has no such storage. */
  | 'Unsupported'
  /** The worker, or the tab whose worker it was, has ended; what was under way may or may not be done. Open it again. */
  | 'WorkerCrashed';

export class CairnError extends Error {
  readonly kind: ErrorKind;
  /** The file's name, if the kind is `Corrupt`. */
  readonly file?: string;
  /** Where in it, in bytes. */
  readonly offset?: number;
}

/** How keys or values are given and returned: as bytes (strings are taken as UTF-8), as text, or as JSON. */
export type Encoding = 'bytes' | 'utf8' | 'json';

/** What is accepted under an encoding. */
export type Input<E extends Encoding, Json = unknown> = E extends 'json' ? Json : Uint8Array | string;

/** What is returned under an encoding. */
export type Output<E extends Encoding, Json = unknown> = E extends 'json' ? Json : E extends 'utf8' ? string : Uint8Array;

export interface OpenOptions<K extends Encoding = 'bytes', V extends Encoding = 'bytes'> {
  /** Where the bytes live: the origin private file system, or memory, which ends with the page. Default `'opfs'`. */
  storage?: 'opfs' | 'memory';
  /**
   * What a write waits for: nothing, the browser (it survives this page), or the disk (it survives the machine; see the
   * README on names of new files). It is this tab's own, whichever has the database open. Default `'sync'`.
   */
  durability?: 'buffered' | 'os' | 'sync';
  /**
   * What the whole instance may take, in bytes: 8 MiB to 2 GiB, default 32 MiB. One value or batch may take a quarter of what an
   * eighth and 4 MiB leave of it.
   */
  memoryBudget?: number;
  /**
   * What happens if another tab has it open: work through that tab, whose `memoryBudget` and `compression` hold, fail with
   * `Locked`, or wait. Default `'share'`.
   */
  lock?: 'share' | 'fail' | 'wait';
  /** How the blocks of new files are packed. Default `'none'`. */
  compression?: 'none' | 'lz4';
  /** Default `'bytes'`. */
  keyEncoding?: K;
  /** Default `'bytes'`. */
  valueEncoding?: V;
  /** Ends the wait for the lock, or the opening. */
  signal?: AbortSignal;
  /** Makes the worker, where a bundler cannot find it by itself. */
  worker?: () => Worker;
  /** The engine's code, where a bundler cannot find it by itself. */
  wasm?: string | URL | ArrayBuffer | WebAssembly.Module;
}

export interface CallOptions {
  /** The call is rejected with the signal's reason when it aborts; what was begun goes on. */
  signal?: AbortSignal;
}

/** A stretch of keys, in the order of their bytes. Bounds that are given together all hold. */
export interface Range<K = Uint8Array | string> extends CallOptions {
  gt?: K;
  gte?: K;
  lt?: K;
  lte?: K;
  /** Keys that begin with these bytes, whatever the encoding. */
  prefix?: Uint8Array | string;
  /** From the last key to the first. */
  reverse?: boolean;
  limit?: number;
}

export type Operation<K, V> = { type: 'put'; key: K; value: V } | { type: 'delete'; key: K };

interface Reader<KI, KO, VO> {
  /** The value of a key; `undefined` if it has none. */
  get(key: KI, options?: CallOptions): Promise<VO | undefined>;
  /** The values of several keys, all at one moment, in their order. */
  getMany(keys: Iterable<KI>, options?: CallOptions): Promise<(VO | undefined)[]>;
  /** Keys and values at one moment: that at which the first one was asked for. */
  entries(range?: Range<KI>): AsyncGenerator<[KO, VO], void, undefined>;
  keys(range?: Range<KI>): AsyncGenerator<KO, void, undefined>;
  values(range?: Range<KI>): AsyncGenerator<VO, void, undefined>;
}

/** A hold on one moment: reads through it see that moment, whatever is written since. */
export interface Snapshot<KI = Uint8Array | string, KO = Uint8Array, VO = Uint8Array> extends Reader<KI, KO, VO> {
  /** Lets go of the moment, whose files take room until then. */
  release(): void;
  [Symbol.dispose](): void;
}

export interface Stats {
  levels: { tables: number; entries: number; deletes: number; bytes: number }[];
  /** Why writing stopped, if it did. */
  stopped?: string;
  /** Why the last step of maintenance failed, if it did. */
  maintenance_error?: string;
  /** What the instance's memory takes. */
  wasm_bytes: number;
  seq: number;
  disk_bytes: number;
  memtable_bytes: number;
  cache_bytes: number;
  /** The others are those of `cairn stats`. */
  [name: string]: unknown;
}

export interface Recovery {
  created: boolean;
  /** It had been closed. */
  sealed: boolean;
  wals: number;
  records: number;
  entries: number;
  torn_bytes: number;
  torn?: string;
  files_removed: number;
  took_ms: number;
}

export interface Verification {
  ok: boolean;
  files: number;
  bytes: number;
  /** By promise of the engine: what was looked at, and what is wrong. */
  checks: { promise: number; seen: boolean; what: string; problems: string[] }[];
}

/** An open database. */
export interface Database<KI = Uint8Array | string, KO = Uint8Array, VI = Uint8Array | string, VO = Uint8Array>
  extends Reader<KI, KO, VO> {
  /** Gives the key this value. Calls of one tick share one write to the log and one sync. */
  put(key: KI, value: VI, options?: CallOptions): Promise<void>;
  delete(key: KI, options?: CallOptions): Promise<void>;
  /** All of it or nothing. */
  batch(operations: Iterable<Operation<KI, VI>>, options?: CallOptions): Promise<void>;
  /** Puts `value` if the key has the value `expected`; `undefined` stands for absent. Whether it was done. */
  compareAndSwap(key: KI, expected: VI | undefined, value: VI | undefined, options?: CallOptions): Promise<boolean>;
  snapshot(): Promise<Snapshot<KI, KO, VO>>;
  /** Moves what is in memory into tables, so that the next open has nothing to replay. */
  checkpoint(options?: CallOptions): Promise<{ wal: number; seq: number }>;
  stats(): Promise<Stats>;
  /** What opening the database found and did. */
  recovery(): Promise<Recovery>;
  /** Checks every byte on the disk against what was promised. Other calls wait meanwhile. */
  verify(options?: CallOptions): Promise<Verification>;
  /** An openable copy, as a tar file: `tar -x` makes a directory of it that `cairn` opens. Writes go on meanwhile. */
  export(): ReadableStream<Uint8Array>;
  /** Closes it in this tab. Others that share it go on, one of them as its new owner. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Opens the database `name` of this origin, and makes one if there is none. */
export function open<JK = unknown, JV = unknown, K extends Encoding = 'bytes', V extends Encoding = 'bytes'>(
  name: string,
  options?: OpenOptions<K, V>,
): Promise<Database<Input<K, JK>, Output<K, JK>, Input<V, JV>, Output<V, JV>>>;

/** The names of this origin's databases, in order. */
export function list(): Promise<string[]>;

/** Removes a database. `Locked` if it is open anywhere. */
export function destroy(name: string): Promise<void>;

/** Makes the database `name`, which must not be there yet, of what `export` or a tar file of `cairn backup` holds. */
export function importDatabase(
  name: string,
  stream: ReadableStream<Uint8Array>,
  options?: Pick<OpenOptions, 'signal' | 'worker' | 'wasm'>,
): Promise<void>;
