/** Our gateway mounts an export of nfs-ganesha: the mount and the directory itself cannot be told apart. */
import { chownSync, linkSync, lutimesSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, runTool, startMount } from '../support/mounts.ts';
import { skipWithoutBuild } from '../support/server.ts';
import { makeDirectory, makeNames, makeTree, patternBytes, sha256 } from '../support/trees.ts';
import { freePorts, skipWithout, startCapture, startGanesha } from './peers.ts';

const NAMES = 3_000;
const LARGE = patternBytes(20 * 1024 * 1024 + 5);

const skip = skipWithout(['ganesha', 'tshark']) || cannotMountHere || skipWithoutBuild();

t.test('a mount of nfs-ganesha', { skip }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    file: 'from ganesha\n',
    empty: '',
    large: LARGE,
    'two words': 'x',
    ünïcode: 'x',
    owned: { file: 'owned\n', mode: 0o640, uid: 1000, gid: 1001 },
    setuid: { file: '#!/bin/sh\n', mode: 0o4755 },
    sticky: { directory: true, mode: 0o1777 },
    'private/inside': 'inside\n',
    private: { directory: true, mode: 0o700, uid: 1000, gid: 1000 },
    link: { link: 'file' },
    dangling: { link: 'no/such target' },
    'a/b/c/d/e/f/bottom': 'bottom\n',
  });
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/not-utf8-`), Buffer.from([0xff, 0xfe])]), 'bytes\n');
  linkSync(join(tree, 'file'), join(tree, 'hard-link'));
  chownSync(join(tree, 'private/inside'), 1000, 1000);
  makeNames(join(tree, 'many'), NAMES);
  utimesSync(join(tree, 'file'), 1_700_000_000.123, 1_600_000_000.987);
  lutimesSync(join(tree, 'dangling'), 1_000_000_000, 1_000_000_000.5);

  const [nfsPort = 0, mountPort = 0] = await freePorts(2);
  const ganesha = await startGanesha({ directory: tree, nfsPort, mountPort });
  t.teardown(() => ganesha.stop());
  const capture = await startCapture({ interface: 'lo', ports: [nfsPort, mountPort] });
  let captured = false;
  t.teardown(async () => {
    if (!captured) (await capture.stop()).remove();
  });
  const mount = await startMount(t, {
    source: `nfs://127.0.0.1:${nfsPort}${tree}?mountport=${mountPort}`,
    point: join(directory, 'mnt'),
    // Writing is another test's.
    options: 'ro',
  });

  await t.test('contents and links', async (t) => {
    const diff = await runTool('diff', ['-r', '--no-dereference', tree, mount.point]);
    t.equal(diff.stdout.toString() + diff.stderr, '');
    t.equal(diff.status, 0);
    const large = await runTool('cat', [join(mount.point, 'large')]);
    t.equal(sha256(large.stdout), sha256(LARGE));
  });

  await t.test('types, sizes, modes, owners, times, link counts and targets', async (t) => {
    const list = async (where: string) => {
      const format = '%P %y %s %m %n %U %G %T@ %l\\n';
      const { status, stdout, stderr } = await runTool('find', ['.', '-printf', format], { cwd: where });
      t.equal(status, 0, stderr);
      return stdout.toString('latin1').split('\n').sort();
    };
    const [source, seen] = [await list(tree), await list(mount.point)];
    t.ok(source.length > NAMES);
    t.same(seen, source);
  });

  await t.test('names that are not there, and changes that are not allowed', async (t) => {
    t.not((await runTool('stat', [join(mount.point, 'nothing')])).status, 0);
    const touched = await runTool('touch', [join(mount.point, 'new')]);
    t.match(touched.stderr, /Read-only file system/);
  });

  await t.test('status says how', async (t) => {
    const status = await mount.status();
    t.match(status, { connected: true, route: 'network', level: 'nfs3' });
    t.ok(Number(status.wireBytes) >= LARGE.length, `${status.wireBytes} bytes by wire`);
    t.same(
      Object.entries(status.opens).filter(([path, count]) => path !== 'wire' && count > 0),
      [],
      'no other data path',
    );
    t.ok((status.opens.wire ?? 0) > 0);
  });

  t.same(await mount.stop(), { status: 0, signal: null });
  captured = true;
  const result = await capture.stop();
  t.teardown(result.remove);
  t.same(result.malformed, [], 'nothing malformed');
  t.same(result.undecoded, [], 'nothing undecoded');
  t.ok(result.rpcPackets > 100, `${result.rpcPackets} RPC packets`);
});
