import {
  appendFileSync,
  chownSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SILLY_JOURNAL_BYTES } from '../../src/gateway/limits.ts';
import { SillyJournalFile, serverKeyOf } from '../../src/gateway/silly-journal.ts';
import type { SillyEntry } from '../../src/gateway/silly-names.ts';
import { tryLock } from '../../src/system/file-lock.ts';
import { scriptedSession } from '../client/scripted-server.ts';
import { FTYPE3 } from '../../src/nfs3/types.ts';
import { bytes, context, mountTree, ok, quiet, TreeServer } from './tree-server.ts';

const KEY = 'a'.repeat(32);
const entry = (number: number): SillyEntry => ({
  name: `.nfs${number.toString(16).padStart(24, '0')}`,
  directory: Buffer.from(`directory ${number}`),
  credential: { flavor: 1, body: Buffer.from(`credential ${number}`) },
});
const plain = (entries: readonly SillyEntry[]): unknown[] =>
  entries.map(({ name, directory, credential }) => [
    name,
    Buffer.from(directory).toString(),
    credential.flavor,
    Buffer.from(credential.body).toString(),
  ]);

function journalIn(directory: string, serverKey = KEY) {
  const warnings: string[] = [];
  const journal = new SillyJournalFile({
    directory,
    serverKey,
    tryLock: tryLock,
    onWarning: (message) => warnings.push(message),
  });
  return { journal, warnings };
}

t.test('the next mount finds what a killed gateway has left, and nothing else', async (t) => {
  const directory = join(t.testdir(), 'made', 'when needed');
  const { journal: first } = journalIn(directory);
  t.throws(() => readdirSync(directory), 'nothing is made before a name is');
  for (const number of [1, 2, 3]) first.add(entry(number));
  first.done(entry(2));
  const { journal: second } = journalIn(directory);
  t.strictSame(second.takeLeftovers(), [], 'the first one lives');
  // A closed descriptor is what is left of a killed process.
  first.close();
  t.strictSame(journalIn(directory, 'b'.repeat(32)).journal.takeLeftovers(), [], 'of another server');
  const left = second.takeLeftovers();
  t.strictSame(plain(left), plain([entry(1), entry(3)]));
  t.strictSame(journalIn(directory).journal.takeLeftovers(), [], 'one at a time sees to them');
  second.done(entry(1));
  second.close();
  const { journal: third } = journalIn(directory);
  t.strictSame(plain(third.takeLeftovers()), plain([entry(1), entry(3)]), 'until all is done');
  third.done(entry(1));
  third.done(entry(3));
  t.strictSame(readdirSync(directory), []);
});

t.test(
  'a journal in a directory of somebody else is neither believed nor written',
  { skip: process.geteuid?.() !== 0 && 'needs root, to act as another user' },
  async (t) => {
    const directory = t.testdir();
    const { journal: planted } = journalIn(directory);
    planted.add(entry(1));
    planted.close();
    chownSync(directory, 65_533, 65_533);
    const { journal, warnings } = journalIn(directory);
    t.strictSame(journal.takeLeftovers(), []);
    const before = readdirSync(directory);
    journal.add(entry(2));
    t.strictSame(readdirSync(directory), before);
    t.equal(warnings.length, 1);
  },
);

t.test('a gateway that ends leaves no journal, and its file stays small', async (t) => {
  const directory = t.testdir();
  const { journal } = journalIn(directory);
  journal.add(entry(0));
  const [file = ''] = readdirSync(directory);
  const path = join(directory, file);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const lineBytes = statSync(path).size;
  for (let number = 1; number * lineBytes < SILLY_JOURNAL_BYTES * 2; number += 1) {
    journal.add(entry(number));
    journal.done(entry(number));
  }
  t.ok(statSync(path).size <= SILLY_JOURNAL_BYTES + 2 * lineBytes);
  t.match(readFileSync(path, 'utf8'), entry(0).name);
  journal.done(entry(0));
  t.equal(statSync(path).size, 0);
  journal.close();
  t.strictSame(readdirSync(directory), []);
});

