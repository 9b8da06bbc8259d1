/** Fresh file systems of several kinds, for what depends on them: directory positions and file handles. */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { hasCapability } from '../../src/system/capabilities.ts';
import { makeDirectory } from '../support/trees.ts';

interface Teardown {
  teardown: (action: () => void) => unknown;
}

export interface FreshFileSystem {
  /** An empty directory of it. */
  readonly directory: string;
}

export interface FileSystemKind {
  readonly name: string;
  /** Of which kind its handles are. */
  readonly handles: 'kernel' | 'table';
  /** Makes one that goes away with the test; a string says why that cannot be done here. */
  readonly make: (t: Teardown) => FreshFileSystem | string;
}

const MIB = 1024 * 1024;

function run(program: string, ...args: string[]): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) return undefined;
  return `${program} ${args.join(' ')}: ${(error?.message ?? stderr).trim()}`;
}

/** A file system in a sparse file on a loop device. */
function loop(
  type: string,
  package_: string,
  sizeMib: number,
  mkfs: readonly string[],
): FileSystemKind['make'] {
  return (t) => {
    if (!hasCapability('CAP_SYS_ADMIN')) return 'mounting needs root (CAP_SYS_ADMIN)';
    const top = makeDirectory(t);
    const image = join(top, 'image');
    const fd = openSync(image, 'w');
    ftruncateSync(fd, sizeMib * MIB);
    closeSync(fd);
    const unmade = run(`mkfs.${type}`, ...mkfs, image);
    if (unmade !== undefined) return `${unmade} (install ${package_})`;
    const at = join(top, type);
    mkdirSync(at);
    const unmounted = run('mount', '-t', type, '-o', 'loop', image, at);
    if (unmounted !== undefined) return `${unmounted} (needs loop devices and the kernel's ${type})`;
    t.teardown(() => void run('umount', '-l', at));
    const directory = join(at, 'tree');
    mkdirSync(directory);
    return { directory };
  };
}

function tmpfs(t: Teardown): FreshFileSystem | string {
  const at = join(makeDirectory(t), 'tmpfs');
  mkdirSync(at);
  const unmounted = run('mount', '-t', 'tmpfs', '-o', 'size=512m', 'trees', at);
  if (unmounted !== undefined) return unmounted;
  t.teardown(() => void run('umount', '-l', at));
  const directory = join(at, 'tree');
  mkdirSync(directory);
  return { directory };
}

/** Two layers with the default options, which give no file handles. What is in `lower/tree` comes from below. */
export function overlay(
  t: Teardown,
  fillLower: (lowerTree: string) => void = () => undefined,
): FreshFileSystem | string {
  const below = tmpfs(t);
  if (typeof below === 'string') return below;
  const path = (name: string): string => join(below.directory, name);
  for (const name of ['lower', 'lower/tree', 'upper', 'work', 'merged']) mkdirSync(path(name));
  fillLower(path('lower/tree'));
  const layers = `lowerdir=${path('lower')},upperdir=${path('upper')},workdir=${path('work')}`;
  const unmounted = run('mount', '-t', 'overlay', '-o', layers, 'trees', path('merged'));
  if (unmounted !== undefined) return unmounted;
  t.teardown(() => void run('umount', '-l', path('merged')));
  return { directory: path('merged/tree') };
}

export const FILE_SYSTEMS: readonly FileSystemKind[] = [
  { name: 'ext4', handles: 'kernel', make: loop('ext4', 'e2fsprogs', 256, ['-q', '-F', '-N', '150000']) },
  { name: 'xfs', handles: 'kernel', make: loop('xfs', 'xfsprogs', 400, ['-q', '-f']) },
  { name: 'btrfs', handles: 'kernel', make: loop('btrfs', 'btrfs-progs', 400, ['-q', '-f']) },
  { name: 'tmpfs', handles: 'kernel', make: tmpfs },
  { name: 'overlayfs', handles: 'table', make: (t) => overlay(t) },
];
