import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { cpuSecondsOf } from '../../../src/cli/bench/cpu-time.ts';
import { checksumFiles, surveyTree } from '../../../src/cli/bench/survey.ts';
import { rateOf, type TimedTask } from '../../../src/cli/bench/tasks.ts';
import { runTimed } from '../../../src/cli/bench/workloads.ts';

const SECONDS = 60;
const NOT_UTF8 = Buffer.from('small/not-utf8-\xff', 'latin1');

/** A tree of one large file, three small ones and a link; its root. */
function makeTree(t: Test): string {
  const root = t.testdir({ 'large.bin': 'x'.repeat(100_000), small: { one: 'one', two: '' } });
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), NOT_UTF8]), 'three');
  symlinkSync('large.bin', `${root}/link`);
  return root;
}

const small = ['small/not-utf8-\xff', 'small/one', 'small/two'];

t.test('every workload reads what it says', async (t) => {
  const root = makeTree(t);
  const given = { root, seconds: SECONDS, dropCache: false };
  const onLarge = { ...given, file: 'large.bin' };
  const done = (task: TimedTask) => {
    const { operations, bytes, seconds, attributes } = runTimed(task);
    t.ok(seconds > 0, `${task.workload}: it took time`);
    t.strictSame(attributes, {}, 'no mount of ours');
    return { operations, bytes };
  };
  const sequential = { ...onLarge, workload: 'sequential' } as const;
  t.strictSame(done({ ...sequential, bytesMax: 1e9 }), { operations: 1, bytes: 100_000 });
  t.strictSame(done({ ...sequential, bytesMax: 1e9, dropCache: true }), { operations: 1, bytes: 100_000 });
  for (const workload of ['pread', 'mmap'] as const) {
    const random = { ...onLarge, workload, seed: 3 };
    const pages = Math.floor(100_000 / 4096);
    t.strictSame(
      done({ ...random, readsMax: 1e6 }),
      { operations: pages, bytes: pages * 4096 },
      'whole pages',
    );
    t.strictSame(done({ ...random, readsMax: 2 }), { operations: 2, bytes: 8192 });
  }
  t.strictSame(done({ ...given, workload: 'small-files', files: small }), { operations: 3, bytes: 8 });
  t.strictSame(done({ ...given, workload: 'stat', files: small }), { operations: 3, bytes: 0 });
  // large.bin, link, small; three files in small; and both directories themselves.
  const list = { root, seconds: SECONDS, workload: 'list', directory: '' } as const;
  t.strictSame(done(list), { operations: 8, bytes: 0 });
});

t.test('a time limit ends a workload early', async (t) => {
  const root = t.testdir({});
  writeFileSync(`${root}/sparse`, '');
  truncateSync(`${root}/sparse`, 1024 ** 4);
  const { bytes } = runTimed({
    workload: 'sequential',
    root,
    file: 'sparse',
    bytesMax: 1024 ** 4,
    seconds: 0.01,
    dropCache: false,
  });
  t.ok(bytes > 0 && bytes < 1024 ** 4);
});

t.test('rates', async (t) => {
  const result = { seconds: 2, operations: 100, bytes: 8 * 1024 ** 2, cpuSeconds: 1, attributes: {} };
  t.equal(rateOf('sequential', result), 4);
  t.equal(rateOf('stat', result), 50);
});

t.test('a survey finds regular files, also those with hard names', async (t) => {
  const root = makeTree(t);
  const found = surveyTree({ survey: true, root, entriesMax: 1000, seconds: SECONDS });
  t.strictSame(found.files, [
    { name: 'large.bin', sizeBytes: 100_000 },
    { name: 'small/not-utf8-\xff', sizeBytes: 5 },
    { name: 'small/one', sizeBytes: 3 },
    { name: 'small/two', sizeBytes: 0 },
  ]);
  t.equal(found.entries, 6);
  t.ok(found.complete);
  t.notOk(surveyTree({ survey: true, root, entriesMax: 2, seconds: SECONDS }).complete, 'a limit is said');
  t.throws(() => surveyTree({ survey: true, root: `${root}/none`, entriesMax: 2, seconds: 1 }), {
    code: 'ENOENT',
  });
});

t.test('checksums tell bytes, and where one file ends, apart', async (t) => {
  const root = makeTree(t);
  const sum = (files: string[]) => checksumFiles({ checksum: true, root, files });
  const expected = createHash('sha256').update('onesmall/one\x003\x00').digest('hex');
  t.strictSame(sum(['small/one']), { sha256: expected, bytes: 3 });
  const before = sum(small);
  t.strictSame(sum(small), before);
  mkdirSync(`${root}/other`);
  writeFileSync(`${root}/small/two`, 'e');
  writeFileSync(`${root}/small/one`, 'on');
  t.equal(sum(small).bytes, before.bytes);
  t.not(sum(small).sha256, before.sha256, 'the same bytes in other files');
});

t.test('processor time', async (t) => {
  const before = cpuSecondsOf(process.pid);
  const start = process.cpuUsage();
  while (process.cpuUsage(start).user < 100_000) createHash('sha256').update('work').digest();
  t.ok(cpuSecondsOf(process.pid) > before, 'it grows with work');
  t.equal(cpuSecondsOf(0), 0, 'no such process');
});
