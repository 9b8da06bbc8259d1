import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { attributesOfFattr3 } from '../../src/gateway/attributes.ts';
import { Inode } from '../../src/gateway/inodes.ts';
import { KeptFiles } from '../../src/gateway/kept-files.ts';
import { GRANTS_KEPT_MAX } from '../../src/gateway/limits.ts';
import type { HeldFile } from '../../src/gateway/open-inode.ts';
import { ATTRIBUTES } from '../client/scripted-server.ts';

const TIMES = { acregminMs: 1, acregmaxMs: 1, acdirminMs: 1, acdirmaxMs: 1 };
const LONG_MS = 3_600_000;

let nextNode = 2n;
const inode = (): Inode =>
  new Inode(nextNode++, Buffer.from(String(nextNode)), attributesOfFattr3(ATTRIBUTES), TIMES);

interface FakeSession {
  closed: Error | undefined;
}

function held(session: FakeSession = { closed: undefined }): HeldFile {
  return { file: {}, session, backingId: undefined, why: 'a test' } as unknown as HeldFile;
}

function keeper(t: Test, keptMs: number): { kept: KeptFiles; released: HeldFile[] } {
  const released: HeldFile[] = [];
  const kept = new KeptFiles((file) => released.push(file), keptMs);
  t.teardown(() => {
    kept.close();
  });
  return { kept, released };
}

t.test('a kept file comes back once', async (t) => {
  const { kept, released } = keeper(t, LONG_MS);
  const [one, file] = [inode(), held()];
  t.equal(kept.take(one), undefined);
  kept.keep(one, file);
  t.equal(kept.take(inode()), undefined, 'another inode’s is not');
  t.equal(kept.take(one), file);
  t.equal(kept.take(one), undefined);
  t.equal(released.length, 0);
});

t.test('a grant ends with its session', async (t) => {
  const { kept, released } = keeper(t, LONG_MS);
  const [one, session] = [inode(), { closed: undefined as Error | undefined }];
  const file = held(session);
  kept.keep(one, file);
  session.closed = new Error('gone');
  t.equal(kept.take(one), undefined);
  t.same(released, [file]);
});

t.test('every file is let go once: replaced, dropped, too many, at the end', async (t) => {
  const { kept, released } = keeper(t, LONG_MS);
  const all: HeldFile[] = [];
  const keep = (one: Inode): void => {
    const file = held();
    all.push(file);
    kept.keep(one, file);
  };
  const one = inode();
  keep(one);
  keep(one);
  t.equal(released.length, 1, 'replaced');
  kept.drop(one);
  kept.drop(one);
  t.equal(released.length, 2, 'dropped');
  for (let count = 0; count < GRANTS_KEPT_MAX + 5; count += 1) keep(inode());
  t.equal(kept.size, GRANTS_KEPT_MAX);
  t.equal(released.length, 7, 'the oldest go first');
  kept.close();
  t.equal(kept.size, 0);
  t.same(new Set(released), new Set(all));
  t.equal(released.length, all.length);
});

t.test('nothing is kept for ever', async (t) => {
  const { kept, released } = keeper(t, 20);
  kept.keep(inode(), held());
  while (released.length === 0) await delay(5);
  t.equal(kept.size, 0);
  kept.keep(inode(), held());
  while (released.length === 1) await delay(5);
  t.equal(kept.size, 0, 'and again after a rest');
});
