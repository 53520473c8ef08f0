// Errors: one class, told apart by `kind`, named for what the caller can do about it.

/** What every call that fails rejects with. The kinds are listed in index.d.ts. */
export class CairnError extends Error {
  constructor(kind, message, place = {}) {
    super(message);
    this.name = 'CairnError';
    this.kind = kind;
    if (place.file !== undefined) {
      this.file = place.file;
      this.offset = place.offset;
    }
  }
}

/** As plain data, which every kind of port can carry. */
export function toData(error, storage) {
  if (error instanceof Error && typeof error.kind === 'string') {
    // The one way in which a browser's disk is full.
    const kind = error.kind === 'DiskFull' && storage === 'opfs' ? 'QuotaExceeded' : error.kind;
    return { kind, message: error.message, file: error.file, offset: error.offset };
  }
  return { kind: 'Io', message: String(error?.message ?? error) };
}

export function fromData(data) {
  return new CairnError(data.kind, data.message, data);
}