t.test('what is no entry is not believed', async (t) => {
  const directory = t.testdir();
  const { journal } = journalIn(directory);
  journal.add(entry(1));
  const path = join(directory, readdirSync(directory)[0]!);
  const line = readFileSync(path, 'utf8');
  journal.close();
  for (const bad of [
    line.replace('.nfs', 'etc'),
    line.replace(/"directory":"[^"]*"/, `"directory":"${Buffer.alloc(65).toString('base64')}"`),
    line.replace(/"body":"[^"]*"/, `"body":"${Buffer.alloc(401).toString('base64')}"`),
    line.replace('"flavor":1', '"flavor":-1'),
    '{"done":7}\n',
    'null\n\0\n',
    line.slice(0, 40),
  ]) {
    appendFileSync(path, bad);
  }
  t.strictSame(plain(journalIn(directory).journal.takeLeftovers()), plain([entry(1)]));
});

t.test('a journal of nothing but garbage is taken away', async (t) => {
  const directory = t.testdir({ [`${KEY}-x.silly`]: 'garbage', [`${KEY}-y.other`]: 'kept' });
  t.strictSame(journalIn(directory).journal.takeLeftovers(), []);
  t.strictSame(readdirSync(directory), [`${KEY}-y.other`]);
});

t.test('a directory that cannot be used is told once', async (t) => {
  const directory = join(t.testdir({ file: '' }), 'file');
  const { journal, warnings } = journalIn(directory);
  t.strictSame(journal.takeLeftovers(), []);
  journal.add(entry(1));
  journal.add(entry(2));
  journal.done(entry(1));
  journal.close();
  t.equal(warnings.length, 1);
});

t.test('a server is known by its root, and by its name or address', async (t) => {
  const session = scriptedSession({}).session;
  const key = serverKeyOf(session);
  t.match(key, /^[0-9a-f]{32}$/);
  t.equal(serverKeyOf(scriptedSession({}).session), key);
  const other = { rootHandle: session.rootHandle, endpoint: { kind: 'unix', path: '/x' } };
  t.not(serverKeyOf(other as never), key);
  const near = { rootHandle: session.rootHandle, serverName: 'storage-1', endpoint: session.endpoint };
  t.equal(serverKeyOf({ ...near, endpoint: undefined } as never), serverKeyOf(near as never), 'on any route');
});

t.test('a mount removes what one before it has left', async (t) => {
  const directory = t.testdir();
  const server = new TreeServer();
  const killed = mountTree(t, { server, journal: journalIn(directory).journal });
  server.add(server.root, 'f');
  server.add(server.root, 'kept');
  const { nodeId } = await ok(killed.gateway.lookup(1n, bytes('f'), context()));
  await ok(killed.gateway.open(nodeId, 0, context()));
  await killed.gateway.unlink(1n, bytes('f'), context());
  const path = join(directory, readdirSync(directory)[0]!);
  const written = readFileSync(path, 'utf8');
  t.equal(written.split('\n').length, 2);

  // Its death is told by a copy of what it wrote, which nobody has locked.
  const left = join(t.testdir({}), 'left');
  mkdirSync(left, { recursive: true });
  writeFileSync(join(left, `${KEY}-dead.silly`), written);
  server.add(server.root, 'd', FTYPE3.NF3DIR);
  const next = mountTree(t, { server, journal: journalIn(left).journal });
  await quiet(next);
  t.strictSame(server.names(), ['d', 'kept']);
  t.strictSame(readdirSync(left), []);
  t.strictSame(next.warnings, []);
});

t.test('the end of a mount removes what is still kept', async (t) => {
  const directory = t.testdir();
  const mounted = mountTree(t, { journal: journalIn(directory).journal });
  const { gateway, server } = mounted;
  server.add(server.root, 'f');
  const { nodeId } = await ok(gateway.lookup(1n, bytes('f'), context()));
  await ok(gateway.open(nodeId, 0, context()));
  await gateway.unlink(1n, bytes('f'), context());
  gateway.destroy();
  await gateway.finish();
  t.strictSame(server.names(), []);
  t.strictSame(readdirSync(directory), []);
});
