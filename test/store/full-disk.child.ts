import fs from 'node:fs';
import path from 'node:path';
import { StateLog } from '../../src/store/state-log.ts';
import { mountFileSystem } from '../../src/system/mounts.ts';

// In a mount namespace of its own: a state directory on a disk that is full; see surroundings.test.ts.
const top = process.argv[2] as string;
mountFileSystem({ source: 'tmpfs', target: top, type: 'tmpfs', data: 'size=1m' });
const CAPACITY = 128 * 1024;
const TITLE = Buffer.from('title');

const open = (): StateLog => {
  const log = StateLog.open(top, 'log');
  if (log === undefined) throw new Error('somebody has it');
  return log;
};
const codeOf = (action: () => unknown): unknown => {
  try {
    return action();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
};
/** Takes all that is left of the disk. */
const fill = (name: string): unknown =>
  codeOf(() => {
    const fd = fs.openSync(path.join(top, name), 'w');
    for (;;) fs.writeSync(fd, Buffer.alloc(4096));
  });

const log = open();
const rewrite = (capacity: number): void => {
  log.reserve(capacity);
  log.rewrite(TITLE, [[Buffer.from('kept')]]);
};
rewrite(CAPACITY);
rewrite(CAPACITY);
const filled = fill('all');
let appended = 0;
while (log.append(Buffer.alloc(1_000))) appended += 1;
const grown = log.reserve(2 * CAPACITY);
log.rewrite(TITLE, [[Buffer.from('kept on a full disk')]]);
log.append(Buffer.from('added on a full disk'));
log.close();
const again = open();
const records = again.contents.records.map(String);
again.close();
for (const name of ['log.0', 'log.1']) fs.unlinkSync(path.join(top, name));
fill('more');
const fresh = open();
const first = codeOf(() => {
  fresh.reserve(CAPACITY);
  fresh.rewrite(TITLE, []);
});
console.log(JSON.stringify({ filled, appended, grown, records, first }));
