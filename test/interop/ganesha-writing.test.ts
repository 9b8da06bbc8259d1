/** Our gateway writes to nfs-ganesha: its disk is as if it had been written to itself. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FGDP_PROGRAM } from '../../src/fgdp/program.ts';
import { makeSourceTree } from '../programs/source-tree.ts';
import { cannotMountHere, runTool, startMount } from '../support/mounts.ts';
import { skipWithoutBuild } from '../support/server.ts';
import { makeDirectory, patternBytes } from '../support/trees.ts';
import { FAILED_REPLIES, freePorts, skipWithout, startCapture, startGanesha } from './peers.ts';
import { listing, writeSteps } from './write-steps.ts';

const FILES = 200;
const RANDOM_BYTES = 4 * 1024 * 1024;

/** nfs-ganesha 4.3 sets no times of links, and says that it has (vfs_setattr2 of its FSAL_VFS). */
const NO_LINKS = '! -type l';
/** That it does not know our own program, which RFC 5531 section 9 has it say as PROG_UNAVAIL. */
const NOT_OURS = `!(rpc.state_accept == 1 && rpc.program == ${FGDP_PROGRAM.number})`;

const skip = skipWithout(['ganesha', 'tshark']) || cannotMountHere || skipWithoutBuild();

t.test('writing to nfs-ganesha', { skip }, async (t) => {
  const directory = makeDirectory(t);
  const [tree, plain, point] = [join(directory, 'tree'), join(directory, 'plain'), join(directory, 'mnt')];
  for (const each of [tree, plain]) mkdirSync(each);
  makeSourceTree(join(directory, 'source'), FILES);
  const [archive, random] = [join(directory, 'archive.tar'), join(directory, 'random')];
  writeFileSync(random, patternBytes(RANDOM_BYTES));
  const packed = await runTool('tar', ['cf', archive, '--format=posix', '-C', directory, 'source']);
  t.equal(packed.status, 0, packed.stderr);

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
    point,
  });

  for (const [name, script] of Object.entries(writeSteps({ archive, random }))) {
    for (const where of [plain, point]) {
      const { status, stderr } = await runTool('bash', ['-c', `cd ${where} && ${script}`]);
      t.equal(status, 0, `${name} in ${where}: ${stderr}`);
    }
  }
  const list = async (where: string) => {
    const { status, stdout, stderr } = await runTool('bash', ['-c', `cd ${where} && ${listing(NO_LINKS)}`]);
    t.equal(status, 0, stderr);
    return stdout.toString('latin1').split('\n');
  };
  const expected = await list(plain);
  t.ok(expected.length > 2 * FILES);
  t.same(await list(point), expected, 'the mount is as the plain directory');
  t.same(await mount.stop(), { status: 0, signal: null });
  t.same(await list(tree), expected, 'and the server’s disk');

  captured = true;
  const result = await capture.stop();
  t.teardown(result.remove);
  t.same(result.malformed, [], 'nothing malformed');
  t.same(result.undecoded, [], 'nothing undecoded');
  t.same(await result.matching(`(${FAILED_REPLIES}) && ${NOT_OURS}`), [], 'nothing failed or was sent twice');
  t.ok(result.rpcPackets > FILES, `${result.rpcPackets} RPC packets`);
});
