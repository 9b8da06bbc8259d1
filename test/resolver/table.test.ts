import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import t from 'tap';
import type { Test } from 'tap';
import { APPLICATION_ID, SCHEMA_VERSION } from '../../src/resolver/schema.ts';
import { TableError } from '../../src/resolver/table-error.ts';
import type { TableErrorCode } from '../../src/resolver/table-error.ts';
import { ColocationTable } from '../../src/resolver/table.ts';
import type { OpenTableOptions } from '../../src/resolver/table.ts';
import { idNumber, keyNumber, serverEntry } from './entries.ts';

const isRoot = process.getuid?.() === 0;
const sqliteModule = createRequire(import.meta.url).resolve('better-sqlite3');

/** The TableError a call ends with; it must be one line that names the file. */
function failure(t: Test, body: () => unknown): TableError {
  try {
    body();
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    t.notMatch(error.message, /\n/, 'one line');
    t.ok(error.message.includes(error.file), 'names the file');
    return error;
  }
  throw new Error('the call did not fail');
}

function refused(
  t: Test,
  file: string,
  code: TableErrorCode,
  why: RegExp,
  options: OpenTableOptions = {},
): void {
  const error = failure(t, () => ColocationTable.open(file, options));
  t.equal(error.code, code, error.message);
  t.match(error.message, why);
}

function filled(file: string): ColocationTable {
  const table = ColocationTable.open(file, { create: true });
  table.enterServer(serverEntry(1));
  return table;
}

/** Changes the file as another program might, without any of our checks. */
function tamper(file: string, sql: string): void {
  const db = new Database(file);
  db.pragma('foreign_keys = OFF');
  db.exec(sql);
  db.close();
}

t.test('a new table is recognisable, and has a rollback journal', async (t) => {
  const dir = t.testdir();
  const file = `${dir}/made/for/it/table.db`;
  filled(file).close();
  const db = new Database(file, { readonly: true });
  t.equal(db.pragma('application_id', { simple: true }), APPLICATION_ID);
  t.equal(db.pragma('user_version', { simple: true }), SCHEMA_VERSION);
  t.equal(db.pragma('journal_mode', { simple: true }), 'delete');
  db.close();
  t.same(readdirSync(`${dir}/made/for/it`), ['table.db'], 'nothing beside it');
});

t.test('what is entered is found', async (t) => {
  using table = ColocationTable.open(`${t.testdir()}/t.db`, { create: true });
  t.same(table.list(), { nodes: [], servers: [] });
  t.equal(table.find('doc'), undefined);
  t.same(
    table.enterServer(serverEntry(1, { exports: [{ name: 'doc' }, { name: 'img', path: '/pool/img' }] })),
    [],
  );
  const server = {
    id: idNumber(1),
    name: 'server-1',
    publicKey: keyNumber(1),
    node: { bootId: 'boot-1', name: 'node-1', cluster: 'rack', seenAtMs: 1001 },
    endpoints: [
      { route: 'backplane', address: '10.1.0.1:2049', priority: 0 },
      { route: 'near', address: '/run/nearmount-1.sock', priority: 0 },
      { route: 'network', address: '192.0.2.1:2049', priority: 0 },
    ],
    exports: [
      { name: 'doc', path: '/doc' },
      { name: 'img', path: '/pool/img' },
    ],
  };
  t.strictSame(table.find('img'), { name: 'img', path: '/pool/img', server });
  t.strictSame(table.list(), { nodes: [server.node], servers: [server] });
  t.strictSame(table.exportNames(1), ['doc']);
  t.strictSame(table.serverIdsNamed('server-1'), [idNumber(1)]);
});

t.test('entering again replaces, and the old boot id goes with its last server', async (t) => {
  using table = ColocationTable.open(`${t.testdir()}/t.db`, { create: true });
  table.enterServer(serverEntry(1));
  table.enterServer(serverEntry(2, { node: { bootId: 'boot-1', name: 'node-1' }, exports: [] }));
  t.equal(table.node('boot-1')?.cluster, 'rack', 'a cluster stays when none is given');
  const again = { endpoints: [{ route: 'network' as const, address: 'host:1' }], exports: [{ name: 'new' }] };
  table.enterServer(
    serverEntry(1, { ...again, node: { bootId: 'boot-9', name: 'node-1', cluster: 'other' } }),
  );
  t.equal(table.find('doc'), undefined);
  t.same(table.find('new')?.server.endpoints, [{ route: 'network', address: 'host:1', priority: 0 }]);
  t.ok(table.node('boot-1'), 'server 2 is still there');
  table.enterServer(serverEntry(2, { node: { bootId: 'boot-9', name: 'node-1' }, exports: [] }));
  t.equal(table.node('boot-1'), undefined);
});

