// Text: keys and values as people type them, and numbers as they are read.

/** Bytes of text in which `\x00` is a byte and `\\` a backslash; the rest is UTF-8. Throws what is wrong. */
export function bytesOf(text) {
  const encoder = new TextEncoder();
  const bytes = [];
  for (const piece of text.split(/(\\(?:x[0-9a-fA-F]{2}|[tnr\\"'])|\\)/u)) {
    if (piece === '\\') throw new Error('a backslash is written \\\\, and a byte \\x00');
    const byte = { '\\t': 9, '\\n': 10, '\\r': 13, '\\\\': 92, '\\"': 34, "\\'": 39 }[piece];
    if (byte !== undefined) bytes.push(byte);
    else if (/^\\x/.test(piece)) bytes.push(Number.parseInt(piece.slice(2), 16));
    else bytes.push(...encoder.encode(piece));
  }
  return Uint8Array.from(bytes);
}

const whole = new Intl.NumberFormat('en');

export const count = (n, one = '', many = `${one}s`) => (one ? `${whole.format(n)} ${n === 1 ? one : many}` : whole.format(n));

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB'];
  let unit = -1;
  do {
    bytes /= 1024;
    unit += 1;
  } while (bytes >= 1024 && unit < 2);
  return `${bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

export const hex = (n, digits = 4) => n.toString(16).padStart(digits, '0');

/** An element with attributes and children; `class` and text among them. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}
