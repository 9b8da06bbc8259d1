import t from 'tap';
import { closeFd } from '../../src/system/files.ts';
import { clearEvent, createEvent, signalEvent, waitReadable } from '../../src/system/wait.ts';

t.test('a signalled event is readable until cleared', async (t) => {
  const quiet = createEvent();
  const event = createEvent();
  t.teardown(() => [quiet, event].forEach(closeFd));
  t.equal(clearEvent(event), false);
  signalEvent(event);
  signalEvent(event);
  t.same(await waitReadable([quiet, event], 1000), [event]);
  t.equal(clearEvent(event), true);
  t.equal(clearEvent(event), false);
  t.same(await waitReadable([quiet, event], 0), []);
});

t.test('a signal ends a wait that has begun, and the loop runs on meanwhile', async (t) => {
  const event = createEvent();
  t.teardown(() => closeFd(event));
  const wait = waitReadable([event], -1);
  setImmediate(() => signalEvent(event));
  t.same(await wait, [event]);
});

t.test('a closed descriptor is an error', async (t) => {
  const event = createEvent();
  closeFd(event);
  await t.rejects(waitReadable([event], 10), { code: 'EBADF' });
  t.throws(() => signalEvent(event), { code: 'EBADF' });
  t.throws(() => clearEvent(event), { code: 'EBADF' });
});
