import { mock } from 'node:test';
import t from 'tap';
import { RecentReplies } from '../../src/server/recent-replies.ts';

t.test('replies are remembered for a while, and the last of them only', (t) => {
  mock.method(performance, 'now', () => nowMs);
  t.teardown(() => mock.restoreAll());
  let nowMs = 0;
  const replies = new RecentReplies({ max: 3, keptMs: 100 });
  for (const key of [1, 2, 3, 4]) replies.keep(`call ${key}`, Uint8Array.of(key));
  t.equal(replies.find('call 1'), undefined);
  t.same(replies.find('call 2'), Uint8Array.of(2));
  t.equal(replies.size, 3);
  nowMs = 60;
  replies.keep('call 3', Uint8Array.of(33));
  nowMs = 120;
  t.equal(replies.find('call 4'), undefined, 'too old');
  t.same(replies.find('call 3'), Uint8Array.of(33));
  replies.keep('call 5', Uint8Array.of(5));
  t.equal(replies.size, 2, 'the old ones are gone');
  t.end();
});
