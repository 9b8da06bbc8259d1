import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Test } from 'tap';
import { openSession } from '../../src/client/open-session.ts';
import type { MapOutcome, Session, SessionTarget } from '../../src/client/session.ts';
import { FGDP_PROGRAM, MAP_STAT } from '../../src/fgdp/program.ts';
import { STABLE_HOW } from '../../src/nfs3/nfs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { bootId } from '../../src/system/process.ts';
import { plainNode } from '../support/mounts.ts';
import { skipWithoutBuild } from '../support/server.ts';
import { makeDirectory, makeTree, patternBytes } from '../support/trees.ts';
import { TestClient, as, notPrivileged, openDescriptors, serve, statusOf, type Serving } from './serving.ts';

const POLL_MS = 10;
const POLL_TRIES = 500;
const CONTENTS = patternBytes(3_000_000);
const caller = { credential: as(1000) };

async function prepare(t: Test, options = ',grants=pages') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    file: CONTENTS,
    empty: '',
    secret: { file: 'secret', mode: 0o600 },
    sub: { directory: true },
  });
  const serving = await serve(t, directory, [`tree=${tree}${options}`]);
  return { directory, tree, path: join(tree, 'file'), ...serving };
}

function target({ server, socket }: Pick<Serving, 'server' | 'socket'>): SessionTarget {
  const { key } = server;
  return {
    route: 'near',
    endpoint: socket,
    exportPath: '/tree',
    server: { id: key.id.toString('hex'), name: 'tested', publicKey: key.publicKey.toString('base64') },
    bootId: bootId(),
  };
}

async function near(t: Test, serving: Pick<Serving, 'server' | 'socket'>) {
  const session = await openSession(target(serving));
  t.teardown(() => {
    session.close();
  });
  const client = await TestClient.connect(t, serving.socket);
  const find = (path: string): Promise<Uint8Array> => client.find(session.rootHandle, path);
  return { session, client, find };
}

type Mapped = Extract<MapOutcome, { kind: 'mapped' }>;

async function map(session: Session, file: Uint8Array, offset = 0, count = 8_000_000): Promise<Mapped> {
  const outcome = await session.map(file, BigInt(offset), count, caller);
  if (outcome.kind !== 'mapped') throw new Error(JSON.stringify(outcome));
  return outcome;
}

/** The bytes of the runs; undefined when one was recalled. */
function bytesOf({ runs }: Mapped): Buffer | undefined {
  const parts = runs.map(({ pages }) => {
    const part = Buffer.alloc(pages.lengthBytes);
    pages.copyTo(part, 0, 0, part.length);
    return part;
  });
  return runs.every(({ pages }) => pages.isCurrent()) ? Buffer.concat(parts) : undefined;
}

async function until(isSo: () => boolean): Promise<boolean> {
  for (let tries = 0; !isSo() && tries < POLL_TRIES; tries += 1) await delay(POLL_MS);
  return isSo();
}

t.test('MAP leads to the bytes of a file, without a descriptor to it', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { session, find } = await near(t, serving);
  t.equal(session.level, 'segments');
  t.match(session.levelReason, /grants=pages/);
  const before = openDescriptors();
  const file = await find('file');
  const all = await map(session, file);
  t.ok(bytesOf(all)?.equals(CONTENTS));
  t.equal(all.eof, true);
  t.equal(all.attributes.size, BigInt(CONTENTS.length));
  const middle = await map(session, file, 1_500_000, 10);
  const [run] = middle.runs;
  t.ok(run !== undefined && run.offset <= 1_500_000n);
  t.ok(
    bytesOf(middle)?.equals(
      CONTENTS.subarray(Number(run?.offset), Number(run?.offset) + (run?.pages.lengthBytes ?? 0)),
    ),
  );
  t.match(await map(session, await find('empty')), { runs: [], eof: true });
  t.match(await map(session, file, CONTENTS.length), { runs: [], eof: true });
  t.match(await map(session, file, 2 ** 50), { runs: [], eof: true });
  t.match(await session.map(file, 2n ** 64n - 1n, 0xffffffff, caller), { kind: 'mapped', runs: [] });
  // The server's caches keep the node and the file; segments keep no descriptor.
  t.ok(openDescriptors() <= before + 8, `${openDescriptors() - before} more descriptors`);
  const outcome = await session.grant(file, { reads: true, writes: false, writable: true }, caller);
  t.match(outcome, { kind: 'wire', reason: /grants=pages/ }, 'GRANT hands out nothing here');
});

