import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import t from 'tap';
import { colocationCommand } from '../../src/cli/colocation.ts';
import { CliError } from '../../src/cli/errors.ts';
import { hereIdentity } from '../../src/resolver/node-identity.ts';
import { serverIdOfKey } from '../../src/resolver/schema.ts';

const KEY = Buffer.alloc(32, 7).toString('base64');
const OTHER_KEY = Buffer.alloc(32, 8).toString('base64');

delete process.env.NEARMOUNT_COLOCATION;
delete process.env.NEARMOUNT_CLUSTER;

interface Outcome {
  out: string;
  err: string;
  /** What main would make of it. */
  status: number;
  message: string;
}

/** Runs the command as main does: commander's exits become exceptions. */
async function run(...words: string[]): Promise<Outcome> {
  const outcome = { out: '', err: '', status: 0, message: '' };
  const out = { write: (text: string) => (outcome.out += text) };
  const err = { write: (text: string) => (outcome.err += text) };
  const command = colocationCommand({ out, err });
  for (const each of [command, ...command.commands]) {
    each.exitOverride().configureOutput({ writeOut: out.write, writeErr: err.write });
  }
  try {
    await command.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CliError || error instanceof CommanderError)) throw error;
    outcome.status = error instanceof CliError ? error.exitStatus : error.exitCode === 0 ? 0 : 2;
    outcome.message = error.message;
  }
  return outcome;
}

t.test('a server is added, listed, resolved and removed', async (t) => {
  // Not t.testdir: a socket path has at most 107 bytes.
  const dir = mkdtempSync(join(tmpdir(), 'colocation-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  const socket = `${dir}/s`;
  const listener = createServer().listen(socket);
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  const table = ['--colocation', `${dir}/new/t.db`];
  const exports = ['--export', 'doc', '--export', 'img=/pool/img'];
  const network = ['--network', '[fd00::1]:2049', '--network', 'host:2049'];
  const added = await run(
    'add',
    '--server',
    'one',
    '--public-key',
    KEY,
    ...exports,
    '--near',
    socket,
    ...network,
    ...table,
  );
  t.same(added, { out: '', err: '', status: 0, message: '' });

  const listed = await run('list', ...table);
  const rows = listed.out
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  const routes = `near ${socket}, network [fd00::1]:2049, network host:2049`;
  t.same(rows, [
    ['EXPORT', 'PATH', 'SERVER', 'NODE', 'CLUSTER', 'ROUTES'],
    ['doc', '/doc', 'one', hostname(), '-', routes],
    ['img', '/pool/img', 'one', hostname(), '-', routes],
  ]);

  const resolved = await run('resolve', 'img', ...table);
  t.equal(resolved.status, 0);
  t.same(
    resolved.out
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/)),
    [
      ['ROUTE', 'ADDRESS', 'USABLE', 'WHY'],
      ['near', socket, 'yes', 'server runs on this node (boot id matches)'],
      ['network', '[fd00::1]:2049', 'yes', 'the network reaches the server from any node'],
      ['network', 'host:2049', 'yes', 'the network reaches the server from any node'],
    ],
  );
  const json = await run('resolve', 'img', '--json', ...table);
  t.match(JSON.parse(json.out), {
    source: 'img',
    routes: [
      { route: 'near', endpoint: socket, exportPath: '/pool/img', usable: true, server: { name: 'one' } },
      {},
      {},
    ],
  });

  t.equal((await run('remove', '--export', 'img', ...table)).status, 0);
  t.match(await run('remove', '--export', 'img', ...table), { status: 1, message: /lists no export "img"$/ });
  t.equal((await run('remove', '--server', 'one', ...table)).status, 0);
  t.match(await run('resolve', 'doc', ...table), {
    status: 1,
    message: /cannot find "doc" in the colocation table/,
  });
  t.match(await run('list', ...table), { out: new RegExp(`-  +-  +-  +${hostname()}  +-  +-\n$`) });
  t.equal((await run('remove', '--node', hereIdentity().nodeId, ...table)).status, 0);
  t.equal((await run('list', ...table)).out.split('\n').length, 2, 'only the heading');
});

