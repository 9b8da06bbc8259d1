import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { memoryPair } from '../../src/transport/memory.ts';
import { recordTransportSuite } from './record-transport-suite.ts';

recordTransportSuite(t, 'memory', async () => memoryPair());

t.test('the receiver does not see later changes of what was sent', async (t) => {
  const [left, right] = memoryPair();
  const seen: string[] = [];
  right.start(
    (record) => seen.push(Buffer.concat(record).toString()),
    () => undefined,
  );
  const buffer = Buffer.from('before');
  left.send([buffer], () => buffer.fill('x'));
  await nextTurn();
  t.strictSame(seen, ['before']);
});

t.test('records wait for start and for resume', async (t) => {
  const [left, right] = memoryPair();
  left.send([Buffer.of(1)]);
  await nextTurn();
  const seen: number[] = [];
  right.start(
    (record) => {
      seen.push(record[0]![0]!);
      right.pause();
    },
    () => undefined,
  );
  left.send([Buffer.of(2)]);
  left.send([Buffer.of(3)]);
  await nextTurn();
  t.strictSame(seen, [1]);
  right.resume();
  t.strictSame(seen, [1, 2]);
  right.resume();
  t.strictSame(seen, [1, 2, 3]);
});