t.test('MAP asks who may read, as READ does', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { session, find } = await near(t, serving);
  const secret = await find('secret');
  t.match(await session.map(secret, 0n, 10, caller), { kind: 'failed', status: 13 });
  t.match(
    await session.map(secret, 0n, 10, { credential: as(0) }),
    { kind: 'failed', status: 13 },
    'root is squashed',
  );
  t.match(await session.map(await find('sub'), 0n, 10, caller), { kind: 'failed', status: 21 });
  t.match(await session.map(randomBytes(40), 0n, 10, caller), { kind: 'failed', status: 10001 });
  chmodSync(join(serving.tree, 'secret'), 0o644);
  t.ok(bytesOf(await map(session, secret))?.equals(Buffer.from('secret')));
});

t.test('grants=none and other connections get bytes', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t, ',grants=none');
  const { session, client, find } = await near(t, serving);
  t.equal(session.level, 'records');
  const file = await find('file');
  t.match(await session.map(file, 0n, 10, caller), { kind: 'bytes', reason: /grants=none/ });
  const pages = await prepare(t);
  const network = await TestClient.connect(t, pages.tcp);
  const args = {
    file: { data: await network.find(await network.root('/tree'), 'file') },
    offset: 0n,
    count: 10,
  };
  const reply = await network.connection.call(FGDP_PROGRAM, 'MAP', args, caller);
  if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
  t.equal(reply.body.map, MAP_STAT.USE_READ);
  await network.connection.call(FGDP_PROGRAM, 'UNMAP', { handles: [], discard: false }, caller);
  t.ok((await client.readAll(file)).equals(CONTENTS));
});

t.test('a change on the server recalls pages while the file is open', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { session, client, find } = await near(t, serving);
  const file = await find('file');
  const { path } = serving;
  const changes: [what: string, change: () => void][] = [
    [
      'a write in place',
      () => {
        const fd = openSync(path, 'r+');
        writeSync(fd, 'changed', 2_000_000);
        closeSync(fd);
      },
    ],
    ['an append', () => appendFileSync(path, 'more')],
    ['a truncation', () => truncateSync(path, 1_234_567)],
    ['new contents', () => writeFileSync(path, patternBytes(777_777, 5))],
    ['other permissions', () => chmodSync(path, 0o640)],
  ];
  for (const [what, change] of changes) {
    chmodSync(path, 0o644);
    await client.nfs('GETATTR', { object: { data: file } });
    const old = await map(session, file);
    t.ok(bytesOf(old), `${what}: good before`);
    change();
    t.ok(await until(() => old.runs.every(({ pages }) => !pages.isCurrent())), `${what}: recalled`);
    if (what === 'other permissions') continue;
    const now = await map(session, file);
    t.ok(bytesOf(now)?.equals(await client.readAll(file)), `${what}: the new contents`);
  }
  const last = await map(session, await find('empty'));
  t.same(last.runs, []);
  chmodSync(path, 0o644);
  const doomed = await map(session, file);
  rmSync(path);
  t.ok(await until(() => doomed.runs.every(({ pages }) => !pages.isCurrent())), 'a deleted file');
});

t.test('attributes that show a change come after the recall', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { session, client, find } = await near(t, serving);
  const file = await find('file');
  for (let round = 0; round < 20; round += 1) {
    const old = await map(session, file);
    appendFileSync(serving.path, 'x');
    const reply = await client.nfs('GETATTR', { object: { data: file } });
    if (reply.status !== NFS3_OK) throw new Error(statusOf(reply));
    t.equal(reply.obj_attributes.size, BigInt(CONTENTS.length + round + 1));
    t.equal(bytesOf(old), undefined, 'who knows of the new version has no pages of the old one');
  }
});

t.test('a file that is open for writing is not shared', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { session, find } = await near(t, serving);
  const file = await find('file');
  const writer = openSync(serving.path, 'r+');
  t.match(await session.map(file, 0n, 10, caller), { kind: 'bytes', reason: /open for writing/ });
  closeSync(writer);
  t.match(await session.map(file, 0n, 10, caller), { kind: 'mapped' });
  t.match(serving.server.pageCounters.summary(), { refusals: 1, lastRefusal: /open for writing/ });
});

t.test('UNMAP of forged handles and foreign ones harms nobody', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const mine = await near(t, serving);
  const other = await near(t, serving);
  const file = await mine.find('file');
  const held = await map(mine.session, file);
  const theirs = await map(other.session, file);
  for (let round = 0; round < 3; round += 1) {
    for (const { pages } of held.runs) other.session.unmap(pages, true);
    for (const { pages } of theirs.runs) other.session.unmap(pages, true);
  }
  const again = await map(other.session, file);
  t.ok(bytesOf(held)?.equals(CONTENTS));
  t.ok(bytesOf(again)?.equals(CONTENTS));
  t.equal(bytesOf(theirs), undefined, 'what one has discarded oneself is gone');
});