t.test('no route usable here is a failure that still prints the reasons', async (t) => {
  const table = ['--colocation', `${t.testdir()}/t.db`];
  const where = ['--node', 'blade-1', '--cluster', 'rack', '--near', '/run/x', '--backplane', '10.1.0.1:1'];
  await run('add', '--server', 's', '--public-key', KEY, '--export', 'doc', ...where, ...table);
  const resolved = await run('resolve', 'doc', ...table);
  t.match(resolved, { status: 1, message: 'no route to "doc" is usable here' });
  t.match(resolved.out, /near +\/run\/x +no +server's node is another one/);
  t.match(resolved.out, /backplane +10\.1\.0\.1:1 +no +this node is in no cluster/);
  t.match(await run('resolve', 'doc', '--cluster', 'rack', ...table), {
    status: 0,
    out: /10\.1\.0\.1:1 +yes/,
  });
  t.match(await run('resolve', 'doc', '--cluster', 'rack', '--route', 'near', ...table), { status: 1 });
  t.match(await run('resolve', 'doc', '--node', 'blade-1', ...table), {
    out: /socket \/run\/x does not exist/,
  });
  await run('add', '--server', 's', '--public-key', KEY, '--export', 'doc', ...table);
  t.match(await run('resolve', 'doc', ...table), { status: 1, message: /lists no endpoints/ });
});

t.test('the environment names table and cluster, of this node only', async (t) => {
  process.env.NEARMOUNT_COLOCATION = `${t.testdir()}/t.db`;
  process.env.NEARMOUNT_CLUSTER = 'rack';
  t.teardown(() => {
    delete process.env.NEARMOUNT_COLOCATION;
    delete process.env.NEARMOUNT_CLUSTER;
  });
  await run('add', '--server', 'a', '--public-key', KEY);
  await run('add', '--server', 'b', '--public-key', OTHER_KEY, '--node', 'elsewhere');
  const { servers } = JSON.parse((await run('list', '--json')).out) as { servers: { node: object }[] };
  t.same(
    servers.map(({ node }) => ({ ...node, seenAtMs: 0 })),
    [
      { bootId: hereIdentity().nodeId, name: hostname(), cluster: 'rack', seenAtMs: 0 },
      { bootId: 'elsewhere', name: 'elsewhere', seenAtMs: 0 },
    ],
  );
});

t.test('a list goes from one table to another', async (t) => {
  const dir = t.testdir();
  const [one, other] = [`${dir}/one.db`, `${dir}/other.db`];
  await run(
    'add',
    '--server',
    'a',
    '--public-key',
    KEY,
    '--export',
    'doc',
    '--network',
    'h:1',
    '--colocation',
    one,
  );
  await run('add', '--server', 'b', '--public-key', OTHER_KEY, '--export', 'doc', '--colocation', other);
  const { out } = await run('list', '--json', '--colocation', one);
  writeFileSync(`${dir}/list.json`, out);
  const imported = await run('import', `${dir}/list.json`, '--colocation', other);
  const owner = serverIdOfKey(OTHER_KEY);
  t.match(imported, {
    status: 0,
    err: `nearmount: export doc was listed for server b (${owner}) until now\n`,
  });
  await run('import', `${dir}/list.json`, '--replace', '--colocation', other);
  t.equal((await run('list', '--json', '--colocation', other)).out, out);

  writeFileSync(`${dir}/bad.json`, '[{}]');
  t.match(await run('import', `${dir}/bad.json`, '--colocation', other), {
    status: 1,
    message: /bad\.json: \[0\]\./,
  });
  t.match(await run('import', `${dir}/none.json`, '--colocation', other), { status: 1, message: /ENOENT/ });
});

t.test('servers of one name are told apart by their ids', async (t) => {
  const table = ['--colocation', `${t.testdir()}/t.db`];
  for (const key of [KEY, OTHER_KEY]) await run('add', '--server', 'twin', '--public-key', key, ...table);
  const refused = await run('remove', '--server', 'twin', ...table);
  t.match(refused, { status: 2, message: /several servers are named "twin"/ });
  t.ok(refused.message.includes(serverIdOfKey(KEY)));
  t.equal((await run('remove', '--server', serverIdOfKey(KEY), ...table)).status, 0);
  t.equal((await run('remove', '--server', 'twin', ...table)).status, 0);
});

t.test('servers named by their address need no table', async (t) => {
  const table = ['--colocation', `${t.testdir()}/none.db`];
  t.match(await run('resolve', 'nfs://host/doc', ...table), { status: 0, out: /network +host:2049 +yes/ });
  t.match(await run('resolve', 'ftp://host/doc', ...table), { status: 2, message: /"ftp" is not a scheme/ });
});

t.test('wrong calls are status 2, failures status 1', async (t) => {
  const dir = t.testdir();
  const table = ['--colocation', `${dir}/t.db`];
  const add = ['add', '--server', 's', '--public-key', KEY, ...table];
  for (const [words, what] of [
    [['add', ...table], /--server/],
    [['add', '--server', 's', '--public-key', 'short', ...table], /It is not an Ed25519 public key/],
    [[...add, '--id', 'XYZ'], /32 lower-case/],
    [[...add, '--export', 'a/b'], /name: must not contain/],
    [[...add, '--export', 'a=b'], /path: is not an absolute path/],
    [[...add, '--near', 'x'], /not an absolute socket path/],
    [[...add, '--network', 'host'], /has no port/],
    [[...add, '--backplane', '0.0.0.0:1'], /to listen on/],
    [[...add, '--node', 'a b'], /node id given is not valid/],
    [[...add, '--cluster', ''], /cluster given is not valid/],
    [[...add, '--node-name', ' '], /node\.name: is empty/],
    [['remove', ...table], /--server, --export or --node/],
    [['resolve', 'a', '--route', 'far', ...table], /near, backplane, network/],
    [['frobnicate'], /unknown command/],
  ] as [string[], RegExp][]) {
    t.match(await run(...words), { status: 2, message: what }, words.join(' '));
  }
  t.match(await run('list', '--colocation', `${dir}/none.db`), {
    status: 1,
    message: /none\.db: it does not exist/,
  });
  t.match(await run('remove', '--server', 'x', '--colocation', `${dir}/none.db`), { status: 1 });
});

t.test('help shows the defaults', async (t) => {
  t.notMatch((await run('add', '--help')).out, /\[\]/);
  t.match(await run('resolve', '--help'), {
    status: 0,
    out: /\/var\/lib\/nearmount-colocation\/table\.db.*NEARMOUNT_COLOCATION/s,
  });
});
