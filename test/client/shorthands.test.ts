import t from 'tap';
import { Shorthands } from '../../src/client/shorthands.ts';
import { AUTH_SHORT, type opaque_auth } from '../../src/rpc/auth.ts';
import type { RpcConnection } from '../../src/rpc/connection.ts';
import { RpcError } from '../../src/rpc/error.ts';

const WIDE = { uid: 1, gid: 2, groups: [3, 4], key: '1:2:3,4' };
const LIMIT_MS = 1000;

/** A connection whose server names callers 1, 2, 3 and so on, as long as `isAlive`. */
function connection() {
  const state = { named: 0, isAlive: true, asked: [] as unknown[] };
  const call = (_program: unknown, _name: unknown, args: unknown): Promise<unknown> => {
    if (!state.isAlive) return Promise.reject(new RpcError('CONNECTION_LOST', 'gone'));
    state.named += 1;
    state.asked.push(args);
    return Promise.resolve({ shorthand: Uint8Array.of(state.named) });
  };
  return { state, shorthands: new Shorthands({ call } as unknown as RpcConnection) };
}

t.test('a caller is named once', async (t) => {
  const { state, shorthands } = connection();
  const use = () => shorthands.use(WIDE, LIMIT_MS, (auth) => Promise.resolve(auth));
  const used = await Promise.all([use(), use()]);
  used.push(await use());
  for (const auth of used) t.strictSame(auth, { flavor: AUTH_SHORT, body: Uint8Array.of(1) });
  t.strictSame(state.asked, [{ uid: 1, gid: 2, groups: [3, 4] }]);
});

t.test('a server that has forgotten is told again, and not for ever', async (t) => {
  const { state, shorthands } = connection();
  const forgotten = new RpcError('AUTH_REJECTEDCRED', 'who?');
  const calls: opaque_auth[] = [];
  const answer = await shorthands.use(WIDE, LIMIT_MS, (auth) => {
    calls.push(auth);
    return calls.length === 1 ? Promise.reject(forgotten) : Promise.resolve('answer');
  });
  t.equal(answer, 'answer');
  t.strictSame(
    calls.map(({ body }) => body[0]),
    [1, 2],
  );
  await t.rejects(
    shorthands.use(WIDE, LIMIT_MS, () => Promise.reject(forgotten)),
    forgotten,
  );
  const before = state.named;
  await t.rejects(
    shorthands.use(WIDE, LIMIT_MS, () => Promise.reject(new RpcError('AUTH_ERROR', 'no'))),
    { code: 'AUTH_ERROR' },
  );
  t.equal(state.named, before, 'other refusals are final');
});

t.test('a failed CREDENTIAL fails the call, and the next one asks again', async (t) => {
  const { state, shorthands } = connection();
  state.isAlive = false;
  const use = () => shorthands.use(WIDE, LIMIT_MS, (auth) => Promise.resolve(auth.body[0]));
  await t.rejects(use(), { code: 'CONNECTION_LOST' });
  state.isAlive = true;
  t.equal(await use(), 1);
});
