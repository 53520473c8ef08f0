// Sources: where a database's files come from: a drop, a picker, a tar file, this origin's own. They are read, never written.

import { filesOfTar } from './tar.js';

/** Where the npm package keeps its databases. */
const DIRECTORY = 'cairndb';

/** What was dropped, as names and blobs, and what to call it. To be called while the event is handled. */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...transfer.files];
  if (entries.length === 1 && entries[0].isDirectory) {
    return { title: entries[0].name, files: await filesOfDirectory(entries[0]) };
  }
  return filesOfPick(plain);
}

/** What was picked: a directory's files, or one tar file. */
export async function filesOfPick(files) {
  if (files.length === 1 && files[0].name.endsWith('.tar')) {
    return { title: files[0].name, files: await filesOfTar(files[0]) };
  }
  const path = files[0]?.webkitRelativePath ?? '';
  // A directory within the directory is no part of the database.
  const flat = files.filter((file) => file.webkitRelativePath.split('/').length <= 2);
  return { title: path.split('/')[0] || `${files.length} files`, files: flat.map((file) => ({ name: file.name, blob: file })) };
}

/** The names of this origin's databases; none where there are no such files. */
export async function ownDatabases() {
  try {
    const root = await navigator.storage.getDirectory();
    const names = [];
    for await (const [name, entry] of (await root.getDirectoryHandle(DIRECTORY)).entries()) {
      if (entry.kind === 'directory') names.push(name);
    }
    return names.sort();
  } catch {
    return [];
  }
}

/** The files of one of them. They can be read while another tab has them open. */
export async function filesOfOwn(name) {
  const root = await navigator.storage.getDirectory();
  const directory = await (await root.getDirectoryHandle(DIRECTORY)).getDirectoryHandle(name);
  const files = [];
  for await (const [name, entry] of directory.entries()) {
    if (entry.kind === 'file') files.push({ name, blob: await entry.getFile() });
  }
  return { title: name, files };
}

async function filesOfDirectory(directory) {
  const reader = directory.createReader();
  const files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return files;
    for (const entry of entries.filter((entry) => entry.isFile)) {
      files.push({ name: entry.name, blob: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
    }
  }
}
