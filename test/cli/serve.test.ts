/** `nearmount serve` called wrongly: one line that says what, why and what to do, and nothing left behind. */
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import {
  MAIN,
  inLanes,
  notForOtherUsers,
  plainNode,
  runCli,
  runTool,
  type ToolResult,
} from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

/** One line on stderr, in the program's name, and the exit status. */
function isOneLine({ stderr }: ToolResult): boolean {
  return /^nearmount: [^\n]+\n$/.test(stderr);
}

t.test('what is wrong is said in one line', async (t) => {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(tree);
  writeFileSync(join(top, 'file'), '');
  const busy = createServer().listen(0, '127.0.0.1');
  await once(busy, 'listening');
  t.teardown(() => busy.close());
  const { port } = busy.address() as AddressInfo;
  const socket = join(top, 's');
  const state = ['--state', join(top, 'state')];
  const good = ['--export', `tree=${tree}`, ...state];
  const listen = ['--listen', '127.0.0.1:0'];

  const cases: readonly (readonly [string, readonly string[], 1 | 2, RegExp])[] = [
    ['no export', [...state, ...listen], 2, /--export/],
    ['nowhere to listen', good, 2, /--listen, --backplane or --socket/],
    ['a port in use', [...good, '--listen', `127.0.0.1:${port}`], 1, /127\.0\.0\.1:\d+.*EADDRINUSE.*another/],
    ['a foreign address', [...good, '--listen', '192.0.2.1:2049'], 1, /192\.0\.2\.1:2049.*no such address/],
    ['an address without port', [...good, '--listen', '127.0.0.1'], 2, /127\.0\.0\.1/],
    ['a port that is none', [...good, '--listen', '127.0.0.1:99999'], 2, /99999/],
    [
      'a socket in a missing directory',
      [...good, '--socket', join(top, 'no/s')],
      1,
      /no\/s.*ENOENT.*make it/,
    ],
    [
      'a socket path that is too long',
      [...good, '--socket', join(top, 'x'.repeat(120))],
      2,
      /107|bytes|long/,
    ],
    ['a socket path that is a file', [...good, '--socket', join(top, 'file')], 1, /file/],
    [
      'a missing directory',
      ['--export', `tree=${top}/no`, ...state, ...listen],
      1,
      /\/no as tree.*not exist/,
    ],
    [
      'a file exported',
      ['--export', `tree=${top}/file`, ...state, ...listen],
      1,
      /file as tree.*not a directory/,
    ],
    ['an export without directory', ['--export', 'tree', ...state, ...listen], 2, /tree/],
    ['an empty export name', ['--export', `=${tree}`, ...state, ...listen], 2, /name/],
    [
      'a relative directory',
      ['--export', 'tree=relative', ...state, ...listen],
      1,
      /relative as tree.*not exist/,
    ],
    ['an unknown export option', ['--export', `tree=${tree},colour=red`, ...state, ...listen], 2, /colour/],
    ['a wrong squash', ['--export', `tree=${tree},squash=some`, ...state, ...listen], 2, /some/],
    [
      'a wrong network',
      ['--export', `tree=${tree},clients=10.0.0.0/99`, ...state, ...listen],
      2,
      /10\.0\.0\.0\/99/,
    ],
    ['the same name twice', [...good, '--export', `tree=${top}`, ...listen], 1, /'tree' is given twice/],
    [
      'state that is a file',
      ['--export', `tree=${tree}`, '--state', join(top, 'file'), ...listen],
      1,
      /--state/,
    ],
    ['an unknown option', [...good, ...listen, '--colour'], 2, /--colour/],
    ['a wrong log level', [...good, ...listen, '--log-level', 'loud'], 2, /loud/],
  ];
  await inLanes(cases, async ([what, args, status, message]) => {
    const result = await runCli(['serve', ...args]);
    t.equal(result.status, status, `${what}: exit status`);
    t.ok(isOneLine(result), `${what}: one line: ${result.stderr}`);
    t.match(result.stderr, message, what);
  });

  writeFileSync(join(top, 'table.db'), 'no database at all, but some text that is long enough to look at');
  const table = await runCli(['serve', ...good, '--socket', socket, '--colocation', join(top, 'table.db')]);
  t.equal(table.status, 1);
  t.match(table.stderr, /nearmount: .*table\.db.*/);
  t.notOk(existsSync(socket), 'nothing is left of the socket');
  t.notOk(existsSync(`${socket}.channel`));
});

t.test('state that cannot be written', { skip: notForOtherUsers }, async (t) => {
  const top = makeDirectory(t);
  const state = join(top, 'state');
  mkdirSync(state);
  chmodSync(state, 0o755);
  const [program, args] = plainNode(
    MAIN,
    'serve',
    '--export',
    'tree=/usr/share',
    '--state',
    state,
    '--listen',
    '127.0.0.1:0',
  );
  const result = await runTool('setpriv', ['--reuid', '65534', '--clear-groups', program, ...args]);
  t.equal(result.status, 1);
  t.ok(isOneLine(result), result.stderr);
  t.match(result.stderr, /EACCES.*--state/);
});

t.test('two servers cannot share a socket', async (t) => {
  const top = makeDirectory(t);
  const server = await startServer(t, { directory: top, exports: ['tree=/usr/share'] });
  const args = ['--export', 'tree=/usr/share', '--state', join(top, 'other'), '--socket', server.socket];
  const second = await runCli(['serve', ...args]);
  t.equal(second.status, 1);
  t.ok(isOneLine(second), second.stderr);
  t.match(second.stderr, /EADDRINUSE/);
  t.ok(existsSync(server.socket), 'the first one keeps it');
  t.ok(existsSync(`${server.socket}.channel`));
});

t.test('the ready line', async (t) => {
  const top = makeDirectory(t);
  const server = await startServer(t, { directory: top, exports: [`tree=${top}`] });
  t.ok(server.port > 0);
  t.match(server.id, /^[0-9a-f]{32}$/);
  t.same(await server.stop(), { status: 0, signal: null }, 'SIGTERM is a normal end');
  t.notOk(existsSync(server.socket), 'the socket goes with it');
  t.notOk(existsSync(`${server.socket}.channel`));
});

t.test('commands', async (t) => {
  for (const [args, status, message] of [
    [['frobnicate'], 2, /unknown command 'frobnicate'/],
    [['serve', 'extra', '--export', 'a=/usr'], 2, /too many arguments|argument/],
  ] as const) {
    const result = await runCli(args);
    t.equal(result.status, status);
    t.ok(isOneLine(result), result.stderr);
    t.match(result.stderr, message);
  }
  for (const args of [
    ['--help'],
    ['serve', '--help'],
    ['mount', '--help'],
    ['status', '--help'],
    ['--version'],
  ]) {
    const result = await runCli(args);
    t.equal(result.status, 0, args.join(' '));
    t.equal(result.stderr, '');
    t.not(result.stdout.length, 0);
  }
});
