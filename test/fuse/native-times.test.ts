/** Both times of utimens, out of the notes of libfuse's thread. */
import t from 'tap';
import { UTIMENS_OPCODE, withBothTimes } from '../../src/fuse/native-times.ts';

/** Notes with an opcode and two times, as fuse-native 2.2 lays them out. */
function thread(opcode: number, atimeMs: bigint, mtimeMs: bigint): Buffer {
  const notes = Buffer.alloc(232);
  notes.writeUInt32LE(opcode, 8);
  notes.writeBigInt64LE(atimeMs, 104);
  notes.writeBigInt64LE(mtimeMs, 112);
  return notes;
}

/** The times as the handler adds them up, for the arguments that fuse-native gives. */
function timesOf(notes: Buffer, atimeMs: bigint): number[] {
  const told: number[] = [];
  const low = Number(BigInt.asUintN(32, atimeMs));
  const high = Number(BigInt.asUintN(32, atimeMs >> 32n));
  const handler = withBothTimes((_thread, _opcode, path, ...words) => {
    t.equal(path, '/file');
    const [atimeLow, atimeHigh, mtimeLow, mtimeHigh] = words as number[];
    told.push(atimeLow! + atimeHigh! * 2 ** 32, mtimeLow! + mtimeHigh! * 2 ** 32);
  });
  handler(notes, UTIMENS_OPCODE, '/file', low, high, low, high);
  return told;
}

t.test('each its own', async (t) => {
  t.same(
    timesOf(thread(12, 981_173_106_500n, 1_700_000_000_001n), 981_173_106_500n),
    [981_173_106_500, 1_700_000_000_001],
  );
});

t.test('before 1970', async (t) => {
  t.same(timesOf(thread(12, -1n, -86_400_000n), -1n), [-1, -86_400_000]);
});

t.test('no time is made up where the notes are others', async (t) => {
  for (const notes of [thread(11, 5n, 6n), thread(12, 4n, 6n), thread(12, 5n, 6n).subarray(0, 112)]) {
    t.same(timesOf(notes, 5n), [NaN, NaN]);
  }
});
