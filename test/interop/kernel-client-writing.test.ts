/** The Linux kernel's own NFSv3 client writes to our exports: the server's disk is as if it had been written to itself. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeSourceTree } from '../programs/source-tree.ts';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { runKernelClient, skipWithoutKernelClient } from './kernel-client.ts';
import { SERVER_ADDRESS, startNetworkNamespace } from './network-namespace.ts';
import { FAILED_REPLIES, runTool, skipWithout, startCapture } from './peers.ts';
import { listing, writeSteps } from './write-steps.ts';

const FILES = 200;
/** A multiple of what O_DIRECT wants. */
const RANDOM_BYTES = 4 * 1024 * 1024;
const [OWNER, OTHER] = [1000, 1001];

const skip = skipWithoutKernelClient() || skipWithout(['tshark']) || skipWithoutBuild();

t.test('the kernel client writes', { skip }, async (t) => {
  const directory = makeDirectory(t);
  const [tree, plain, work] = [join(directory, 'tree'), join(directory, 'plain'), join(directory, 'guest')];
  for (const each of [tree, plain, work]) mkdirSync(each);
  makeTree(tree, { theirs: { directory: true, mode: 0o700, uid: OWNER, gid: OWNER } });
  makeTree(plain, { theirs: { directory: true, mode: 0o700, uid: OWNER, gid: OWNER } });
  makeSourceTree(join(directory, 'source'), FILES);
  const [archive, random] = [join(directory, 'archive.tar'), join(directory, 'random')];
  writeFileSync(random, patternBytes(RANDOM_BYTES));
  const packed = await runTool('tar', ['cf', archive, '--format=posix', '-C', directory, 'source']);
  t.equal(packed.status, 0, packed.stderr);

  const network = await startNetworkNamespace();
  t.teardown(() => network.stop());
  const server = await startServer(t, {
    directory,
    host: SERVER_ADDRESS,
    network: network.file,
    exports: [
      `tree=${tree},squash=none,clients=${SERVER_ADDRESS}/24`,
      `read-only=${tree},ro,squash=none,clients=${SERVER_ADDRESS}/24`,
    ],
  });
  const capture = await startCapture({ interface: 'any', ports: [server.port], network: network.file });
  let captured = false;
  t.teardown(async () => {
    if (!captured) (await capture.stop()).remove();
  });

  const steps = writeSteps({ archive, random });
  const there = (script: string) => `cd /mnt/tree && ${script}`;
  const answers = await runKernelClient({
    work,
    network: network.file,
    port: server.port,
    steps: {
      mount: 'nfs_mount /tree tree && nfs_mount /read-only read-only',
      ...Object.fromEntries(Object.entries(steps).map(([name, script]) => [name, there(script)])),
      owner: there(`as_user ${OWNER}:${OWNER} sh -ec 'echo mine >theirs/file; mkdir theirs/directory'`),
      stranger: there(
        `as_user ${OTHER}:${OTHER} sh -c 'echo x >theirs/other; echo x >refused; rm -f direct'`,
      ),
      'read-only':
        'cd /mnt/read-only && (echo x >new; mkdir new; rm -f direct; mv direct new; ln direct new)',
      unmount: 'umount -i /mnt/tree && umount -i /mnt/read-only',
      kernel: 'dmesg | grep -E "nfs:|BUG|WARNING|RPC: .*fail|Call Trace"',
    },
  });
  const of = (name: string) => {
    const answer = answers.get(name);
    if (answer === undefined) throw new Error(`no step ${name}`);
    return answer;
  };
  for (const name of ['mount', ...Object.keys(steps), 'owner', 'unmount']) {
    t.equal(of(name).status, 0, `${name}: ${of(name).stderr}`);
  }
  t.equal(of('stranger').stderr.match(/Permission denied/g)?.length, 3, of('stranger').stderr);
  t.equal(of('read-only').stderr.match(/Read-only file system/g)?.length, 5, of('read-only').stderr);
  t.equal(of('kernel').stdout.toString(), '', 'the guest kernel complains about nothing');

  const all = {
    ...steps,
    owner: `cd theirs; echo mine >file; mkdir directory; chown -R ${OWNER}:${OWNER} .`,
  };
  for (const [name, script] of Object.entries(all)) {
    const { status, stderr } = await runTool('sh', ['-c', `cd ${plain} && ${script}`]);
    t.equal(status, 0, `${name} on a plain directory: ${stderr}`);
  }
  const [expected, found] = await Promise.all(
    [plain, tree].map(async (where) => {
      const { status, stdout, stderr } = await runTool('bash', ['-c', `cd ${where} && ${listing()}`]);
      t.equal(status, 0, stderr);
      return stdout.toString('latin1').split('\n');
    }),
  );
  t.ok((expected?.length ?? 0) > 2 * FILES);
  t.same(found, expected, 'the server’s disk is as the plain directory');
  t.same(
    readdirSync(tree).filter((name) => name.startsWith('.')),
    [],
    'nothing is left of files that were removed while open',
  );

  captured = true;
  const result = await capture.stop();
  t.teardown(result.remove);
  t.same(result.malformed, [], 'nothing malformed');
  t.same(result.undecoded, [], 'nothing undecoded');
  t.same(await result.matching(FAILED_REPLIES), [], 'nothing failed or was sent twice');
  t.ok(result.rpcPackets > FILES, `${result.rpcPackets} RPC packets`);
});
