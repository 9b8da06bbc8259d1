import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { notPrivileged } from './fixtures.ts';

/** Runs a module of this folder in a mount namespace of its own, with an empty directory; what it printed as JSON. */
function runChild(t: { teardown: (action: () => void) => unknown }, module: string): unknown {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'nearmount-'));
  t.teardown(() => fs.rmSync(top, { recursive: true }));
  const file = fileURLToPath(new URL(module, import.meta.url));
  const command = ['-m', '--propagation', 'private', process.execPath, ...process.execArgv, file, top];
  const child = spawnSync('unshare', command, { encoding: 'utf8' });
  if (child.error) throw child.error;
  if (child.status !== 0) throw new Error(`${module}: status ${String(child.status)}\n${child.stderr}`);
  return JSON.parse(child.stdout);
}

t.test('submounts and overlayfs', { skip: notPrivileged }, async (t) => {
  t.same(runChild(t, './surroundings.child.ts'), {
    rootIsolation: 'private-mount',
    rootSubmount: 'ENOENT',
    reopenForWriting: 'EROFS',
    // What is granted of an export that may be written is no way to write, unlike a descriptor of the export's own tree.
    kernelGrantReopened: 'EROFS',
    kernelGrantFromOutside: '',
    kernelGrantRead: 'mine',
    kernelNodeFromOutside: 'written\nchanged\n',
    kernelDeleted: 'STALE',
    tableGrantReopened: 'EROFS',
    tableGrantFromOutside: '',
    tableGrantRead: 'mine',
    tableNodeFromOutside: 'written\nchanged\n',
    tableDeleted: 'STALE',
    overlayHandles: 'table',
    overlayIsolation: 'private-mount',
    overlayRead: 'lower',
    overlayRenamedUnseen: 'STALE',
    // The upper copy has a time of birth of its own, as a new file at the same place would have.
    overlayAfterCopyUp: 'STALE',
    overlayLookedUpAgain: 'lower and upper',
  });
});

t.test('a server that is not root serves as its own user', { skip: notPrivileged }, async (t) => {
  t.same(runChild(t, './unprivileged.child.ts'), {
    canSwitch: false,
    isolation: 'one-file-system',
    handles: 'table',
    submount: 'EXDEV',
    ofRoot: 'EACCES',
    asAnother: 'EPERM',
    contents: 'mine',
  });
});

t.test(
  'a log goes on when the disk is full, and does not begin on one',
  { skip: notPrivileged },
  async (t) => {
    t.same(runChild(t, './full-disk.child.ts'), {
      filled: 'ENOSPC',
      appended: 128,
      grown: 128 * 1024,
      records: ['kept on a full disk', 'added on a full disk'],
      first: 'ENOSPC',
    });
  },
);
