/** The order of what one inode's writer does, with each reply given by hand. */
import t from 'tap';
import { DEFAULT_ATTRIBUTE_TIMES } from '../../src/gateway/attribute-times.ts';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { DirtyBytes } from '../../src/gateway/dirty-bytes.ts';
import { FileWriter, type WritingSite } from '../../src/gateway/file-writer.ts';
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
  readonly reply: (verifier: string) => void;
}

/** A writer, and the calls that wait for their reply. */
function writing() {
  const asked: Asked[] = [];
  const nfs = (name: string, args: Partial<WRITE3args>) =>
    new Promise((resolve) => {
      const block = Number(args.offset ?? 0n) / BLOCK;
      const count = args.count ?? 0;
      const reply = (verifier: string): void => {
        asked.splice(asked.indexOf(call), 1);
        resolve({ status: NFS3_OK, wcc: WCC, count, committed: args.stable, verf: Buffer.from(verifier) });
      };
      const call = { name, block, reply };
      asked.push(call);
    });
  const dirty = new DirtyBytes();
  const lost: unknown[] = [];
  const site = {
    link: { session: {} as unknown, nfs },
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
  const answer = (verifier: string, block?: number): void => {
    const call = asked.find((each) => (block === undefined ? each.name === 'COMMIT' : each.block === block));
    if (call === undefined) throw new Error(`nobody waits for block ${block}`);
    call.reply(verifier);
  };
  const waiting = (): (number | string)[] =>
    asked.map(({ name, block }) => (name === 'WRITE' ? block : name));
  return { writer, write, answer, waiting, dirty, lost };
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
