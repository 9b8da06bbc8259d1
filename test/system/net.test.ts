import t from 'tap';
import { cannotMount, runChild } from './child.ts';

t.test('loopback comes up in a fresh network namespace', { skip: cannotMount }, async (t) => {
  t.same(runChild(['unshare', '-n'], './net.child.ts'), { before: 'ENETUNREACH', after: 'connected' });
});
