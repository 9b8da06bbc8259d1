/** The ledgers of the writers notice what they are there to notice. */
import { appendFileSync, mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeDirectory } from '../support/trees.ts';
import { NameLedger, type NameStep } from './name-ledger.ts';
import { RecordLedger, type RecordStep } from './record-ledger.ts';
import { recordBytes } from './records.mjs';
import { WriterProcess } from './writer-process.ts';

const RECORD: RecordStep = { file: 'f', writes: [{ offset: 10, bytes: 100, record: 'first' }] };
const SECOND: RecordStep = { file: 'f', writes: [{ offset: 60, bytes: 100, record: 'second' }] };
const STEPS = 60;

t.test('records', async (t) => {
  const scene = (t: Test) => {
    const directory = makeDirectory(t);
    const content = Buffer.alloc(110);
    recordBytes('first', 100).copy(content, 10);
    writeFileSync(join(directory, 'f'), content);
    const ledger = new RecordLedger();
    ledger.begin(RECORD);
    ledger.done();
    t.same(ledger.complaints(directory), []);
    return { directory, file: join(directory, 'f'), ledger, content };
  };

  t.test('an acknowledged byte that differs, is missing, or one more', async (t) => {
    const { directory, file, ledger, content } = scene(t);
    const wrong = Buffer.from(content);
    wrong[50]! ^= 1;
    writeFileSync(file, wrong);
    t.match(ledger.complaints(directory), [/first difference at 50/]);
    writeFileSync(file, content.subarray(0, 109));
    t.match(ledger.complaints(directory), [/109 bytes, 110 acknowledged/]);
    writeFileSync(file, Buffer.concat([content, content]));
    t.match(ledger.complaints(directory), [/220 bytes, 110 acknowledged, first difference at 110/]);
    rmSync(file);
    t.match(ledger.complaints(directory), [/is not there/]);
  });

  t.test('of a record under way any part may be there, and nothing else', async (t) => {
    const { directory, file, ledger, content } = scene(t);
    ledger.begin(SECOND);
    t.same(ledger.complaints(directory), [], 'nothing of it');
    const part = Buffer.concat([content, Buffer.alloc(20)]);
    recordBytes('second', 100).copy(part, 100, 40, 70);
    writeFileSync(file, part);
    t.same(ledger.complaints(directory), [], 'a part');
    part[20]! ^= 1;
    writeFileSync(file, part);
    t.match(ledger.complaints(directory), [/byte 20 is neither/]);
    truncateSync(file, 100);
    t.match(ledger.complaints(directory), [/100 bytes, 110 acknowledged, 160 with/]);
  });

  t.test('a truncation is whole', async (t) => {
    const { directory, file, ledger } = scene(t);
    ledger.begin({ file: 'f', truncate: 0, writes: [] });
    t.same(ledger.complaints(directory), []);
    truncateSync(file, 50);
    t.match(ledger.complaints(directory), [/while it was truncated/]);
    truncateSync(file, 0);
    t.same(ledger.complaints(directory), []);
    ledger.done();
    t.same(ledger.complaints(directory), []);
    appendFileSync(file, 'x');
    t.match(ledger.complaints(directory), [/1 bytes, 0 acknowledged/]);
  });
});

t.test('names', async (t) => {
  const directory = makeDirectory(t);
  mkdirSync(join(directory, 'a'));
  const ledger = new NameLedger();
  const did = (step: NameStep) => {
    ledger.begin(step);
    ledger.done();
  };
  const file = { kind: 'file', id: 'one' } as const;
  ledger.begin({ op: 'create', name: 'a/0', entry: file });
  t.same(ledger.complaints(directory), [], 'not yet made');
  writeFileSync(join(directory, 'a/0'), '');
  t.same(ledger.complaints(directory), [], 'made, and empty');
  writeFileSync(join(directory, 'a/0'), 'one');
  t.same(ledger.complaints(directory), [], 'filled');
  ledger.done();
  t.same(ledger.complaints(directory), []);

  ledger.begin({ op: 'rename', from: 'a/0', to: 'a/1' });
  t.same(ledger.complaints(directory), [], 'before');
  renameSync(join(directory, 'a/0'), join(directory, 'a/1'));
  t.same(ledger.complaints(directory), [], 'after');
  writeFileSync(join(directory, 'a/0'), 'one');
  t.match(ledger.complaints(directory), [/under way/, /not acknowledged: a\/1/], 'both names');
  rmSync(join(directory, 'a/0'));
  ledger.done();
  did({ op: 'link', from: 'a/1', to: 'a/2' });
  t.match(ledger.complaints(directory).join('\n'), /not there: a\/2 file one links 2/, 'lost');
  did({ op: 'remove', name: 'a/2' });
  t.same(ledger.complaints(directory), []);
  did({ op: 'mkdir', name: 'a/3', entry: { kind: 'directory' } });
  writeFileSync(join(directory, 'a/3'), '');
  t.match(ledger.complaints(directory).join('\n'), /not acknowledged: a\/3 file/, 'another kind');
  rmSync(join(directory, 'a/3'));
  did({ op: 'rmdir', name: 'a/3' });
  rmSync(join(directory, 'a/1'));
  t.match(ledger.complaints(directory).join('\n'), /not there: a\/1 file one links 1/, 'removed twice');
});

for (const [script, ledger, spoil] of [
  ['record-writer.mjs', new RecordLedger(), 'slots'],
  ['name-changer.mjs', new NameLedger(), 'a/spoilt'],
] as const) {
  t.test(`${script} does what it says, and an error of it is told`, async (t) => {
    const disk = makeDirectory(t);
    mkdirSync(join(disk, 'a'));
    mkdirSync(join(disk, 'b'));
    const writer = new WriterProcess<never>(t, { script, point: disk, disk, seed: 7, ledger });
    await writer.progress(STEPS);
    await writer.pause();
    t.same(writer.complaints(), []);
    appendFileSync(join(disk, spoil), 'x');
    t.not(writer.complaints().length, 0);
    rmSync(disk, { recursive: true });
    writeFileSync(disk, '');
    writer.resume();
    await writer.progress(Infinity);
    rmSync(disk);
    mkdirSync(disk);
    t.match(writer.complaints()[0], /ENOTDIR|Not a directory/);
  });
}
