/** libnfs' tools read our exports, and tshark finds nothing wrong in what both say. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory, makeNames, makeTree, patternBytes, sha256 } from '../support/trees.ts';
import { nfsUrl, runTool, skipWithout, startCapture } from './peers.ts';

const NAMES = 2_000;
/** Several READs, and not a multiple of their size. */
const LARGE = patternBytes(9 * 1024 * 1024 + 13);

const skip = skipWithout(['libnfs', 'tshark']) || skipWithoutBuild();

t.test('nfs-ls, nfs-cat and nfs-cp', { skip }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    'hello.txt': 'hello, libnfs\n',
    empty: '',
    large: LARGE,
    'two words': 'two words\n',
    ünïcode: 'ünïcode\n',
    'sub/deep/bottom': 'bottom\n',
    secret: { file: 'secret\n', mode: 0o600 },
    link: { link: 'hello.txt' },
    sticky: { directory: true, mode: 0o1777 },
  });
  const names = makeNames(join(tree, 'many'), NAMES);
  const server = await startServer(t, { directory, exports: [`tree=${tree},ro`] });
  const capture = await startCapture({ interface: 'lo', ports: [server.port] });
  let captured = false;
  t.teardown(async () => {
    if (!captured) (await capture.stop()).remove();
  });
  const url = (path: string) => nfsUrl('127.0.0.1', server.port, server.port, path);
  const cat = (path: string) => runTool('nfs-cat', [url(path)]);

  await t.test('nfs-ls -R lists every name with its size', async (t) => {
    const { status, stdout, stderr } = await runTool('nfs-ls', ['-R', url('/tree')]);
    t.equal(status, 0, stderr);
    const lines = stdout
      .toString()
      .split('\n')
      .filter((line) => line !== '');
    const listed = new Map(
      lines.map((line) => {
        const [, mode = '', size = '', name = ''] = /^(\S+) +\d+ +\d+ +\d+ +(\d+) (.*)$/.exec(line) ?? [];
        return [name, `${mode} ${size}`];
      }),
    );
    t.equal(listed.get('hello.txt'), '-rw-r--r-- 14');
    t.equal(listed.get('large'), `-rw-r--r-- ${LARGE.length}`);
    t.equal(listed.get('sub/deep/bottom'), '-rw-r--r-- 7');
    t.equal(listed.get('secret'), '-rw------- 7');
    t.match(listed.get('sticky'), /^drwxrwxrw[xtT] /);
    t.match(listed.get('link'), /^l/);
    t.ok(listed.has('two words') && listed.has('ünïcode'));
    const many = [...listed.keys()].filter((name) => name.startsWith('many/'));
    t.same(many.sort(), names.map((name) => `many/${name}`).sort());
  });

  await t.test('nfs-ls of a directory below the export', async (t) => {
    const { status, stdout } = await runTool('nfs-ls', [url('/tree/sub')]);
    t.equal(status, 0);
    t.match(stdout.toString(), /deep\n/);
    t.notMatch(stdout.toString(), /hello/);
  });

  await t.test('nfs-cat gives the bytes', async (t) => {
    for (const [path, text] of [
      ['hello.txt', 'hello, libnfs\n'],
      ['empty', ''],
      ['two words', 'two words\n'],
      ['ünïcode', 'ünïcode\n'],
      ['sub/deep/bottom', 'bottom\n'],
      ['link', 'hello, libnfs\n'],
    ] as const) {
      const { status, stdout, stderr } = await cat(`/tree/${path}`);
      t.equal(stdout.toString(), text, `${path} ${stderr}`);
      t.equal(status, 0, path);
    }
    t.equal(sha256((await cat('/tree/large')).stdout), sha256(LARGE), 'a large file');
  });

  await t.test('nfs-cp copies a file here, and none there', async (t) => {
    const copy = join(directory, 'copy');
    const { status, stderr } = await runTool('nfs-cp', [url('/tree/large'), copy]);
    t.equal(status, 0, stderr);
    t.equal(sha256(readFileSync(copy)), sha256(LARGE));
    const there = await runTool('nfs-cp', [copy, url('/tree/new')]);
    t.not(there.status, 0);
    t.match(there.stderr + there.stdout.toString(), /ROFS/);
  });

  await t.test('what is not there or not allowed is said so', async (t) => {
    const cases: [path: string, reason: RegExp][] = [
      ['/tree/nothing', /NOENT/],
      ['/tree/sub/nothing', /NOENT/],
      ['/none/file', /NOENT/],
      ['/tree/secret', /ACCES/],
      ['/tree/hello.txt/below', /NOTDIR/],
    ];
    for (const [path, reason] of cases) {
      const { status, stdout, stderr } = await cat(path);
      t.not(status, 0, path);
      t.match(stderr + stdout.toString(), reason, path);
    }
    chmodSync(join(tree, 'secret'), 0o644);
    t.equal((await cat('/tree/secret')).stdout.toString(), 'secret\n', 'allowed at once');
  });

  await t.test('a file that changed on the server', async (t) => {
    writeFileSync(join(tree, 'hello.txt'), 'changed\n');
    t.equal((await cat('/tree/hello.txt')).stdout.toString(), 'changed\n');
  });

  captured = true;
  const result = await capture.stop();
  t.teardown(result.remove);
  t.same(result.malformed, [], 'nothing malformed');
  t.same(result.undecoded, [], 'nothing undecoded');
  t.ok(result.rpcPackets > 100, `${result.rpcPackets} RPC packets`);
});
