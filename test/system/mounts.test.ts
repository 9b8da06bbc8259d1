import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { cannotMount, runChild } from './child.ts';

t.test('a private clone is read-only and sees no other mount', { skip: cannotMount }, async (t) => {
  const directory = t.testdir({ file: 'contents', below: { 'of-the-directory': '' } });
  spawnSync('mknod', [path.join(directory, 'null'), 'c', '1', '3']);
  t.match(runChild(['unshare', '-m', '--propagation', 'private'], './mounts.child.ts', directory), {
    outside: ['of-the-submount'],
    early: ['of-the-directory'],
    late: ['of-the-directory'],
    contents: 'contents',
    reopenForWriting: 'EROFS',
    reopenPathForWriting: 'EROFS',
    chmod: 'EROFS',
    truncate: 'EROFS',
    writable: 'done',
    original: 'new',
    device: 'EACCES',
    missing: 'ENOENT',
    notMounted: 'ENOENT',
    unknownType: 'ENODEV',
    cwdIsLeft: 'done',
  });
  t.same(fs.readdirSync(path.join(directory, 'below')), ['of-the-directory']);
});
