/** Where the write suites work: an ext4 in memory, so that thousands of files and fsyncs cost no disk, and none is removed. */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { makeDirectory } from '../support/trees.ts';

/** Far more than the suites fill; what is not written takes no memory. */
const IMAGE_BYTES = 1024 * 1024 * 1024;
const INODES = 200_000;

export interface Places {
  /** For sockets, mount points and state. */
  readonly top: string;
  /** To be exported. */
  readonly tree: string;
  /** The reference: on the same file system. */
  readonly plain: string;
}

function run(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** Makes the places; where there is no loop device or ext4 they are plain directories of the temporary one. */
export function makePlaces(t: Test): Places {
  const top = makeDirectory(t);
  const [memory, disk] = [join(top, 'memory'), join(top, 'disk')];
  for (const directory of [memory, disk]) mkdirSync(directory);
  const image = join(memory, 'image');
  if (run('mount', '-t', 'tmpfs', '-o', 'size=1100m', 'places', memory)) {
    t.teardown(() => void run('umount', '-l', memory));
    const fd = openSync(image, 'w');
    ftruncateSync(fd, IMAGE_BYTES);
    closeSync(fd);
    // Blocks of 4 KiB, as on disks: links and offsets may then be as long as there.
    const made = run('mkfs.ext4', '-q', '-F', '-b', '4096', '-N', String(INODES), image);
    if (made && run('mount', '-t', 'ext4', '-o', 'loop', image, disk)) {
      t.teardown(() => void run('umount', '-l', disk));
    }
  }
  const [tree, plain] = [join(disk, 'tree'), join(disk, 'plain')];
  for (const directory of [tree, plain]) mkdirSync(directory);
  return { top, tree, plain };
}
