/** Directories and trees for tests that need real files. */
import { createHash } from 'node:crypto';
import { chmodSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

interface Teardown {
  teardown: (action: () => void) => unknown;
}

/** A directory that every user can reach and that goes away with the test. Short, so that sockets fit into it. */
export function makeDirectory(t: Teardown): string {
  const directory = mkdtempSync(join(tmpdir(), 'nm-'));
  chmodSync(directory, 0o755);
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

/** One file of a tree; a string or bytes alone is a file of mode 0644. */
export type TreeEntry =
  | string
  | Uint8Array
  | {
      readonly file: string | Uint8Array;
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    }
  | { readonly directory: true; readonly mode?: number; readonly uid?: number; readonly gid?: number }
  | { readonly link: string };

/** Makes files by their path below `root`; directories on the way are made with mode 0755. */
export function makeTree(root: string, entries: Readonly<Record<string, TreeEntry>>): void {
  mkdirSync(root, { recursive: true });
  for (const [path, entry] of Object.entries(entries)) {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    if (typeof entry === 'string' || entry instanceof Uint8Array) {
      writeFileSync(full, entry, { mode: 0o644 });
      continue;
    }
    if ('link' in entry) {
      symlinkSync(entry.link, full);
      continue;
    }
    if ('directory' in entry) mkdirSync(full, { recursive: true });
    else writeFileSync(full, entry.file);
    if (entry.uid !== undefined || entry.gid !== undefined) lchownSync(full, entry.uid ?? 0, entry.gid ?? 0);
    // After the owner: chown clears set-user-id bits.
    chmodSync(full, entry.mode ?? ('directory' in entry ? 0o755 : 0o644));
  }
}

/** `count` empty files named `prefix` and a number, in a new directory. */
export function makeNames(directory: string, count: number, prefix = 'name-'): string[] {
  mkdirSync(directory, { recursive: true });
  const names = Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  for (const name of names) writeFileSync(join(directory, name), '');
  return names;
}

/** Bytes that repeat nowhere, the same for the same seed: a block in the wrong place shows. */
export function patternBytes(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed * 2654435761) >>> 0;
  for (let at = 0; at + 4 <= length; at += 4) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  for (let at = length - (length % 4); at < length; at += 1) bytes[at] = at & 0xff;
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
