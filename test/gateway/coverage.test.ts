import t from 'tap';
import type { AttributeTimes } from '../../src/gateway/attribute-times.ts';
import { Coverage } from '../../src/gateway/coverage.ts';
import { Inode } from '../../src/gateway/inodes.ts';
import type { Attributes } from '../../src/gateway/operations.ts';

const HANDLE = Buffer.from('handle');
const KEY = HANDLE.toString('latin1');
const HOUR_MS = 3_600_000;
const TIMES: AttributeTimes = {
  acregminMs: 3_000,
  acregmaxMs: 60_000,
  acdirminMs: 30_000,
  acdirmaxMs: 60_000,
};

function attributes(size = 1n): Attributes {
  const time = { seconds: 1, nanoseconds: 0 };
  return {
    ino: 7n,
    mode: 0o100644,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdevMajor: 0,
    rdevMinor: 0,
    size,
    used: 0n,
    atime: time,
    mtime: time,
    ctime: time,
  };
}

/** Later than any moment before, on the clock of performance.now(). */
function later(): number {
  const nowMs = performance.now();
  while (performance.now() === nowMs);
  return performance.now();
}

void t.test('what is asked for while it is on is covered, until something is told of the file', (t) => {
  const coverage = new Coverage();
  t.equal(coverage.covers(KEY, later()), false);
  const before = later();
  coverage.begin();
  t.equal(coverage.covers(KEY, before), false, 'asked for before');
  const asked = later();
  t.equal(coverage.covers(KEY, asked), true);
  later();
  coverage.told(KEY);
  t.equal(coverage.covers(KEY, asked), false, 'the answer may show what was before');
  t.equal(coverage.covers('another', asked), true);
  t.equal(coverage.covers(KEY, later()), true);
  coverage.end();
  t.equal(coverage.covers('another', asked), false);
  t.end();
});

void t.test('what is forgotten counts as told', (t) => {
  const coverage = new Coverage(undefined, 2);
  coverage.begin();
  const asked = later();
  later();
  for (let i = 0; i < 16; i += 1) coverage.told(`file ${i}`);
  t.equal(coverage.covers('file 0', asked), false, 'of the oldest it is not known any more when it was told');
  t.equal(coverage.covers('file 15', asked), false);
  t.equal(coverage.covers('file 0', later()), true);
  t.end();
});

void t.test(
  'an inode is believed for an hour while covered; the kernel is told no more than without',
  (t) => {
    const coverage = new Coverage({ fileMs: HOUR_MS, directoryMs: HOUR_MS });
    const times = { ...TIMES, coverage };
    coverage.begin();
    const asked = later();
    const inode = new Inode(2n, HANDLE, attributes(), times, later(), asked);
    t.equal(inode.isCovered, true);
    t.ok(inode.remainingMs > TIMES.acregmaxMs);
    t.equal(inode.tellableMs(false), TIMES.acregmaxMs);
    t.equal(inode.reply().validMs, TIMES.acregmaxMs);

    inode.update(attributes(), times);
    t.equal(inode.isCovered, true, 'nothing new from elsewhere changes nothing');
    coverage.end();
    t.equal(inode.isCovered, false);
    t.ok(inode.remainingMs <= TIMES.acregminMs, 'it falls back to the time it would have had');
    t.ok(inode.remainingMs > 0);
    t.end();
  },
);

void t.test('an answer that was overtaken is not believed for long', (t) => {
  const coverage = new Coverage({ fileMs: HOUR_MS, directoryMs: HOUR_MS });
  const times = { ...TIMES, coverage };
  coverage.begin();
  const asked = later();
  later();
  coverage.told(KEY);
  // It was not known yet when something was told of it: made by the answer to a LOOKUP, or from a listing.
  const made = new Inode(2n, HANDLE, attributes(), times, later(), asked);
  t.equal(made.isCovered, false);
  t.ok(made.remainingMs <= TIMES.acregminMs);

  const known = new Inode(3n, HANDLE, attributes(), times, later(), later());
  t.equal(known.isCovered, true);
  const askedAgain = later();
  later();
  coverage.told(KEY);
  known.expire();
  known.update(attributes(2n), times, later(), askedAgain);
  t.equal(known.remainingMs, 0, 'asked for before it was told of');
  known.update(attributes(2n), times, later(), later());
  t.equal(known.isCovered, true);
  t.end();
});

void t.test('what does not come from the server is not covered', (t) => {
  const coverage = new Coverage({ fileMs: HOUR_MS, directoryMs: HOUR_MS });
  const times = { ...TIMES, coverage };
  coverage.begin();
  const inode = new Inode(2n, HANDLE, attributes(), times, later(), later());
  inode.update(attributes(5n), times);
  t.equal(inode.isCovered, false);
  inode.update(attributes(5n), times, later(), later());
  t.equal(inode.isCovered, true);
  inode.adopt(attributes(6n), times);
  t.equal(inode.isCovered, true, 'a change of ours alone leaves it covered');
  inode.uncover();
  t.equal(inode.isCovered, false);
  t.ok(inode.remainingMs > 0);
  t.end();
});

void t.test('with noac nothing is believed, covered or not', (t) => {
  const coverage = new Coverage({ fileMs: 0, directoryMs: 0 });
  const times = { acregminMs: 0, acregmaxMs: 0, acdirminMs: 0, acdirmaxMs: 0, coverage };
  coverage.begin();
  const inode = new Inode(2n, HANDLE, attributes(), times, later(), later());
  t.equal(inode.remainingMs, 0);
  t.end();
});
