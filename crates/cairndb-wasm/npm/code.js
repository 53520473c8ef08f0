// Code: where the engine's code is found when nobody says.

/** Node reads files, and fetches none. */
export async function wasmHere() {
  const url = new URL('./wasm/cairndb_bg.wasm', import.meta.url);
  if (url.protocol !== 'file:') return url;
  const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ 'node:fs/promises');
  return readFile(url);
}
