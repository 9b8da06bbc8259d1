import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { STATE_LOG_RECORD_BYTES_MAX } from '../../src/store/limits.ts';
import { StateLog } from '../../src/store/state-log.ts';
import { makeDirectory } from '../support/trees.ts';

const CAPACITY = 64 * 1024;
const TITLE = Buffer.from('title');
const record = (text: string): Buffer => Buffer.from(text);

function open(directory: string): StateLog {
  const log = StateLog.open(directory, 'log');
  if (log === undefined) throw new Error('somebody has it');
  return log;
}

/** A log that was written anew with `records`. */
function fresh(t: Test, directory: string, ...records: string[]): StateLog {
  const log = open(directory);
  t.teardown(() => log.close());
  log.reserve(CAPACITY);
  log.rewrite(
    TITLE,
    records.map((text) => [record(text)]),
  );
  return log;
}

/** What a process finds that opens the log after this one was killed. */
function found(directory: string): { title: string | undefined; records: string[] } {
  const copy = fs.mkdtempSync(path.join(directory, 'copy-'));
  for (const file of ['log.0', 'log.1']) fs.copyFileSync(path.join(directory, file), path.join(copy, file));
  const log = open(copy);
  const { title, records } = log.contents;
  log.close();
  fs.rmSync(copy, { recursive: true });
  return { title: title?.toString(), records: records.map((each) => each.toString()) };
}

t.test('records are there again, in their order', async (t) => {
  const directory = makeDirectory(t);
  const empty = open(directory);
  t.same(empty.contents, { title: undefined, records: [] });
  t.throws(() => empty.append(record('early')), /not written yet/);
  empty.close();
  t.throws(() => empty.append(record('late')), /closed/);

  const log = fresh(t, directory, 'first', 'second');
  t.ok(log.append(record('thi'), record('rd')));
  t.same(found(directory), { title: 'title', records: ['first', 'second', 'third'] });
  t.equal(fs.statSync(path.join(directory, 'log.0')).mode & 0o777, 0o600);
  const used = log.usedBytes;
  log.append(record('four'));
  t.equal(log.usedBytes, used + StateLog.frameBytes(4));
});

t.test('a rewrite takes the place of everything, as often as it comes', async (t) => {
  const directory = makeDirectory(t);
  const log = fresh(t, directory, 'one', 'two', 'three');
  for (let round = 0; round < 5; round += 1) {
    log.reserve(CAPACITY);
    log.rewrite(record(`title ${round}`), [[record(`round ${round}`)]]);
    t.same(
      found(directory),
      { title: `title ${round}`, records: [`round ${round}`] },
      'no older ones behind it',
    );
    log.append(record('more'));
  }
  t.same(found(directory).records, ['round 4', 'more']);
});

t.test('one process has it', async (t) => {
  const directory = makeDirectory(t);
  const log = fresh(t, directory, 'mine');
  t.equal(StateLog.open(directory, 'log'), undefined);
  t.ok(log.append(record('still mine')));
  log.close();
  const next = open(directory);
  t.same(next.contents.records.map(String), ['mine', 'still mine']);
  next.close();
});

t.test('the last record torn at any byte', async (t) => {
  const directory = makeDirectory(t);
  const log = fresh(t, directory, 'kept');
  const whole = log.usedBytes;
  log.append(record('torn'));
  const end = log.usedBytes;
  log.close();
  const file = path.join(directory, 'log.1');
  const bytes = fs.readFileSync(file);
  for (let cut = whole; cut < end; cut += 1) {
    const torn = Buffer.from(bytes);
    torn.fill(0, cut, end);
    fs.writeFileSync(file, torn);
    t.same(found(directory).records, ['kept'], `${cut - whole} bytes of it`);
    fs.writeFileSync(file, bytes.subarray(0, cut));
    t.same(found(directory).records, ['kept'], 'and the file ends there');
  }
  // What comes next goes where the torn one was.
  const next = fresh(t, directory, 'kept');
  next.append(record('next'));
  t.same(found(directory).records, ['kept', 'next']);
});

