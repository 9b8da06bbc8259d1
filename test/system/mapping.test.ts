import { ftruncateSync, openSync, readFileSync, writeSync, closeSync } from 'node:fs';
import t from 'tap';
import { F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK } from '../../src/system/constants.ts';
import { closeFd } from '../../src/system/files.ts';
import { Mapping, createSegment, mapSegment } from '../../src/system/mapping.ts';
import { addSeals, createMemory, createSealedMemory, getSeals } from '../../src/system/memory.ts';

const BYTES = 1024 * 1024;

t.test('what the owner writes, others see and cannot change', async (t) => {
  const { fd, mapping } = createSegment('test', BYTES);
  t.teardown(() => closeFd(fd));
  const other = mapSegment(fd, BYTES);
  const mine = Buffer.from(mapping.memory);
  const theirs = Buffer.from(other.memory);
  t.ok(theirs.equals(Buffer.alloc(BYTES)), 'zeros at first');
  mine.write('hello', 5000);
  t.equal(theirs.toString('latin1', 5000, 5005), 'hello');

  const again = openSync(`/proc/self/fd/${fd}`, 'r+');
  t.throws(() => writeSync(again, 'x', 0), { code: 'EPERM' }, 'not by write');
  t.throws(() => Mapping.of(again, BYTES, 'write'), { code: 'EPERM' }, 'not by another mapping');
  t.throws(() => ftruncateSync(again, 10), { code: 'EPERM' });
  t.throws(() => ftruncateSync(again, 2 * BYTES), { code: 'EPERM' });
  t.throws(() => addSeals(fd, 0x8), { code: 'EPERM' }, 'the seals are final');
  closeSync(again);

  other.unmap();
  other.unmap();
  t.notOk(other.isMapped);
  t.equal(theirs[5000], 0, 'views of what was unmapped read as zeros');
  t.equal(mine.toString('latin1', 5000, 5005), 'hello', 'the owner keeps its own');
  mapping.unmap();
  t.equal(mine[5000], 0);
});

t.test('only a whole and sealed segment is mapped', async (t) => {
  const refused = (what: string, make: () => number, bytes = BYTES): void => {
    const fd = make();
    t.throws(() => mapSegment(fd, bytes), { code: 'EINVAL' }, what);
    closeFd(fd);
  };
  const sized = (bytes: number, seals: number): number => {
    const fd = createMemory('test');
    ftruncateSync(fd, bytes);
    addSeals(fd, seals);
    return fd;
  };
  const wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
  refused('no seals', () => createMemory('test'), 0);
  refused('holes instead of memory', () => sized(BYTES, wanted));
  refused('shorter than it should be', () => createSealedMemory('test', Buffer.alloc(BYTES - 1)));
  refused('longer', () => createSealedMemory('test', Buffer.alloc(BYTES + 1)));
  refused('a directory', () => openSync('/', 'r'));
  refused('a device', () => openSync('/dev/zero', 'r'), 0);
  refused('a file of a disk', () => openSync('/proc/self/exe', 'r'));
  refused('without the seal against shrinking', () => {
    const fd = createMemory('test');
    writeSync(fd, Buffer.alloc(BYTES));
    addSeals(fd, F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
    return fd;
  });
  const { fd, mapping } = createSegment('test', BYTES);
  t.equal(getSeals(fd) & wanted, wanted);
  t.throws(() => mapSegment(fd, BYTES - 4096), { code: 'EINVAL' });
  mapSegment(fd, BYTES).unmap();
  mapping.unmap();
  closeFd(fd);
});

t.test('many mappings leave nothing behind', async (t) => {
  const inMemory = (): number =>
    Number(/RssShmem:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const before = inMemory();
  for (let round = 0; round < 50; round += 1) {
    const { fd, mapping } = createSegment('test', BYTES);
    const other = mapSegment(fd, BYTES);
    new Uint8Array(mapping.memory)[7] = round;
    t.equal(new Uint8Array(other.memory)[7], round);
    other.unmap();
    mapping.unmap();
    closeFd(fd);
  }
  t.ok(inMemory() - before < 1024, 'no pages of segments that are gone');
});
