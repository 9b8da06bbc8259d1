import t, { type Test } from 'tap';
import { LOCK_END_MAX, LOCK_KIND, LOCK_TYPE } from '../../src/fgdp/locks.ts';
import { LockTable, type LockRequest, type LockTableLimits } from '../../src/server/lock-table.ts';

const { READ, WRITE } = LOCK_TYPE;

/** A request of owner 1 of client a for the whole of a file. */
function request(changes: Partial<LockRequest> = {}): LockRequest {
  return {
    client: 'a',
    file: 'f',
    kind: LOCK_KIND.POSIX,
    owner: 1n,
    pid: 7,
    type: WRITE,
    start: 0n,
    end: LOCK_END_MAX,
    ...changes,
  };
}

function makeTable(limits: Partial<LockTableLimits> = {}) {
  const granted: string[] = [];
  const table = new LockTable((client, cookie) => granted.push(`${client}${cookie}`), limits);
  return { table, granted };
}

function isEmpty(t: Test, table: LockTable): void {
  t.same([table.locks, table.waits, table.files], [0, 0, 0], 'nothing is left');
}

t.test('an exclusive lock excludes everybody else, a shared one those who want it alone', (t) => {
  const { table } = makeTable();
  t.equal(table.lock(request({ type: READ })), 'granted');
  t.equal(table.lock(request({ type: READ, client: 'b' })), 'granted', 'shared, by another client’s owner 1');
  t.equal(table.lock(request({ owner: 2n })), 'denied');
  t.equal(table.lock(request()), 'denied', 'also to one who shares it');
  t.ok(table.has(request({ type: READ })), 'and has what it had');
  table.unlock(request({ client: 'b' }));
  t.equal(table.lock(request()), 'granted', 'then it is changed to exclusive');
  t.same(table.test(request({ client: 'b', type: READ })), {
    client: 'a',
    pid: 7,
    type: WRITE,
    start: 0n,
    end: LOCK_END_MAX,
  });
  t.equal(table.test(request()), undefined, 'nobody is in his own way');
  t.equal(table.test(request({ file: 'g', client: 'b' })), undefined);
  t.equal(table.lock(request({ kind: LOCK_KIND.FLOCK, client: 'b' })), 'granted', 'flock is another world');
  table.unlock(request());
  table.unlock(request({ kind: LOCK_KIND.FLOCK, client: 'b' }));
  isEmpty(t, table);
  t.end();
});

t.test('who waits is granted in the order of asking, as far as it goes', (t) => {
  const { table, granted } = makeTable();
  table.lock(request());
  t.equal(table.lock(request({ client: 'b', type: READ, end: 9n }), 1n), 'blocked');
  t.equal(table.lock(request({ client: 'c' }), 2n), 'blocked');
  t.equal(table.lock(request({ client: 'b', owner: 2n, type: READ, end: 9n }), 3n), 'blocked');
  t.equal(
    table.lock(request({ client: 'b', type: READ, end: 9n }), 1n),
    'blocked',
    'asked again, it waits once',
  );
  table.unlock(request(), 10n);
  t.same(granted, []);
  table.unlock(request());
  t.same(granted, ['b1', 'b3'], 'the readers, past the writer between them');
  table.unlock(request({ client: 'b' }));
  t.same(granted, ['b1', 'b3']);
  table.unlock(request({ client: 'b', owner: 2n }));
  t.same(granted, ['b1', 'b3', 'c2']);
  table.unlock(request({ client: 'c' }));
  isEmpty(t, table);
  t.end();
});

t.test('a lock that becomes a shared one lets readers in', (t) => {
  const { table, granted } = makeTable();
  table.lock(request());
  table.lock(request({ client: 'b', type: READ }), 1n);
  t.equal(table.lock(request({ type: READ })), 'granted');
  t.same(granted, ['b1']);
  t.end();
});

t.test('a request that is withdrawn is not granted', (t) => {
  const { table, granted } = makeTable();
  table.lock(request());
  table.lock(request({ client: 'b' }), 1n);
  t.equal(table.cancel('a', 1n), false, 'not by another client');
  t.equal(table.cancel('b', 1n), true);
  t.equal(table.cancel('b', 1n), false);
  table.unlock(request());
  t.same(granted, []);
  isEmpty(t, table);
  t.end();
});

