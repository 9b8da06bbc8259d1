/** libnfs' nfs-cp writes to our exports; what it wrote is there, and comes back the same. */
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory, makeTree, patternBytes, sha256 } from '../support/trees.ts';
import { nfsUrl, runTool, skipWithout, startCapture } from './peers.ts';

const skip = skipWithout(['libnfs', 'tshark']) || skipWithoutBuild();

t.test('nfs-cp there and back', { skip }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { 'shared/readme': 'for all\n' });
  chmodSync(join(tree, 'shared'), 0o777);
  const server = await startServer(t, { directory, exports: [`tree=${tree}`] });
  const capture = await startCapture({ interface: 'lo', ports: [server.port] });
  let captured = false;
  t.teardown(async () => {
    if (!captured) (await capture.stop()).remove();
  });
  const url = (path: string) => nfsUrl('127.0.0.1', server.port, server.port, path);
  for (const length of [0, 1, 4096, 1024 * 1024, 9 * 1024 * 1024 + 13]) {
    const contents = patternBytes(length, length);
    const here = join(directory, `here-${length}`);
    const back = join(directory, `back-${length}`);
    writeFileSync(here, contents);
    const there = await runTool('nfs-cp', [here, url(`/tree/shared/file-${length}`)]);
    t.equal(there.status, 0, there.stderr);
    t.equal(statSync(join(tree, 'shared', `file-${length}`)).size, length);
    t.equal(
      sha256(readFileSync(join(tree, 'shared', `file-${length}`))),
      sha256(contents),
      `${length} bytes`,
    );
    const copied = await runTool('nfs-cp', [url(`/tree/shared/file-${length}`), back]);
    t.equal(copied.status, 0, copied.stderr);
    t.equal(sha256(readFileSync(back)), sha256(contents), `${length} bytes back`);
  }
  captured = true;
  const result = await capture.stop();
  t.teardown(result.remove);
  t.same(result.malformed, [], 'nothing malformed');
  t.same(result.undecoded, [], 'nothing undecoded');
});