const GUEST = fileURLToPath(new URL('../support/mapping-guest.mjs', import.meta.url));
/** How many guests die here; NEARMOUNT_GUEST_DEATHS makes it more. */
const DEATHS = Number(process.env.NEARMOUNT_GUEST_DEATHS ?? 12);
const BATCH = 4;

t.test('the end of a connection gives its pages back', { skip: notPrivileged }, async (t) => {
  const serving = await prepare(t);
  const { server } = serving;
  const client = await TestClient.connect(t, serving.socket);
  const file = await client.find(await client.root('/tree'), 'file');
  const idle = openDescriptors();
  for (let round = 0; round < 20; round += 1) {
    const session = await openSession(target(serving));
    const held = await map(session, file);
    if (server.pool.usedBytes === 0) t.fail('nothing was taken');
    // Under a MAP that is being answered.
    session.map(file, 0n, 10, caller).catch(() => undefined);
    session.close();
    if (!(await until(() => server.pool.usedBytes === 0))) t.fail(`round ${round}: the pool is not full`);
    if (held.runs.some(({ pages }) => pages.isCurrent())) t.fail('pages of a session that ended');
  }
  t.equal(server.pool.usedBytes, 0);
  t.ok(await until(() => openDescriptors() <= idle + 4), 'no descriptor is left');
});

t.test(
  `${DEATHS} guests are killed while they hold pages`,
  { skip: notPrivileged || skipWithoutBuild(), timeout: 3_600_000 },
  async (t) => {
    const serving = await prepare(t);
    const { server } = serving;
    const idle = openDescriptors();
    const die = async (): Promise<void> => {
      const [program, args] = plainNode(GUEST, JSON.stringify(target(serving)), 'file');
      const guest = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = once(guest, 'close');
      const [line] = (await Promise.race([once(guest.stdout, 'data'), ended])) as [unknown];
      if (String(line) !== 'holds pages\n') t.fail(`a guest said ${String(line)}`);
      if (server.pool.usedBytes === 0) t.fail('nothing was taken');
      guest.kill('SIGKILL');
      t.same((await ended) as unknown, [null, 'SIGKILL']);
    };
    let died = 0;
    while (died < DEATHS) {
      await Promise.all(Array.from({ length: BATCH }, die));
      died += BATCH;
      if (!(await until(() => server.pool.usedBytes === 0))) t.fail(`${died} guests: the pool is not full`);
    }
    t.equal(server.pool.usedBytes, 0, `${died} guests killed, and the pool is full`);
    t.ok(await until(() => server.connections === 0));
    t.ok(await until(() => openDescriptors() <= idle + 4), 'no descriptor is left');
  },
);

t.test(
  'a WRITE takes the pages back before it is answered; they are shared again once nobody writes',
  {
    skip: notPrivileged,
  },
  async (t) => {
    const directory = makeDirectory(t);
    const tree = join(directory, 'tree');
    makeTree(tree, { file: { file: CONTENTS, mode: 0o666 } });
    const options = { ...parseExportOption(`tree=${tree},grants=pages`), readOnly: false };
    const { session, client, find } = await near(t, await serve(t, directory, [options]));
    const file = await find('file');
    const before = await map(session, file);
    t.ok(bytesOf(before)?.equals(CONTENTS));
    // Of the same size, and perhaps within one tick of the clock of ctime.
    const data = Buffer.from('written');
    for (let round = 0; round < 3; round += 1) {
      const reply = await client.nfs('WRITE', {
        file: { data: file },
        offset: 0n,
        count: data.length,
        stable: STABLE_HOW.UNSTABLE,
        data: [data],
      });
      t.equal(statusOf(reply), 'NFS3_OK');
      t.equal(bytesOf(before), undefined, 'recalled by the time of the reply');
      t.match(await session.map(file, 0n, 10, caller), { kind: 'bytes' }, 'open for writing');
    }
    let outcome = await session.map(file, 0n, 8_000_000, caller);
    for (let tries = 0; outcome.kind !== 'mapped' && tries < POLL_TRIES; tries += 1) {
      await delay(POLL_MS);
      outcome = await session.map(file, 0n, 8_000_000, caller);
    }
    const after = await map(session, file);
    t.equal(bytesOf(after)?.subarray(0, 7).toString(), 'written');
  },
);
