/** Grants for writing: what is handed out, to whom, and what its holder can do with it. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  fchmodSync,
  fchownSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { openSession } from '../../src/client/open-session.ts';
import type { GrantOutcome, GrantWish, Session } from '../../src/client/session.ts';
import { ChannelListener, GuestChannel, channelPath } from '../../src/fgdp/channel.ts';
import { FGDP_VERSION } from '../../src/fgdp/limits.ts';
import { GRANT_WANTS } from '../../src/fgdp/program.ts';
import { SegmentPool } from '../../src/fgdp/segment-pool.ts';
import { ACCESS3_EXTEND, ACCESS3_MODIFY, ACCESS3_READ } from '../../src/nfs3/nfs.ts';
import { ClientSession, type Peer } from '../../src/server/client-session.ts';
import { fgdpProcedures } from '../../src/server/fgdp-procedures.ts';
import { PageCounters } from '../../src/server/page-counters.ts';
import { PromiseKeeper } from '../../src/server/promises.ts';
import { loadServerKey } from '../../src/server/server-key.ts';
import { parseExportOption } from '../../src/store/export-options.ts';
import { lookup } from '../../src/store/operations.ts';
import { Store } from '../../src/store/store.ts';
import { bootId } from '../../src/system/process.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, as, name, notPrivileged, openDescriptors, serve } from './serving.ts';

const READS: GrantWish = { reads: true, writes: false, writable: true };
const WRITES: GrantWish = { reads: false, writes: true, writable: true };
const CHANGES = ACCESS3_MODIFY | ACCESS3_EXTEND;
const USER = 1000;
const OTHER = 1001;
const NOBODY = 65534;

interface Scene {
  readonly session: Session;
  readonly at: (path: string) => string;
  /** Asks for a file in somebody's name; what was granted is released with the test. */
  readonly grant: (path: string, uid: number, wish?: GrantWish) => Promise<GrantOutcome>;
}

async function prepare(t: Test, options: string): Promise<Scene> {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, { own: 'text', others: 'text', everybodys: 'text', roots: 'text' });
  chownSync(join(tree, 'own'), USER, USER);
  chmodSync(join(tree, 'own'), 0o640);
  chownSync(join(tree, 'others'), OTHER, OTHER);
  chmodSync(join(tree, 'others'), 0o644);
  chmodSync(join(tree, 'everybodys'), 0o666);
  const serving = await serve(t, directory, [`tree=${tree}${options}`]);
  const { key } = serving.server;
  const session = await openSession({
    route: 'near',
    endpoint: serving.socket,
    exportPath: '/tree',
    server: { id: key.id.toString('hex'), name: 'tested', publicKey: key.publicKey.toString('base64') },
    bootId: bootId(),
  });
  t.teardown(() => {
    session.close();
  });
  const client = await TestClient.connect(t, serving.socket);
  return {
    session,
    at: (path) => join(tree, path),
    grant: async (path, uid, wish = READS) => {
      client.credential = as(uid);
      const outcome = await session.grant(await client.find(session.rootHandle, path), wish, {
        credential: as(uid),
      });
      if (outcome.kind === 'granted')
        t.teardown(() => {
          outcome.file.release();
        });
      return outcome;
    },
  };
}