t.test('an export moves to the server that entered it last', async (t) => {
  using table = filled(`${t.testdir()}/t.db`);
  t.strictSame(table.enterServer(serverEntry(2)), [
    { name: 'doc', serverId: idNumber(1), serverName: 'server-1' },
  ]);
  t.equal(table.find('doc')?.server.id, idNumber(2));
  t.same(
    table.list().servers.map((server) => server.exports.length),
    [0, 1],
  );
});

t.test('removing', async (t) => {
  const file = `${t.testdir()}/t.db`;
  using table = filled(file);
  t.equal(table.removeExport('doc'), true);
  t.equal(table.removeExport('doc'), false);
  t.equal(table.removeServer(idNumber(1)), true);
  t.equal(table.removeServer(idNumber(1)), false);
  t.ok(table.node('boot-1'), 'the node stays');
  table.enterServer(serverEntry(1));
  t.equal(table.removeNode('boot-1'), true);
  t.equal(table.removeNode('boot-1'), false);
  t.same(table.list(), { nodes: [], servers: [] });
  const db = new Database(file, { readonly: true });
  for (const name of ['clusters', 'nodes', 'servers', 'endpoints', 'exports']) {
    t.same(db.prepare(`SELECT * FROM ${name}`).all(), [], name);
  }
  db.close();
});

t.test('a wrong entry is refused, and leaves nothing behind', async (t) => {
  using table = filled(`${t.testdir()}/t.db`);
  const before = table.list();
  const wrong: [Parameters<typeof serverEntry>[1], RegExp][] = [
    [{ id: 'ABC' }, /id: is not 32/],
    [{ publicKey: 'AAAA' }, /publicKey: is not an Ed25519/],
    [{ publicKey: keyNumber(1).slice(0, -1) }, /publicKey: is not/],
    [{ name: ' ' }, /name: is empty/],
    [{ name: 'a\u001b[2J' }, /name: contains control/],
    [{ name: 'é'.repeat(128) }, /name: is longer than 255 bytes/],
    [{ node: { bootId: 'a b', name: 'x' } }, /node\.bootId: must be printable/],
    [{ endpoints: [{ route: 'near', address: 'x.sock' }] }, /endpoints\[0\]\.address: .*not an absolute/],
    [{ endpoints: [{ route: 'network', address: '0.0.0.0:1' }] }, /endpoints\[0\]\.address: .*to listen on/],
    [{ endpoints: [{ route: 'network', address: 'h:0' }] }, /endpoints\[0\]\.address: .*port 0/],
    [{ endpoints: [{ route: 'network', address: 'h:1', priority: -1 }] }, /endpoints\[0\]\.priority/],
    [{ exports: [{ name: 'a/b' }] }, /exports\[0\]\.name: must not contain/],
    [{ exports: [{ name: '..' }] }, /exports\[0\]\.name: must not be/],
    [{ exports: [{ name: 'a', path: 'b' }] }, /exports\[0\]\.path: is not an absolute/],
  ];
  for (const [changes, why] of wrong) {
    const error = failure(t, () => table.enterServer(serverEntry(1, changes)));
    t.equal(error.code, 'bad-entry');
    t.match(error.message, why);
  }
  t.same(table.list(), before);
});

t.test('import is all or none', async (t) => {
  const dir = t.testdir();
  using table = filled(`${dir}/t.db`);
  using other = ColocationTable.open(`${dir}/other.db`, { create: true });
  const nodes = [{ bootId: 'spare', name: 'spare', cluster: 'rack' }];
  other.enterServer(serverEntry(2));
  const { servers } = other.list();
  t.same(table.importEntries({ nodes, servers }), [
    { name: 'doc', serverId: idNumber(1), serverName: 'server-1' },
  ]);
  t.same(
    table.list().nodes.map((node) => node.bootId),
    ['boot-1', 'boot-2', 'spare'],
  );
  const [server] = servers;
  if (server === undefined) throw new Error('one was entered');
  const endpoints = [{ route: 'near', address: null, priority: 0 }] as unknown as typeof server.endpoints;
  t.throws(() =>
    table.importEntries({ nodes: [], servers: [server, { ...server, endpoints }] }, { replace: true }),
  );
  t.equal(table.list().nodes.length, 3, 'the failed import changed nothing');
  t.same(table.importEntries({ nodes: [], servers }, { replace: true }), []);
  t.same(table.list(), { nodes: [server.node], servers });
});

