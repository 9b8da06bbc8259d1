/** The Linux kernel's own NFSv3 client mounts our exports: mount and directory cannot be told apart. */
import { spawnSync } from 'node:child_process';
import {
  chownSync,
  linkSync,
  lutimesSync,
  statfsSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory, makeNames, makeTree, patternBytes, sha256 } from '../support/trees.ts';
import { runKernelClient, skipWithoutKernelClient } from './kernel-client.ts';
import { SERVER_ADDRESS, startNetworkNamespace } from './network-namespace.ts';
import { runTool, skipWithout, startCapture } from './peers.ts';

const MIB = 1024 * 1024;
const LARGE = patternBytes(100 * MIB + 7);
const NAMES = 5_000;
const [OWNER, OTHER, GROUP] = [1000, 1001, 1005];

const skip = skipWithoutKernelClient() || skipWithout(['tshark']) || skipWithoutBuild();
if (skip !== false) console.error(`kernel-client: skipped: ${skip}`);

/** Bytes no encoding gives a meaning to, what shells and listings stumble over, and the longest name there is. */
const ODD_NAMES: readonly Buffer[] = [
  Buffer.from([0x66, 0xff, 0xfe, 0x80]),
  Buffer.from('new\nline'),
  Buffer.from(' spaces '),
  Buffer.from('-rf'),
  Buffer.from('back\\slash "quotes" \'$(x)'),
  Buffer.from('ünïcode \u{1f4be}'),
  Buffer.from([1, 2, 0x1b, 0x7f]),
  Buffer.alloc(255, 'n'),
];

