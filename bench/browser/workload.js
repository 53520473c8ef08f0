// Workload: how much of what. `examples/native.rs` of the package's crate does the same.

export const KEYS = 20_000;
export const VALUE = 100;
export const BATCH = 1000;
export const GETS = 2000;
export const PUTS = { relaxed: 1000, strict: 200 };
export const SCANS = 50;

/** In a worker's own thread, where a read is no message, so many more are needed for a time that can be measured. */
export const GETS_IN_THREAD = 50_000;

const utf8 = new TextEncoder();

export const keyOf = (number) => utf8.encode(`key ${String((number * 7919) % KEYS).padStart(8, '0')}`);

export const valueOf = () => crypto.getRandomValues(new Uint8Array(VALUE));
