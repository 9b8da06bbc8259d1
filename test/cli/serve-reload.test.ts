/** SIGHUP: `serve --config` takes over the exports of its file while connections go on. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { ColocationTable } from '../../src/resolver/table.ts';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, notPrivileged, statusOf } from '../server/serving.ts';

/** How often the log is looked at, and for how long in all, in milliseconds. */
const POLL_MS = 20;
const POLL_LIMIT_MS = 10_000;
const skip = skipWithoutBuild();

async function prepare(t: Parameters<typeof makeDirectory>[0] & Parameters<typeof TestClient.connect>[0]) {
  const top = makeDirectory(t);
  for (const tree of ['one', 'two']) makeTree(join(top, tree), { file: `in ${tree}` });
  const file = join(top, 'serve.yaml');
  const write = (text: string): void => {
    writeFileSync(file, text);
  };
  write(`exports:\n  - { name: one, directory: one }\n`);
  const server = await startServer(t, {
    directory: top,
    exports: [],
    args: ['--config', file],
  });
  const client = await TestClient.connect(t, { kind: 'tcp', host: '127.0.0.1', port: server.port });
  /** Sends SIGHUP and waits for the log to say what became of it. */
  const hangUp = async (said: RegExp): Promise<string> => {
    const before = server.log().length;
    process.kill(server.pid, 'SIGHUP');
    const end = performance.now() + POLL_LIMIT_MS;
    for (;;) {
      const log = server.log().slice(before);
      if (said.test(log)) return log;
      if (performance.now() > end) throw new Error(`not said: ${said}\n${log}`);
      await delay(POLL_MS);
    }
  };
  const look = async (handle: Uint8Array): Promise<string> =>
    statusOf(await client.nfs('GETATTR', { object: { data: handle } }));
  const listed = (): string[] => {
    using table = ColocationTable.open(server.table, { readOnly: true });
    return table.list().servers.flatMap((entry) => entry.exports.map(({ name }) => name));
  };
  return { top, file, write, server, client, hangUp, look, listed };
}

t.test('exports come and go under open connections', { skip }, async (t) => {
  const { top, write, client, hangUp, look, listed } = await prepare(t);
  const one = await client.root('/one');
  const file = await client.find(one, 'file');
  t.same(listed(), ['one']);

  write('exports:\n  - { name: one, directory: one }\n  - { name: two, directory: two }\n');
  t.match(await hangUp(/read again/), /"added":\["two"\],"removed":\[\],"changed":\[\]/);
  const two = await client.root('/two');
  t.equal((await client.readAll(await client.find(two, 'file'))).toString(), 'in two');
  t.equal(await look(file), 'NFS3_OK', 'handles of what stays are good');
  t.same(listed().sort(), ['one', 'two'], 'the table knows the new one');

  write('exports:\n  - { name: two, directory: two }\n');
  t.match(await hangUp(/read again/), /"removed":\["one"\]/);
  t.equal(await look(file), 'NFS3ERR_STALE', 'handles of what is gone are stale');
  t.equal(await look(one), 'NFS3ERR_STALE');
  await t.rejects(client.root('/one'), /status 2/, 'and it cannot be mounted');
  t.equal(await look(two), 'NFS3_OK');
  t.same(listed(), ['two']);

  write('exports:\n  - { name: two, directory: two }\n  - { name: one, directory: one }\n');
  await hangUp(/read again/);
  t.equal(await look(file), 'NFS3_OK', 'handles of what came back are good again');

  renameSync(join(top, 'one'), join(top, 'was-one'));
  makeTree(join(top, 'one'), { file: 'made anew' });
  t.match(await hangUp(/read again/), /"changed":\["one"\]/, 'another directory under the same path');
  t.equal(
    (await client.readAll(await client.find(await client.root('/one'), 'file'))).toString(),
    'made anew',
  );
});

t.test('clients= and squash= count from the next call', { skip: skip || notPrivileged }, async (t) => {
  const { top, write, client, hangUp, look } = await prepare(t);
  makeTree(join(top, 'one'), { private: { file: 'secret', mode: 0o600, uid: 1000 } });
  const one = await client.root('/one');
  const file = await client.find(one, 'private');
  const read = async (): Promise<string> =>
    statusOf(await client.nfs('READ', { file: { data: file }, offset: 0n, count: 10 }));
  t.equal(await read(), 'NFS3ERR_ACCES', 'without clients= a word over TCP does not count');
  const cases: [settings: string, look: string, read: string][] = [
    ['clients: [127.0.0.0/8]', 'NFS3_OK', 'NFS3_OK'],
    ['clients: [127.0.0.0/8], squash: all', 'NFS3_OK', 'NFS3ERR_ACCES'],
    ['clients: [127.0.0.0/8], squash: all, anonuid: 1000', 'NFS3_OK', 'NFS3_OK'],
    ['anonuid: 1000', 'NFS3_OK', 'NFS3_OK'],
    ['clients: [192.0.2.0/24]', 'NFS3ERR_ACCES', 'NFS3ERR_ACCES'],
    ['secure: true, clients: [127.0.0.0/8]', 'NFS3ERR_ACCES', 'NFS3ERR_ACCES'],
  ];
  for (const [settings, looked, wasRead] of cases) {
    write(`exports:\n  - { name: one, directory: one, ${settings} }\n`);
    t.match(await hangUp(/read again/), /"changed":\["one"\]/, settings);
    t.equal(await look(file), looked, settings);
    t.equal(await read(), wasRead, settings);
  }
});

t.test('a file that is wrong changes nothing, and what needs a restart is named', { skip }, async (t) => {
  const { top, file, write, client, hangUp, look, server, listed } = await prepare(t);
  const one = await client.root('/one');
  const wrong: [text: string, said: RegExp][] = [
    [
      'exports:\n  - { name: one, directory: one, colour: red }\n',
      /stays as it was: .*serve\.yaml:2:\d+: .*colour/,
    ],
    ['exports:\n  - { name: two, directory: nowhere }\n', /stays as it was: .*nowhere as two.*not exist/],
    ['exports: []\n', /stays as it was: .*exports nothing/],
    ['exports: [\n', /stays as it was: .*serve\.yaml:/],
  ];
  for (const [text, said] of wrong) {
    write(text);
    const log = await hangUp(/stays as it was/);
    t.match(log, said);
    t.equal(log.trim().split('\n').length, 1, 'one line');
    t.equal(await look(one), 'NFS3_OK', 'the export is served on');
    t.same(listed(), ['one']);
  }
  renameSync(file, join(top, 'away'));
  t.match(await hangUp(/stays as it was/), /ENOENT/);

  mkdirSync(join(top, 'other-state'));
  write(
    'name: given\nstate: other-state\nrpcbind: true\nbackplane: [127.0.0.1:0]\nexports:\n  - { name: two, directory: two }\n',
  );
  const log = await hangUp(/next start/);
  t.match(log, /"settings":\["backplane","rpcbind"\]/, 'name and state are the command line’s');
  t.equal(await look(one), 'NFS3ERR_STALE', 'the exports were taken over all the same');
  t.same(await server.stop(), { status: 0, signal: null });
});
