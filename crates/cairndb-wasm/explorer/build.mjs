// Build: the explorer's code and its glue, optimised, into `page/wasm/`. The page is then whole: any static server shows it.
//
// Needs wasm-bindgen of the crate's version, given as CAIRN_WASM_BINDGEN or on the path, and `npm install` in ../npm.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../..');
const out = join(here, 'page/wasm');
const run = (program, args) => execFileSync(program, args, { stdio: 'inherit', cwd: root });

/** What a reader waits for at most, in bytes of brotli. */
const BROTLI_MAX = 280 * 1024;

run('cargo', ['build', '--locked', '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '-p', 'cairndb-explorer']);
rmSync(out, { recursive: true, force: true });
mkdirSync(out);
const built = join(root, 'target/wasm32-unknown-unknown/wasm/cairndb_explorer.wasm');
run(process.env.CAIRN_WASM_BINDGEN ?? 'wasm-bindgen', [
  '--target', 'web', '--no-typescript', '--out-name', 'explorer', '--out-dir', out, built,
]);
const wasm = join(out, 'explorer_bg.wasm');
run(join(here, '../npm/node_modules/.bin/wasm-opt'), ['-O3', '--strip-debug', '--strip-producers', wasm, '-o', wasm]);

const code = readFileSync(wasm);
const brotli = brotliCompressSync(code).length;
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
console.log(`explorer: wasm ${kib(code.length)}, brotli ${kib(brotli)} (at most ${kib(BROTLI_MAX)})`);
if (brotli > BROTLI_MAX) {
  console.error('the code is larger than it may be');
  process.exit(1);
}