t.test('waiting for each other is refused to the one who would close the circle', (t) => {
  const { table, granted } = makeTable();
  for (const [client, start] of [
    ['a', 0n],
    ['b', 1n],
    ['c', 2n],
  ] as const) {
    table.lock(request({ client, file: `f${start}` }));
  }
  t.equal(table.lock(request({ client: 'a', file: 'f1' }), 1n), 'blocked');
  t.equal(table.lock(request({ client: 'b', file: 'f2' }), 2n), 'blocked');
  t.equal(
    table.lock(request({ client: 'c', file: 'f0' }), 3n),
    'deadlock',
    'over three files of three clients',
  );
  t.equal(table.lock(request({ client: 'c', file: 'f0' })), 'denied', 'not waiting is no deadlock');
  table.unlock(request({ client: 'c', file: 'f2' }));
  t.same(granted, ['b2']);
  table.cancel('a', 1n);
  t.equal(table.lock(request({ client: 'c', file: 'f0' }), 3n), 'blocked', 'once somebody has given up');

  const shared = makeTable().table;
  shared.lock(request({ type: READ }));
  shared.lock(request({ type: READ, client: 'b' }));
  t.equal(shared.lock(request(), 1n), 'blocked');
  t.equal(shared.lock(request({ client: 'b' }), 2n), 'deadlock', 'both want to have alone what they share');
  t.end();
});

t.test('flock gives up what it converts, so that two who convert do not wait for each other', (t) => {
  const { table, granted } = makeTable();
  const flock = (client: string, type: LockRequest['type']): LockRequest =>
    request({ kind: LOCK_KIND.FLOCK, client, type });
  table.lock(flock('a', READ));
  table.lock(flock('b', READ));
  t.equal(table.lock(flock('a', WRITE)), 'denied');
  t.notOk(table.has(flock('a', READ)), 'flock(2): the original lock is lost');
  table.lock(flock('a', READ));
  t.equal(table.lock(flock('a', WRITE), 1n), 'blocked');
  t.equal(table.lock(flock('b', WRITE), 2n), 'blocked');
  t.same(granted, ['a1']);
  table.unlock(flock('a', WRITE));
  t.same(granted, ['a1', 'b2']);
  t.end();
});

t.test('a client that is gone has no locks and waits for none', (t) => {
  const { table, granted } = makeTable();
  table.lock(request({ end: 9n }));
  table.lock(request({ kind: LOCK_KIND.FLOCK, file: 'g' }));
  table.lock(request({ client: 'b', start: 20n, end: 29n }));
  table.lock(request({ start: 25n }), 1n);
  table.lock(request({ client: 'b', owner: 2n, start: 5n, end: 5n }), 2n);
  t.same([...table.filesOf('a')].sort(), ['f', 'g']);
  table.free('a');
  t.same(granted, ['b2']);
  t.equal(table.locksOf('a'), 0);
  table.free('b');
  table.free('b');
  isEmpty(t, table);
  t.end();
});

t.test('what one client may have is bounded', (t) => {
  const { table } = makeTable({ locksPerClient: 4, waitsPerClient: 1, waitsPerFile: 2 });
  for (const start of [0n, 10n, 20n]) {
    t.equal(table.lock(request({ start, end: start })), start === 20n ? 'granted' : 'granted');
  }
  t.equal(table.lock(request({ start: 30n, end: 30n })), 'limit');
  t.equal(table.lock(request({ start: 10n, end: 10n })), 'granted', 'what it has already it may have');
  t.equal(table.lock(request({ client: 'b', start: 30n, end: 30n })), 'granted', 'others have their own');
  t.equal(table.lock(request({ client: 'b', start: 0n, end: 0n }), 1n), 'blocked');
  t.equal(table.lock(request({ client: 'b', start: 0n, end: 0n }), 2n), 'limit');
  t.equal(table.lock(request({ client: 'c', start: 0n, end: 0n }), 1n), 'blocked');
  t.equal(table.lock(request({ client: 'd', start: 0n, end: 0n }), 1n), 'limit', 'and so has a file');
  t.end();
});
