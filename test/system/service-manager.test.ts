import { join } from 'node:path';
import t from 'tap';
import { notifyServiceManager } from '../../src/system/service-manager.ts';
import { listenForNotices } from '../support/notify-socket.ts';
import { makeDirectory } from '../support/trees.ts';

t.test('a socket with a path, and one without', async (t) => {
  for (const name of [join(makeDirectory(t), 'notify'), `@nearmount-test-${process.pid}`]) {
    const socket = listenForNotices(t, name);
    t.equal(notifyServiceManager(['READY=1', 'STATUS=all is well: ü'], { NOTIFY_SOCKET: name }), true);
    await socket.until('READY=1');
    t.same(socket.messages, ['READY=1\nSTATUS=all is well: ü'], name);
  }
});

t.test('nobody asked', async (t) => {
  t.equal(notifyServiceManager(['READY=1'], {}), false);
  t.equal(notifyServiceManager(['READY=1'], { NOTIFY_SOCKET: '' }), false);
});

t.test('sockets that cannot be reached', async (t) => {
  const tell = (name: string) => () => notifyServiceManager(['READY=1'], { NOTIFY_SOCKET: name });
  t.throws(tell(join(makeDirectory(t), 'missing')), { code: 'ENOENT' });
  t.throws(tell(`@nearmount-nobody-${process.pid}`), { code: 'ECONNREFUSED' });
  t.throws(tell('vsock:2:1234'), { code: 'EINVAL' });
  t.throws(tell('@'), { code: 'EINVAL' });
  t.throws(tell(`/${'x'.repeat(107)}`), { code: 'ENAMETOOLONG' });
  t.throws(tell(`/${'x'.repeat(106)}`), { code: 'ENOENT' });
});
