import { appendFileSync, closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { hasCapability } from '../../src/system/capabilities.ts';
import {
  FAN_ATTRIB,
  FAN_CLOSE_WRITE,
  FAN_CREATE,
  FAN_MODIFY,
  FAN_ONDIR,
  FAN_Q_OVERFLOW,
  Fanotify,
  FanotifyFormatError,
  parseFanotifyEvents,
} from '../../src/system/fanotify.ts';
import { ErrnoError } from '../../src/system/errno.ts';
import { fstatfs } from '../../src/system/files.ts';
import { nameToHandleAt } from '../../src/system/handles.ts';

/**
 * `echo hi >f` in a directory of ext4, as Linux 6.18 tells it (FAN_REPORT_DFID_NAME_TARGET): the metadata, the directory with the
 * name, and the file.
 */
const CREATED = Buffer.from(
  [
    '5800000003001800', // event_len 88, vers 3, metadata_len 24
    '0a01000000000000', // FAN_CREATE | FAN_CLOSE_WRITE | FAN_MODIFY
    'ffffffff190f0000', // no descriptor, pid 3865
    '02002000238bb772da92cfe6080000000100000051c22000a49e606566000000', // DFID_NAME: `f`
    '01002000238bb772da92cfe6080000000100000062c22000de46b73b00000000', // FID
  ].join(''),
  'hex',
);
const OVERFLOW = Buffer.from('18000000030018000040000000000000ffffffff00000000', 'hex');
const FSID = 0xe6cf92da72b78b23n;

void t.test('events are read as the kernel wrote them', (t) => {
  const [event, overflow, ...more] = parseFanotifyEvents(Buffer.concat([CREATED, OVERFLOW]));
  t.strictSame(more, []);
  t.match(event, {
    mask: FAN_CREATE | FAN_CLOSE_WRITE | FAN_MODIFY,
    pid: 3865,
    name: Buffer.from('f'),
    directory: { fsid: FSID, handle: { type: 1, bytes: Buffer.from('51c22000a49e6065', 'hex') } },
    object: { fsid: FSID, handle: { type: 1, bytes: Buffer.from('62c22000de46b73b', 'hex') } },
  });
  t.match(overflow, {
    mask: FAN_Q_OVERFLOW,
    pid: 0,
    name: undefined,
    directory: undefined,
    object: undefined,
  });
  t.end();
});

void t.test('a file without a handle is no file', (t) => {
  const bytes = Buffer.from(CREATED);
  // FILEID_INVALID, of no bytes.
  bytes.writeUInt32LE(0, 24 + 32 + 12);
  bytes.writeInt32LE(0xff, 24 + 32 + 16);
  t.equal(parseFanotifyEvents(bytes)[0]?.object, undefined);
  t.end();
});

void t.test('what is cut off, or says to be longer than it is, is refused', (t) => {
  for (let length = 1; length < CREATED.length; length += 1) {
    t.throws(() => parseFanotifyEvents(CREATED.subarray(0, length)), FanotifyFormatError, `${length} bytes`);
  }
  const wrong: readonly [string, number, number][] = [
    ['an event shorter than its metadata', 0, 23],
    ['another version', 4, 4],
    ['metadata longer than the event', 6, 89],
    ['a record of no length', 26, 0],
    ['a record longer than the event', 26, 65],
    ['a handle longer than its record', 24 + 12, 200],
  ];
  for (const [what, at, value] of wrong) {
    const bytes = Buffer.from(CREATED);
    bytes[at] = value;
    t.throws(() => parseFanotifyEvents(bytes), FanotifyFormatError, what);
  }
  t.end();
});

void t.test('no bytes make it fail otherwise', (t) => {
  fc.assert(
    fc.property(fc.nat(CREATED.length - 1), fc.nat(255), fc.nat(CREATED.length), (at, value, length) => {
      const bytes = Buffer.from(CREATED.subarray(0, length));
      if (at < length) bytes[at] = value;
      try {
        parseFanotifyEvents(bytes);
      } catch (error) {
        if (!(error instanceof FanotifyFormatError)) throw error;
      }
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

const skip = !hasCapability('CAP_SYS_ADMIN') && 'needs CAP_SYS_ADMIN';

void t.test(
  'a whole file system tells of its files by their handles, and who changed them',
  { skip },
  (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'nearmount-'));
    const fd = openSync(directory, 'r');
    const fanotify = new Fanotify();
    t.teardown(() => {
      fanotify.close();
      closeSync(fd);
      rmSync(directory, { recursive: true });
    });
    const mask = FAN_CREATE | FAN_MODIFY | FAN_ATTRIB | FAN_ONDIR;
    try {
      fanotify.mark(fd, mask);
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.code === 'EPERM') throw error;
      t.comment(`the file system of ${directory} cannot be watched (${error.message}): try another TMPDIR`);
      t.end();
      return;
    }
    const here = nameToHandleAt(fd);
    const { fsid } = fstatfs(fd);
    /** Of this directory only: others use the file system, too. */
    const events = () => {
      const found: { name: string | undefined; pid: number; mask: number }[] = [];
      for (let read = fanotify.read(); read.length > 0; read = fanotify.read()) {
        for (const event of read) {
          if (event.directory?.fsid !== fsid || !event.directory.handle.bytes.equals(here.bytes)) continue;
          found.push({ name: event.name?.toString(), pid: event.pid, mask: event.mask });
        }
      }
      return found;
    };
    appendFileSync(join(directory, 'ours'), 'x');
    t.match(events(), [{ name: 'ours', pid: process.pid }]);
    execFileSync('sh', ['-c', 'echo x >theirs'], { cwd: directory });
    const theirs = events();
    t.match(theirs, [{ name: 'theirs' }]);
    t.not(theirs[0]?.pid, process.pid);
    fanotify.unmark(fd, mask);
    appendFileSync(join(directory, 'ours'), 'x');
    t.strictSame(events(), [], 'what is not marked any more tells nothing');
    t.end();
  },
);
