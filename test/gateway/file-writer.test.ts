/** The order of what one inode's writer does, with each reply given by hand. */
import t from 'tap';
import { DEFAULT_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { DirtyBytes } from '../../src/gateway/dirty-bytes.ts';
import { FileWriter } from '../../src/gateway/file-writer.ts';
import type { WritingSite } from '../../src/gateway/writing-site.ts';
import { Inode } from '../../src/gateway/inodes.ts';
import type { Author } from '../../src/gateway/write-author.ts';
import { STABLE_HOW, type WRITE3args } from '../../src/nfs3/nfs.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';

const BLOCK = 4096;
const AUTHOR = { key: 'somebody' } as unknown as Author;
const WCC = { before: null, after: null };

interface Asked {
  readonly name: string;
  /** In blocks; of a WRITE. */
  readonly block: number;
  /** A WRITE takes all its bytes unless `count` says how many. */
  readonly reply: (verifier: string, count?: number) => void;
}

/** A writer, and the calls that wait for their reply. */
function writing() {
  const asked: Asked[] = [];
  const nfs = (name: string, args: Partial<WRITE3args>) =>
    new Promise((resolve) => {
      const block = Number(args.offset ?? 0n) / BLOCK;
      const reply = (verifier: string, count = args.count ?? 0): void => {
        asked.splice(asked.indexOf(call), 1);
        resolve({ status: NFS3_OK, wcc: WCC, count, committed: args.stable, verf: Buffer.from(verifier) });
      };
      const call = { name, block, reply };
      asked.push(call);
    });
  const link = { session: {} as unknown, isConnected: true, sentAgain: 0, nfs };
  const dirty = new DirtyBytes();
  const lost: unknown[] = [];
  const site = {
    link,
    knowledge: { changed: () => undefined, learn: () => undefined },
    dirty,
    wsizeBytes: BLOCK,
    timedOutErrno: undefined,
    onWritten: () => undefined,
    onLost: (...what: unknown[]) => lost.push(what),
  } as unknown as WritingSite;
  const inode = new Inode(2n, Buffer.from('f'), attributesOfFattr3(ATTRIBUTES), DEFAULT_ATTRIBUTE_TIMES);
  const writer = new FileWriter(inode, site);
  const write = (block: number): number =>
    writer.write(BigInt(block * BLOCK), Buffer.alloc(BLOCK), false, AUTHOR, STABLE_HOW.UNSTABLE);
  /** Answers the WRITE of a block, or the COMMIT. */
  const answer = (verifier: string, block?: number, count?: number): void => {
    const call = asked.find((each) => (block === undefined ? each.name === 'COMMIT' : each.block === block));
    if (call === undefined) throw new Error(`nobody waits for block ${block}`);
    call.reply(verifier, count);
  };
  const waiting = (): (number | string)[] =>
    asked.map(({ name, block }) => (name === 'WRITE' ? block : name));
  return { writer, write, answer, waiting, dirty, lost, link };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('a change waits for all that two restarts of the server made it forget', async (t) => {
  const { writer, write, answer, waiting, dirty } = writing();
  write(0);
  write(1);
  answer('first', 0);
  await settled();
  let isChanged = false;
  const changing = writer.exclusively(false, async () => {
    isChanged = true;
  });
  // Sent before the change may begin, and answered after what it waits for.
  write(2);
  write(3);
  answer('first', 1);
  await settled();
  answer('second', 2);
  await settled();
  answer('third', 3);
  await settled();
  t.notOk(isChanged, 'blocks 0 and 1 would be sent again after it');
  t.strictSame(waiting(), [0, 1, 2]);
  for (const block of [0, 1, 2]) answer('third', block);
  await changing;
  t.ok(isChanged);
  const committing = writer.commit();
  await settled();
  answer('third');
  await committing;
  t.equal(dirty.bytes, 0);
});

t.test(
  'fsync is not done while the server turns out to have forgotten, whenever that reply comes',
  async (t) => {
    for (let lateness = 0; lateness < 24; lateness += 1) {
      const { writer, write, answer, waiting } = writing();
      const first = write(0);
      write(1);
      let isDone = false;
      const committing = writer.commit(first).then(() => {
        isDone = true;
      });
      answer('first', 0);
      for (let steps = 0; steps < lateness; steps += 1) await Promise.resolve();
      answer('second', 1);
      await settled();
      if (waiting().includes('COMMIT')) answer('second');
      await settled();
      t.notOk(isDone, `${lateness} steps later`);
      answer('second', 0);
      await settled();
      answer('second');
      await committing;
    }
  },
);

t.test('the length shown is that of what was written since a truncation', async (t) => {
  const { writer, write, answer } = writing();
  write(9);
  const changing = writer.exclusively(false, async () => {
    writer.truncated(0n);
  });
  write(1);
  t.equal(writer.hiddenEnd, BigInt(10 * BLOCK));
  answer('same', 9);
  await settled();
  answer('same', 1);
  await changing;
  write(0);
  t.equal(writer.hiddenEnd, BigInt(BLOCK), 'all that came before it is cut');
  const again = writer.exclusively(false, async () => {
    writer.truncated(0n);
    write(2);
    writer.truncated(0n);
  });
  answer('same', 0);
  await again;
  t.equal(writer.hiddenEnd, BigInt(3 * BLOCK));
});

/** The same before a server that keeps the order of calls, with a change behind what is written. */
function changing({ isOrdered = true } = {}) {
  const scene = writing();
  scene.link.session = { isNearmount: isOrdered };
  let changes = 0;
  const change = (author = AUTHOR): Promise<number> =>
    scene.writer.committingBefore(author, () => {
      changes += 1;
      return Promise.resolve(changes);
    });
  return { ...scene, change, changes: () => changes };
}

t.test('a server that keeps the order is asked for bytes and a change at once', async (t) => {
  const { write, answer, waiting, change, changes, dirty } = changing();
  write(0);
  const changed = change();
  t.strictSame(waiting(), [0]);
  t.equal(changes(), 1);
  answer('first', 0);
  await settled();
  answer('first');
  t.equal(await changed, 1);
  t.equal(dirty.bytes, 0, 'and all is on stable storage');
});

t.test('a change is made again behind what the server had forgotten', async (t) => {
  const { write, answer, waiting, change, changes } = changing();
  write(0);
  write(1);
  const changed = change();
  t.equal(changes(), 1);
  answer('first', 0);
  answer('second', 1);
  await settled();
  t.strictSame(waiting(), [0]);
  answer('second', 0);
  await settled();
  t.strictSame(waiting(), ['COMMIT']);
  t.equal(changes(), 1);
  answer('second');
  t.equal(await changed, 2);
});

t.test('and where calls may have been sent again', async (t) => {
  const cases: Record<string, (link: ReturnType<typeof changing>['link']) => void> = {
    'in another session': (link) => (link.session = { isNearmount: true }),
    'because they were put off': (link) => (link.sentAgain += 1),
  };
  for (const [name, act] of Object.entries(cases)) {
    const { write, answer, change, link } = changing();
    write(0);
    const changed = change();
    act(link);
    answer('first', 0);
    await settled();
    answer('first');
    t.equal(await changed, 2, name);
  }
});

t.test('a change that fails says so once all is written', async (t) => {
  const { writer, write, answer } = changing();
  write(0);
  let isDone = false;
  const changed = writer.committingBefore(AUTHOR, () => Promise.reject(new Error('no')));
  const rejected = t.rejects(changed, { message: 'no' }).then(() => (isDone = true));
  await settled();
  t.notOk(isDone);
  answer('first', 0);
  await settled();
  answer('first');
  await rejected;
});

t.test('other servers are asked for a change when all is on stable storage', async (t) => {
  const wide = { ...AUTHOR, wide: {} } as unknown as Author;
  const cases: Record<string, [ReturnType<typeof changing>, Author?]> = {
    'another server': [changing({ isOrdered: false })],
    'one that is away': [changing()],
    'groups that are named by a call of their own': [changing(), wide],
  };
  cases['one that is away']![0].link.isConnected = false;
  for (const [name, [scene, author]] of Object.entries(cases)) {
    const { write, answer, waiting, change, changes } = scene;
    write(0);
    write(1);
    const changed = change(author);
    answer('first', 0);
    answer('first', 1);
    await settled();
    t.strictSame(waiting(), ['COMMIT'], name);
    t.equal(changes(), 0, name);
    answer('first');
    t.equal(await changed, 1, name);
  }
});

/** The same with writes whose memory is lent; `given` names the first block of each that was given back. */
function lending() {
  const scene = writing();
  const given: number[] = [];
  const lend = (block: number, stable: WRITE3args['stable'] = STABLE_HOW.UNSTABLE, blocks = 1): number =>
    scene.writer.write(BigInt(block * BLOCK), Buffer.alloc(blocks * BLOCK), true, AUTHOR, stable, () =>
      given.push(block),
    );
  /** Has what the server holds put on stable storage there. */
  const commit = async (verifier: string): Promise<void> => {
    const committed = scene.writer.commit();
    await settled();
    scene.answer(verifier);
    await committed;
  };
  return { ...scene, lend, commit, given };
}

t.test('lent memory is given back once, when its bytes are on stable storage', async (t) => {
  const { lend, answer, commit, given, dirty } = lending();
  lend(0);
  answer('first', 0);
  await settled();
  t.strictSame(given, [], 'the server may forget it');
  await commit('first');
  t.strictSame(given, [0]);
  lend(1, STABLE_HOW.FILE_SYNC);
  await settled();
  t.strictSame(given, [0]);
  answer('first', 1);
  await settled();
  t.strictSame(given, [0, 1], 'without a COMMIT');
  lend(2);
  answer('first', 2);
  await settled();
  await commit('first');
  t.strictSame(given, [0, 1, 2], 'nothing is given back again');
  t.equal(dirty.bytes, 0);
});

t.test('what is sent in two WRITEs is given back after the last of them', async (t) => {
  const { lend, answer, given } = lending();
  lend(0, STABLE_HOW.FILE_SYNC, 2);
  answer('first', 1);
  await settled();
  t.strictSame(given, []);
  answer('first', 0);
  await settled();
  t.strictSame(given, [0]);
});

t.test('what a server has forgotten is not given back before it is sent again', async (t) => {
  const { writer, lend, answer, commit, waiting, given } = lending();
  lend(0);
  answer('first', 0);
  await settled();
  const committed = writer.commit();
  await settled();
  answer('second');
  await settled();
  t.strictSame(waiting(), [0]);
  t.strictSame(given, []);
  answer('second', 0);
  await settled();
  t.strictSame(given, [], 'the server has it in memory only, again');
  answer('second');
  await committed;
  t.strictSame(given, [0]);
  lend(1);
  answer('second', 1);
  await settled();
  await commit('second');
  t.strictSame(given, [0, 1]);
});

t.test('memory of which only parts are known to be safe is not given back', async (t) => {
  const { writer, lend, answer, commit, given, dirty, lost } = lending();
  lend(0);
  answer('first', 0);
  await settled();
  writer.write(BigInt(BLOCK / 2), Buffer.alloc(BLOCK), false, AUTHOR, STABLE_HOW.UNSTABLE);
  answer('first', 0.5);
  await settled();
  await commit('first');
  t.strictSame(given, [], 'one part was replaced');
  lend(2, STABLE_HOW.FILE_SYNC);
  answer('first', 2, BLOCK / 2);
  await settled();
  answer('first', 2.5);
  await settled();
  t.strictSame(given, [], 'the server took it in parts');
  lend(4, STABLE_HOW.FILE_SYNC, 2);
  answer('first', 4);
  answer('first', 5, 0);
  await settled();
  t.equal(lost.length, 1);
  t.strictSame(given, [], 'one WRITE of two has failed');
  t.equal(dirty.bytes, 0);
});