t.test('killed in a rewrite: what was before', async (t) => {
  const directory = makeDirectory(t);
  const log = fresh(t, directory, 'before');
  const batches = function* (): Generator<Buffer[]> {
    // More than is written at a time, so that some of it is in the file.
    for (let count = 0; count < 400; count += 1) yield [Buffer.alloc(STATE_LOG_RECORD_BYTES_MAX, 'x')];
    throw new Error('killed');
  };
  log.reserve(4 * 1024 * 1024);
  t.throws(() => log.rewrite(TITLE, batches()), /killed/);
  t.same(found(directory).records, ['before']);
  log.append(record('after'));
  t.same(found(directory).records, ['before', 'after'], 'and it goes on');
  log.rewrite(TITLE, [[record('short')]]);
  t.same(found(directory).records, ['short'], 'nothing of the rewrite that was killed');
});

t.test('a full log says so, and takes no more than it reserved', async (t) => {
  const directory = makeDirectory(t);
  const log = fresh(t, directory);
  let count = 0;
  while (log.append(Buffer.alloc(1_000))) count += 1;
  t.equal(count, Math.floor((CAPACITY - StateLog.frameBytes(TITLE.length)) / StateLog.frameBytes(1_000)));
  t.equal(fs.statSync(path.join(directory, 'log.1')).size, CAPACITY);
  t.equal(found(directory).records.length, count);
  t.throws(() => log.rewrite(TITLE, [[Buffer.alloc(1_000)]]), { code: 'ENOSPC' }, 'nothing was reserved');
  log.reserve(4_096);
  t.throws(() => log.rewrite(TITLE, Array<Buffer[]>(5).fill([Buffer.alloc(1_000)])), { code: 'ENOSPC' });
  t.equal(found(directory).records.length, count, 'as it was');
  log.rewrite(TITLE, []);
  t.equal(log.capacityBytes, 4_096);
});

t.test('records that are none', async (t) => {
  const log = fresh(t, makeDirectory(t));
  t.throws(() => log.append(Buffer.alloc(0)), RangeError);
  t.throws(() => log.append(Buffer.alloc(STATE_LOG_RECORD_BYTES_MAX), Buffer.alloc(1)), RangeError);
  t.ok(log.append(Buffer.alloc(STATE_LOG_RECORD_BYTES_MAX)));
});

t.test('whatever lies in the files: only what was written is read, from the beginning on', async (t) => {
  const directory = makeDirectory(t);
  const log = fresh(t, directory, 'old 1', 'old 2');
  log.reserve(4_096);
  const written = ['new 1', 'new 2', 'new 3', 'new 4'];
  log.rewrite(
    TITLE,
    written.map((text) => [record(text)]),
  );
  log.close();
  const files = ['log.0', 'log.1'].map((name) => path.join(directory, name));
  const wholes = files.map((file) => fs.readFileSync(file).subarray(0, 400));
  const change = fc.record({ file: fc.nat(1), at: fc.nat(399), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(400), (changes, length) => {
      const bytes = wholes.map((whole) => Buffer.from(whole));
      for (const { file, at, byte } of changes) bytes[file]?.writeUInt8(byte, at);
      files.forEach((file, index) => fs.writeFileSync(file, bytes[index]?.subarray(0, length) ?? ''));
      const { records } = found(directory);
      const isPrefix = (of: string[]): boolean => records.every((each, index) => each === of[index]);
      if (!isPrefix(written) && !isPrefix(['old 1', 'old 2'])) throw new Error(records.join());
    }),
    { numRuns: 300 },
  );
  for (const garbage of [
    Buffer.alloc(20, 0xff),
    Buffer.from('no log at all, but some text of some length'),
  ]) {
    for (const file of files) fs.writeFileSync(file, garbage);
    t.same(found(directory), { title: undefined, records: [] });
  }
});