t.test('what is no colocation table is refused', async (t) => {
  const dir = t.testdir({ dir: {}, 'random.db': randomBytes(8192), 'empty.db': '', file: '' });
  refused(t, `${dir}/missing.db`, 'missing', /does not exist; start `nearmount serve`/);
  refused(t, `${dir}/no/missing.db`, 'missing', /does not exist/, { readOnly: true });
  refused(t, `${dir}/missing.db`, 'missing', /does not exist/, { readOnly: true, create: true });
  refused(t, `${dir}/file/t.db`, 'unreadable', /EEXIST|ENOTDIR/, { create: true });
  refused(t, `${dir}/dir`, 'foreign', /is a directory/);
  refused(t, `${dir}/random.db`, 'corrupt', /is not an SQLite database; move it away/);
  refused(t, `${dir}/random.db`, 'corrupt', /is not an SQLite database/, { create: true });
  refused(t, `${dir}/empty.db`, 'missing', /is empty/, { readOnly: true });
  t.notOk(existsSync(`${dir}/missing.db`), 'none is made by asking');

  tamper(`${dir}/foreign.db`, 'CREATE TABLE songs (title TEXT)');
  const foreign = readFileSync(`${dir}/foreign.db`);
  refused(t, `${dir}/foreign.db`, 'foreign', /another program's SQLite database/, { create: true });
  t.ok(readFileSync(`${dir}/foreign.db`).equals(foreign), 'a foreign file is left as it is');

  filled(`${dir}/newer.db`).close();
  tamper(`${dir}/newer.db`, `PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  refused(t, `${dir}/newer.db`, 'newer', /layout version is 2, and this nearmount knows 1/);
  tamper(`${dir}/newer.db`, 'PRAGMA user_version = 0');
  refused(t, `${dir}/newer.db`, 'corrupt', /layout version is 0/);
});

t.test('an empty file becomes a table', async (t) => {
  using table = filled(`${t.testdir({ 't.db': '' })}/t.db`);
  t.equal(table.list().servers.length, 1);
});

t.test('a damaged table is refused', async (t) => {
  const dir = t.testdir();
  const size = (() => {
    filled(`${dir}/whole.db`).close();
    return readFileSync(`${dir}/whole.db`).length;
  })();
  // From one page and a bit to one byte short: whatever the cut hits, it is said and nothing crashes.
  for (const bytes of [4096 + 100, size / 2, size - 4096, size - 100]) {
    const file = `${dir}/cut-${bytes}.db`;
    writeFileSync(file, readFileSync(`${dir}/whole.db`));
    truncateSync(file, bytes);
    const error = failure(t, () => {
      using table = ColocationTable.open(file, { readOnly: true });
      table.list();
    });
    t.equal(error.code, 'corrupt', error.message);
  }
  tamper(`${dir}/whole.db`, 'DROP TABLE exports');
  using table = ColocationTable.open(`${dir}/whole.db`);
  t.match(
    failure(t, () => table.find('doc')),
    { code: 'corrupt', message: /no such table: exports/ },
  );
});

t.test('wrong rows are named', async (t) => {
  const wrong: [string, string, RegExp][] = [
    ["UPDATE servers SET public_key = 'x'", 'doc', /servers with id="0{31}1" is wrong: publicKey: is not/],
    ["UPDATE servers SET name = char(27) || '[2J'", 'doc', /servers with id=.*name: contains control/],
    ["UPDATE nodes SET name = ''", 'doc', /nodes with boot_id="boot-1" is wrong: name: is empty/],
    ['UPDATE nodes SET seen_at_ms = 9223372036854775807', 'doc', /nodes with .*seenAtMs/],
    ["UPDATE endpoints SET route = 'carrier pigeon'", 'doc', /endpoints with server_id=.*route/],
    ["UPDATE endpoints SET address = '0.0.0.0:1'", 'doc', /endpoints with .*address="0\.0\.0\.0:1" is wrong/],
    ["UPDATE exports SET path = 'doc'", 'doc', /exports with name="doc" is wrong: path: is not/],
    ["UPDATE exports SET server_id = 'nobody'", 'doc', /exports with name="doc" is wrong: serverId/],
    ['DELETE FROM servers', 'doc', /exports with name="doc" is wrong: there is no server/],
    ['DELETE FROM nodes', 'doc', /servers with id=.* is wrong: there is no node "boot-1"/],
    [`UPDATE exports SET path = '${'x'.repeat(5000)}'`, 'doc', /path: is longer than 1024/],
  ];
  const dir = t.testdir();
  for (const [index, [sql, name, why]] of wrong.entries()) {
    const file = `${dir}/${index}.db`;
    filled(file).close();
    tamper(file, sql.startsWith('UPDATE endpoints') ? `${sql} WHERE route = 'network'` : sql);
    using table = ColocationTable.open(file);
    const error = failure(t, () => table.find(name));
    t.equal(error.code, 'bad-row');
    t.match(error.message, why);
    table.enterServer(serverEntry(1));
    t.ok(table.find(name), 'entering the server again repairs it');
  }
});

t.test("another server's wrong row does not matter", async (t) => {
  const file = `${t.testdir()}/t.db`;
  using table = filled(file);
  table.enterServer(serverEntry(2, { exports: [{ name: 'img' }] }));
  tamper(file, "UPDATE servers SET public_key = 'x' WHERE name = 'server-2'");
  t.ok(table.find('doc'));
  t.match(
    failure(t, () => table.list()),
    { code: 'bad-row' },
  );
  t.ok(table.removeServer(idNumber(2)), 'and it can be removed');
  t.equal(table.list().servers.length, 1);
});

t.test('an unreadable table', { skip: !isRoot && 'needs root to become somebody else' }, async (t) => {
  const dir = t.testdir({ shut: {} });
  filled(`${dir}/shut/t.db`).close();
  // Only the effective uid changes, and only for these synchronous calls.
  const asNobody = (body: () => unknown): void => {
    process.seteuid?.(65534);
    try {
      body();
    } finally {
      process.seteuid?.(0);
    }
  };
  spawnSync('chmod', ['600', `${dir}/shut/t.db`]);
  asNobody(() => {
    refused(t, `${dir}/shut/t.db`, 'unreadable', /may not read it \(EACCES\)/);
  });
  spawnSync('chmod', ['700', `${dir}/shut`]);
  asNobody(() => {
    refused(t, `${dir}/shut/t.db`, 'unreadable', /may not read it \(EACCES\)/, { readOnly: true });
  });
});

t.test('a read-only mount of the directory', { skip: !isRoot && 'needs root to mount' }, async (t) => {
  const dir = t.testdir();
  filled(`${dir}/t.db`).close();
  const script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';
  const reader = fileURLToPath(new URL('read-table.ts', import.meta.url));
  const command = [dir, process.execPath, ...process.execArgv, reader, `${dir}/t.db`];
  const read = (): unknown => {
    const child = spawnSync('unshare', ['-m', 'sh', '-c', script, ...command], { encoding: 'utf8' });
    t.equal(child.stderr, '');
    return JSON.parse(child.stdout);
  };
  t.same(read(), { server: 'server-1', refusal: 'read-only' });
  tamper(`${dir}/t.db`, 'PRAGMA journal_mode = WAL');
  t.match(read(), { failure: /switched it to write-ahead logging/ });
});

t.test('a lock held by another process is waited for, then reported', async (t) => {
  const file = `${t.testdir()}/t.db`;
  filled(file).close();
  using table = ColocationTable.open(file, { busyTimeoutMs: 1 });
  const script = `const db = require(process.argv[1])(process.argv[2]); db.exec('BEGIN EXCLUSIVE');
    process.stdout.write('locked'); process.stdin.on('end', () => { db.exec('COMMIT'); db.close(); }).resume();`;
  const holder = spawn(process.execPath, ['-e', script, sqliteModule, file], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  refused(t, file, 'locked', /locked for more than 1 ms; try again/, { busyTimeoutMs: 1 });
  refused(t, file, 'locked', /locked for more than 1 ms/, { busyTimeoutMs: 1, readOnly: true });
  t.match(failure(t, () => table.find('doc')).message, 'locked for more than 1 ms');
  holder.stdin.end();
  await once(holder, 'exit');
  t.ok(table.find('doc'), 'the open table goes on');
});

t.test('the half change of a killed writer is taken back', async (t) => {
  const file = `${t.testdir()}/t.db`;
  filled(file).close();
  // A cache of two pages makes SQLite write into the file before the commit.
  const script = `const db = require(process.argv[1])(process.argv[2]); db.pragma('cache_size = 2');
    db.exec("BEGIN IMMEDIATE; DELETE FROM exports");
    const add = db.prepare('INSERT INTO clusters VALUES (?)');
    for (let n = 0; n < 200; n++) add.run(String(n).repeat(1000));
    process.kill(process.pid, 'SIGKILL');`;
  const child = spawnSync(process.execPath, ['-e', script, sqliteModule, file]);
  t.equal(child.signal, 'SIGKILL');
  t.ok(existsSync(`${file}-journal`), 'its journal is left');
  using table = ColocationTable.open(file, { readOnly: true });
  t.equal(table.find('doc')?.server.name, 'server-1');
  t.notOk(existsSync(`${file}-journal`));
});

t.test('write-ahead logging is switched off again by the next writer', async (t) => {
  const file = `${t.testdir()}/t.db`;
  filled(file).close();
  tamper(file, 'PRAGMA journal_mode = WAL');
  ColocationTable.open(file).close();
  const db = new Database(file, { readonly: true });
  t.equal(db.pragma('journal_mode', { simple: true }), 'delete');
  db.close();
});