function granted(outcome: GrantOutcome): Extract<GrantOutcome, { kind: 'granted' }> {
  if (outcome.kind !== 'granted') throw new Error(JSON.stringify(outcome));
  return outcome;
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return 'done';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** What the holder of a descriptor gets when it opens the file again. */
function reopened(descriptor: number, write = ''): string {
  return codeOf(() => {
    const fd = openSync(`/proc/self/fd/${descriptor}`, 'r+');
    try {
      if (write !== '') writeSync(fd, write, 0);
    } finally {
      closeSync(fd);
    }
  });
}

t.test('a file granted for writing is the file itself', { skip: notPrivileged }, async (t) => {
  const { at, grant } = await prepare(t, ',squash=none');
  const { file, writable, access } = granted(await grant('own', USER));
  t.equal(writable, true);
  t.equal(access & (ACCESS3_READ | CHANGES), ACCESS3_READ | CHANGES);
  t.equal(
    codeOf(() => writeSync(file.descriptor, 'x')),
    'EBADF',
    'the descriptor itself is for reading',
  );
  t.equal(reopened(file.descriptor, 'TEXT'), 'done');
  t.equal(readFileSync(at('own'), 'utf8'), 'TEXT');
  await file.truncate(2n);
  t.equal(readFileSync(at('own'), 'utf8'), 'TE');
  await file.sync(false);
  await file.sync(true);

  copyFileSync('/bin/true', at('own'));
  chmodSync(at('own'), 0o755);
  t.equal(spawnSync(at('own')).status, 0, 'and whoever holds it keeps nobody from executing it');
});

t.test('who only reads is told so, and gets what others may write', { skip: notPrivileged }, async (t) => {
  const { grant } = await prepare(t, ',squash=none');
  const read = granted(await grant('others', USER));
  t.equal(read.access & CHANGES, 0);
  t.equal(read.writable, true, 'root of the guest may be anybody');
  t.match(await grant('others', USER, WRITES), { kind: 'failed', status: 13 });
  const plain = granted(await grant('own', USER, { ...READS, writable: false }));
  t.equal(plain.writable, false, 'whoever has no use for it');
  t.equal(reopened(plain.file.descriptor), 'EROFS');
});

t.test('squash=root: what guests may not be owns nothing for them', { skip: notPrivileged }, async (t) => {
  const { at, grant } = await prepare(t, '');
  const before = openDescriptors();
  const { file, writable } = granted(await grant('own', USER));
  t.equal(writable, true);
  t.equal(reopened(file.descriptor, 'TEXT'), 'done');
  t.equal(readFileSync(at('own'), 'utf8'), 'TEXT');
  t.equal(
    codeOf(() => {
      fchownSync(file.descriptor, 0, 0);
    }),
    'EOVERFLOW',
    'root of a guest gives root nothing',
  );
  t.equal(
    codeOf(() => {
      fchmodSync(file.descriptor, 0o600);
    }),
    'done',
    'the owner could do that',
  );
  for (const path of ['everybodys', 'roots']) {
    const outcome = granted(await grant(path, USER));
    t.equal(outcome.writable, false, path);
    t.equal(reopened(outcome.file.descriptor), 'EROFS', path);
  }
  t.match(await grant('everybodys', USER, WRITES), { kind: 'granted', writable: false }, 'by wire then');
  // The mount with ids is made once, and each grant is one.
  t.ok(openDescriptors() <= before + 12, `${openDescriptors() - before} more descriptors`);
});

t.test('squash=all: what is nobody’s only', { skip: notPrivileged }, async (t) => {
  const { at, grant } = await prepare(t, ',squash=all');
  t.equal(granted(await grant('others', USER)).writable, false);
  chownSync(at('others'), NOBODY, NOBODY);
  const { file, writable } = granted(await grant('others', USER, WRITES));
  t.equal(writable, true);
  t.equal(
    codeOf(() => {
      fchownSync(file.descriptor, USER, USER);
    }),
    'EOVERFLOW',
  );
});

t.test('an export that is read-only grants nothing for writing', { skip: notPrivileged }, async (t) => {
  const { grant } = await prepare(t, ',ro,squash=none');
  const { file, writable } = granted(await grant('own', USER));
  t.equal(writable, false);
  t.equal(reopened(file.descriptor), 'EROFS');
  t.match(await grant('own', USER, WRITES), { kind: 'failed', status: 30 });
});

t.test('grants=read hands out files to read, and no more', { skip: notPrivileged }, async (t) => {
  const { grant } = await prepare(t, ',squash=none,grants=read');
  const { file, writable } = granted(await grant('own', USER));
  t.equal(writable, false);
  t.equal(reopened(file.descriptor), 'EROFS');
  t.match(await grant('own', USER, WRITES), { kind: 'granted', writable: false }, 'written by wire');
});

t.test('owners, and files that can only be written', { skip: notPrivileged }, async (t) => {
  const { at, grant } = await prepare(t, '');
  chmodSync(at('own'), 0o444);
  const mine = granted(await grant('own', USER, WRITES));
  t.equal(mine.access & CHANGES, 0, 'open(2) is refused by what ACCESS says');
  t.equal(mine.writable, true, 'what was just made with such a mode is open all the same');
  chmodSync(at('others'), 0o622);
  t.match(await grant('others', USER, READS), { kind: 'failed', status: 13 });
  const drop = granted(await grant('others', USER, WRITES));
  t.equal(drop.access & (ACCESS3_READ | CHANGES), CHANGES);
  t.equal(reopened(drop.file.descriptor, 'TEXT'), 'done');
  t.equal(readFileSync(at('others'), 'utf8'), 'TEXT');
});

t.test('what nobody may change, or only append to, is not granted', { skip: notPrivileged }, async (t) => {
  const { at, grant } = await prepare(t, ',squash=none');
  for (const flag of ['i', 'a']) {
    const { status, error } = spawnSync('chattr', [`+${flag}`, at('own')]);
    if (status !== 0) {
      t.comment(`chattr +${flag} is not possible here: ${error?.message ?? `status ${status}`}`);
      continue;
    }
    try {
      t.equal(granted(await grant('own', USER)).writable, false, `+${flag}`);
    } finally {
      spawnSync('chattr', [`-${flag}`, at('own')]);
    }
  }
  t.equal(granted(await grant('own', USER)).writable, true);
});

t.test('a peer that is only itself is granted files to read', { skip: notPrivileged }, async (t) => {
  const directory = makeDirectory(t);
  makeTree(join(directory, 'tree'), { own: 'text' });
  chownSync(join(directory, 'tree/own'), USER, USER);
  writeFileSync(join(directory, 'tree/own'), 'text');
  const stateDirectory = join(directory, 'state');
  const exports = [parseExportOption(`tree=${join(directory, 'tree')},squash=none`)];
  const store = Store.open({ stateDirectory, exports });
  const channels = ChannelListener.listen(channelPath(join(directory, 's.sock')), 0o600);
  t.teardown(() => {
    channels.close();
    store.close();
  });
  const procedures = fgdpProcedures({
    store,
    key: loadServerKey(stateDirectory),
    serverName: 'tested',
    bootId: bootId(),
    channels,
    pool: new SegmentPool(0),
    counters: new PageCounters(),
    promises: new PromiseKeeper(store),
  });
  const identity = { uid: USER, gid: USER, groups: [] };
  const writableFor = async (claims: Extract<Peer, { kind: 'unix' }>['claims']): Promise<boolean> => {
    const session = new ClientSession({ kind: 'unix', identity, claims }, 'test');
    const call = {
      xid: 1,
      program: 'FGDP',
      procedure: '',
      credential: { flavor: 'sys' as const, ...identity },
      afterReply: () => undefined,
    };
    const guest = GuestChannel.connect(join(directory, 's.sock'), randomBytes(32));
    try {
      const hello = {
        version: FGDP_VERSION,
        features: 0,
        nonce: randomBytes(32),
        channel_token: guest.token,
      };
      await procedures.HELLO(hello, { call, session });
      const { handle } = lookup(identity, store.resolve(store.rootHandle('tree')), name('own'));
      const wants = GRANT_WANTS.READ | GRANT_WANTS.WRITABLE;
      const reply = await procedures.GRANT({ file: { data: handle }, wants }, { call, session });
      if (!('body' in reply) || !('writable' in reply.body)) throw new Error('not granted');
      return reply.body.writable;
    } finally {
      session.end();
      guest.close();
    }
  };
  t.equal(await writableFor('any'), true);
  t.equal(await writableFor('itself'), false);
  const map = [{ inside: 0, outside: 100_000, count: 65_536 }];
  t.equal(await writableFor({ uidMap: map, gidMap: map }), false);
});
