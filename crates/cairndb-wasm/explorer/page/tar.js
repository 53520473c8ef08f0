// Tar: files out of a tar archive, and into one. In the form of POSIX.1-1988, of regular files alone.

const BLOCK = 512;

/** The files of an archive: their names without directories, and their bytes. */
export async function filesOfTar(blob) {
  const files = [];
  for (let at = 0; at + BLOCK <= blob.size; ) {
    const header = new Uint8Array(await blob.slice(at, at + BLOCK).arrayBuffer());
    if (header.every((byte) => byte === 0)) break;
    const length = octal(header, 124, 12);
    const sum = header.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0);
    if (sum !== octal(header, 148, 8) || !Number.isFinite(length)) throw new Error('this is no tar file, or a damaged one');
    const kind = String.fromCharCode(header[156]);
    const end = at + BLOCK + length;
    if (end > blob.size) throw new Error('the tar file ends early');
    if (kind === '0' || kind === '\0') files.push({ name: text(header, 0, 100).split('/').pop(), blob: blob.slice(at + BLOCK, end) });
    at += BLOCK + Math.ceil(length / BLOCK) * BLOCK;
  }
  return files;
}

/** An archive of files: names and bytes. */
export function tarOf(files) {
  const pieces = [];
  for (const { name, bytes } of files) {
    const header = new Uint8Array(BLOCK);
    const put = (at, text) => header.set(new TextEncoder().encode(text), at);
    put(0, name);
    put(100, '0000600\0');
    put(108, '0000000\0');
    put(116, '0000000\0');
    put(124, `${bytes.length.toString(8).padStart(11, '0')}\0`);
    put(136, '00000000000\0');
    put(148, '        ');
    put(156, '0');
    put(257, 'ustar\x0000');
    const sum = header.reduce((sum, byte) => sum + byte, 0);
    put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
    pieces.push(header, bytes, new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK));
  }
  return new Blob([...pieces, new Uint8Array(2 * BLOCK)], { type: 'application/x-tar' });
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
