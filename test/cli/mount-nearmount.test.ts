/** The real mount(8), umount(8) and fstab over mount.nearmount, in a mount namespace where these files are ours. */
import { chmodSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, MAIN, runTool, type ToolResult } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

const PROGRAM = join(dirname(MAIN), 'mount-nearmount.js');
const LIMIT_MS = 120_000;

interface Stage {
  readonly top: string;
  /** Runs a script where /sbin holds mount.nearmount alone and fstab has these lines; all mounts end with it. */
  readonly run: (script: string, fstab?: string) => Promise<ToolResult>;
  /** The option that names the table. */
  readonly table: string;
}

async function makeStage(t: Test): Promise<Stage> {
  const top = makeDirectory(t);
  mkdirSync(join(top, 'tree'));
  mkdirSync(join(top, 'mnt'));
  mkdirSync(join(top, 'sbin'));
  writeFileSync(join(top, 'tree/file'), '#!/bin/sh\necho content\n');
  chmodSync(join(top, 'tree/file'), 0o755);
  const program = join(top, 'sbin/mount.nearmount');
  writeFileSync(program, `#!/bin/sh\necho "$@" >> ${top}/calls\nexec ${process.execPath} ${PROGRAM} "$@"\n`);
  chmodSync(program, 0o755);
  const server = await startServer(t, { directory: top, exports: [`tree=${join(top, 'tree')}`] });
  const run = (script: string, fstab = ''): Promise<ToolResult> => {
    const fstabFile = join(top, 'fstab');
    writeFileSync(fstabFile, fstab);
    // Nothing of it may be left: gateways end with their mounts.
    const whole = `
      mount --bind ${top}/sbin ${realpathSync('/sbin')} && mount --bind ${fstabFile} /etc/fstab || exit 99
      trap '${process.execPath} ${MAIN} unmount --force ${top}/mnt 2> /dev/null || true' EXIT
      ${script}`;
    return runTool('unshare', ['-m', '--propagation', 'private', 'sh', '-c', whole], {
      limitMs: LIMIT_MS,
      cwd: '/',
      env: { ...process.env, NODE_OPTIONS: '', NEARMOUNT_RUNTIME_DIR: join(top, 'run') },
    });
  };
  return { top, run, table: `colocation=${server.table},log-file=${top}/log` };
}

t.test('a line of fstab', { skip: cannotMountHere }, async (t) => {
  const { top, run, table } = await makeStage(t);
  const result = await run(
    `set -e
    mount -a
    cat ${top}/mnt/file
    mount -a
    grep -c ' ${top}/mnt fuse.nearmount ' /proc/mounts
    umount ${top}/mnt
    mount ${top}/mnt
    findmnt -n -o SOURCE,FSTYPE ${top}/mnt
    umount ${top}/mnt
    ! grep ${top}/mnt /proc/mounts`,
    `tree ${top}/mnt nearmount defaults,_netdev,nofail,x-systemd.automount,comment=a,${table},soft 0 0\n`,
  );
  t.equal(result.stderr, '');
  t.equal(result.status, 0);
  t.match(result.stdout.toString(), /^#!\/bin\/sh\necho content\n1\ntree +fuse\.nearmount\n$/);
});

t.test('mount -t nearmount, and what mount(8) hands on', { skip: cannotMountHere }, async (t) => {
  const { top, run, table } = await makeStage(t);
  const result = await run(`set -e
    mount -t nearmount -o ${table} tree ${top}/mnt
    ${top}/mnt/file
    umount ${top}/mnt
    mount -n -t nearmount -o noexec,noatime,${table} tree ${top}/mnt
    ${top}/mnt/file 2>/dev/null || echo not run
    cat ${top}/mnt/file > /dev/null
    grep -o ' ${top}/mnt fuse.nearmount rw,nosuid,nodev,noexec' /proc/mounts
    umount ${top}/mnt
    mount -f -t nearmount -o ${table} tree ${top}/mnt
    if grep -q ' ${top}/mnt ' /proc/mounts; then exit 3; fi
    mount -s -t nearmount -o ${table},colour=red tree ${top}/mnt
    umount ${top}/mnt`);
  t.equal(result.stderr, '');
  t.equal(result.status, 0);
  t.match(result.stdout.toString(), /^content\nnot run\n \S+mnt fuse\.nearmount rw,nosuid,nodev,noexec\n$/);
});

t.test('exit statuses of mount(8)', { skip: cannotMountHere }, async (t) => {
  const { top, run, table } = await makeStage(t);
  const mount = (options: string, source = 'tree'): Promise<ToolResult> =>
    run(`mount -t nearmount -o ${options} ${source} ${top}/mnt`);
  const cases: readonly (readonly [string, Promise<ToolResult>, number, RegExp])[] = [
    [
      'an unknown option',
      mount(`${table},colour=red`),
      1,
      /^nearmount: mount option "colour=red" is unknown/,
    ],
    ['an unknown source', mount(table, 'smb://h/p'), 1, /smb/],
    ['an unknown export', mount(table, 'three'), 32, /"three".*known exports: tree/],
    ['another namespace', run(`/sbin/mount.nearmount tree ${top}/mnt -N /proc/1/ns/mnt`), 1, /-N.*nsenter/],
    ['no target', run('/sbin/mount.nearmount tree'), 1, /target/],
  ];
  for (const [what, running, status, message] of cases) {
    const result = await running;
    t.equal(result.status, status, `${what}: ${result.stderr}`);
    t.match(result.stderr, message, what);
  }
});

t.test('the order of arguments that mount(8) uses; -v', { skip: cannotMountHere }, async (t) => {
  const { top, run, table } = await makeStage(t);
  const result = await run(`/sbin/mount.nearmount tree ${top}/mnt -sfnv -t nearmount -o rw,${table},soft`);
  t.equal(result.status, 0, result.stderr);
  t.equal(result.stdout.toString(), `mount.nearmount: tree at ${top}/mnt, options soft\n`);
});