function makeExportedTree(tree: string): void {
  makeTree(tree, {
    file: 'from the server\n',
    empty: '',
    large: LARGE,
    owned: { file: 'owned\n', mode: 0o600, uid: OWNER, gid: OWNER },
    'for the group': { file: 'group\n', mode: 0o640, uid: 0, gid: GROUP },
    'for root': { file: 'root\n', mode: 0o600 },
    setuid: { file: '#!/bin/sh\n', mode: 0o4755 },
    sticky: { directory: true, mode: 0o1777 },
    'private/inside': 'inside\n',
    private: { directory: true, mode: 0o700, uid: OWNER, gid: OWNER },
    link: { link: 'file' },
    dangling: { link: 'no/such target' },
    'a/b/c/d/e/f/bottom': 'bottom\n',
    program: { file: '#!/bin/sh\necho ran\n', mode: 0o755 },
  });
  chownSync(join(tree, 'private/inside'), OWNER, OWNER);
  linkSync(join(tree, 'file'), join(tree, 'hard-link'));
  symlinkSync('x'.repeat(1000), join(tree, 'long-link'));
  makeNames(join(tree, 'many'), NAMES);
  makeTree(join(tree, 'odd'), {});
  for (const [index, name] of ODD_NAMES.entries()) {
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/odd/`), name]), `odd ${index}\n`);
  }
  utimesSync(join(tree, 'file'), 1_700_000_000.123, 1_600_000_000.987);
  lutimesSync(join(tree, 'dangling'), 1_000_000_000, 1_000_000_000.5);
}

/** Types of which diff says that both are so, and not that they are the same. */
function makeSpecialFiles(directory: string): void {
  makeTree(directory, {});
  spawnSync('mkfifo', ['-m', '640', join(directory, 'fifo')]);
  spawnSync('mknod', [join(directory, 'character'), 'c', '1', '3']);
  spawnSync('mknod', [join(directory, 'block'), 'b', '7', '200']);
}

t.test('the kernel client', { skip }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeExportedTree(tree);
  makeSpecialFiles(join(directory, 'special'));

  const network = await startNetworkNamespace();
  t.teardown(() => network.stop());
  const trusted = `clients=${SERVER_ADDRESS}/24`;
  const server = await startServer(t, {
    directory,
    host: SERVER_ADDRESS,
    network: network.file,
    exports: [
      `tree=${tree},ro,squash=none,${trusted}`,
      `special=${join(directory, 'special')},ro,squash=none,${trusted}`,
      `squashed=${tree},ro,${trusted}`,
      `anonymous=${tree},ro`,
      `refused=${tree},ro,clients=203.0.113.0/24`,
    ],
  });
  const capture = await startCapture({ interface: 'any', ports: [server.port], network: network.file });
  let captured = false;
  t.teardown(async () => {
    if (!captured) (await capture.stop()).remove();
  });

  const work = join(directory, 'guest');
  makeTree(work, {});
  // What the guest lists is compared with what is listed here: its view of this machine's files knows no fractions
  // of seconds.
  const listings: readonly (readonly [name: string, here: string, there: string, command: string])[] = [
    ['ls -lR', tree, '/mnt/tree', 'ls -lnR --time-style=full-iso .'],
    ['find', tree, '/mnt/tree', "find . -printf '%P\\0%y %s %m %n %U %G %T@ %l\\0' | sort -z"],
    ['odd names', `${tree}/odd`, '/mnt/tree/odd', 'find . -type f -print0 | sort -z | xargs -0 -n1 cat'],
    ['special files', `${directory}/special`, '/mnt/special', 'ls -ln --time-style=full-iso'],
  ];
  const answers = await runKernelClient({
    work,
    network: network.file,
    port: server.port,
    steps: {
      mount: `nfs_mount /tree tree && nfs_mount /squashed squashed && nfs_mount /anonymous anonymous &&
        nfs_mount /special special && nfs_mount /tree/a/b below && grep ' nfs ' /proc/mounts`,
      diff: `diff -r --no-dereference ${tree} /mnt/tree`,
      ...Object.fromEntries(listings.map(([name, , there, command]) => [name, `cd ${there} && ${command}`])),
      count: 'find /mnt/tree | tr -dc "\\n" | wc -c; find /mnt/tree/many -type f | wc -l',
      large: 'sha256sum </mnt/tree/large',
      seek: `dd if=/mnt/tree/large bs=1 skip=${100 * MIB - 3} count=16 status=none | od -An -tx1`,
      direct: 'dd if=/mnt/tree/large iflag=direct bs=1M count=16 status=none | sha256sum',
      small: `nfs_mount /tree small rsize=4096,noac,nosharecache && head -c 3000000 /mnt/small/large | sha256sum`,
      below: 'cat /mnt/below/c/d/e/f/bottom',
      program: '/mnt/tree/program; as_user 1001:1001 /mnt/tree/program',
      missing: 'cat /mnt/tree/nothing; cat /mnt/tree/file/below',
      statfs: 'stat -f -c "%S %b %l" /mnt/tree',
      readdir: `nfs_mount /tree plain nordirplus && cd /mnt/plain && ls -U many | sort | sha256sum
        cd ${tree} && ls -U many | sort | sha256sum`,
      owner: `as_user ${OWNER}:${OWNER} cat /mnt/tree/owned /mnt/tree/private/inside`,
      other: `as_user ${OTHER}:${OTHER} cat /mnt/tree/owned /mnt/tree/private/inside`,
      member: `as_user ${OTHER}:${OTHER}:7,${GROUP},8 cat '/mnt/tree/for the group'`,
      stranger: `as_user ${OTHER}:${OTHER}:7,8 cat '/mnt/tree/for the group'`,
      root: "cat '/mnt/tree/for root' /mnt/tree/owned",
      'root, squash=root': "cat '/mnt/squashed/for root' /mnt/squashed/owned; cat /mnt/squashed/file",
      'owner, squash=root': `as_user ${OWNER}:${OWNER} cat /mnt/squashed/owned`,
      'owner, no clients=': `as_user ${OWNER}:${OWNER} cat /mnt/anonymous/owned; cat /mnt/anonymous/file`,
      'wrong network': 'nfs_mount /refused refused',
      'no export': 'nfs_mount /none none',
      'no directory': 'nfs_mount /tree/file file',
      write: 'echo x >/mnt/tree/new; rm -f /mnt/tree/file; mkdir /mnt/tree/d; ! touch -c /mnt/tree/file',
      unmount: `for each in tree squashed anonymous special below plain small; do
        umount -i /mnt/$each || exit 1; done`,
      kernel: 'dmesg | grep -E "nfs:|BUG|WARNING|RPC: .*fail|Call Trace"',
    },
  });
  const of = (name: string) => {
    const answer = answers.get(name);
    if (answer === undefined) throw new Error(`no step ${name}`);
    return { ...answer, text: answer.stdout.toString('latin1') };
  };
  const succeeds = (name: string, text: string | RegExp) => {
    const { status, stderr, text: output } = of(name);
    t.equal(status, 0, `${name}: ${stderr}`);
    if (typeof text === 'string') t.equal(output, text, name);
    else t.match(output, text, name);
  };
  const complains = (name: string, complaint: RegExp, text = '') => {
    const { stderr, text: output } = of(name);
    t.match(stderr, complaint, name);
    t.equal(output, text, name);
  };

  succeeds('mount', /:\/tree \/mnt\/tree nfs .*vers=3,rsize=1048576,/);
  succeeds('diff', '');
  for (const [name, here, , command] of listings) {
    const { status, stdout } = await runTool('sh', ['-c', `export LC_ALL=C; cd ${here} && ${command}`]);
    t.equal(status, 0);
    t.ok(stdout.length > 0, name);
    // Thousands of lines make no readable difference.
    t.ok(of(name).stdout.equals(stdout), `${name} ${of(name).stderr}`);
  }
  t.equal(of('odd names').stdout.length, ODD_NAMES.length * 'odd 0\n'.length);
  const entries = (await runTool('sh', ['-c', `find ${tree} | tr -dc '\\n' | wc -c`])).stdout.toString();
  t.ok(Number(entries) > NAMES);
  succeeds('count', `${entries}${NAMES}\n`);
  succeeds('large', `${sha256(LARGE)}  -\n`);
  succeeds(
    'seek',
    ` ${LARGE.subarray(-10)
      .toString('hex')
      .replaceAll(/(..)(?=.)/g, '$1 ')}\n`,
  );
  succeeds('direct', `${sha256(LARGE.subarray(0, 16 * MIB))}  -\n`);
  succeeds('small', `${sha256(LARGE.subarray(0, 3_000_000))}  -\n`);
  succeeds('below', 'bottom\n');
  succeeds('program', 'ran\nran\n');
  complains('missing', /nothing: No such file or directory\n.*Not a directory/);
  const { bsize, blocks } = statfsSync(tree);
  const [unit = 0, total, nameBytes] = of('statfs').text.split(' ').map(Number);
  t.equal(total, Math.ceil((bsize * blocks) / unit), 'size of the file system');
  t.equal(nameBytes, 255);
  const [there, here] = of('readdir').text.split('\n');
  t.equal(there, here, 'READDIR without READDIRPLUS');

  succeeds('owner', 'owned\ninside\n');
  complains('other', /owned: Permission denied\n.*inside: Permission denied/);
  succeeds('member', 'group\n');
  complains('stranger', /Permission denied/);
  succeeds('root', 'root\nowned\n');
  const both = /for root'?: Permission denied\n.*owned: Permission denied\n$/;
  complains('root, squash=root', both, 'from the server\n');
  succeeds('owner, squash=root', 'owned\n');
  complains('owner, no clients=', /owned: Permission denied\n$/, 'from the server\n');
  // The words in which mount(8) says EACCES, ENOENT and ENOTDIR.
  complains('wrong network', /refused read-only/);
  complains('no export', /does not exist/);
  complains('no directory', /Not a directory/);
  t.equal(of('write').status, 0);
  t.equal(of('write').stderr.match(/Read-only file system\n/g)?.length, 4, of('write').stderr);
  succeeds('unmount', '');
  t.equal(of('kernel').text, '', 'the guest kernel complains about nothing');

  captured = true;
  const result = await capture.stop();
  t.teardown(result.remove);
  t.same(result.malformed, [], 'nothing malformed');
  t.same(result.undecoded, [], 'nothing undecoded');
  t.ok(result.rpcPackets > NAMES, `${result.rpcPackets} RPC packets`);
});
