import t, { type Test } from 'tap';
import { freshClientId, openSession } from '../../src/client/open-session.ts';
import type { Session } from '../../src/client/session.ts';
import { CLIENT_ID_BYTES, FEATURE_ONCE, FEATURE_SHORT_CREDENTIALS } from '../../src/fgdp/program.ts';
import { fgdpServer, type FgdpServer, type FgdpServerOptions } from './fgdp-server.ts';

async function serve(t: Test, options: FgdpServerOptions): Promise<FgdpServer> {
  const server = await fgdpServer(options);
  t.teardown(() => server.close());
  return server;
}

async function open(t: Test, { endpoint }: FgdpServer, clientId?: Uint8Array): Promise<Session> {
  const target = { route: 'network', endpoint, exportPath: '/tree', bootId: 'boot' } as const;
  const session = await openSession({ ...target, clientId });
  t.teardown(() => session.close());
  return session;
}

const ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const SAID = `CLIENT ${ID.toString('hex')}`;

t.test('a server that knows clients is told first whose calls these are', async (t) => {
  const server = await serve(t, { features: FEATURE_ONCE | FEATURE_SHORT_CREDENTIALS });
  const session = await open(t, server, ID);
  t.same(server.calls, ['HELLO', SAID, 'MNT']);
  t.match(session, { takesEffectOnce: true, isNearmount: true, level: 'nfs3+fgdp' });
  await open(t, server, ID);
  t.same(server.calls.slice(3), ['HELLO', SAID, 'MNT'], 'on every session');
});

t.test('others are not', async (t) => {
  const older = await serve(t, { features: FEATURE_SHORT_CREDENTIALS });
  t.match(await open(t, older, ID), { takesEffectOnce: false, isNearmount: true });
  t.same(older.calls, ['HELLO', 'MNT']);
  const foreign = await serve(t, {});
  t.match(await open(t, foreign, ID), { takesEffectOnce: false, isNearmount: false, level: 'nfs3' });
  t.same(foreign.calls, ['MNT']);
});

t.test('who has no name says none', async (t) => {
  const server = await serve(t, { features: FEATURE_ONCE });
  t.match(await open(t, server), { takesEffectOnce: false, isNearmount: true });
  t.same(server.calls, ['HELLO', 'MNT']);
});

t.test('a server that fails to take the name is not used', async (t) => {
  const server = await serve(t, { features: FEATURE_ONCE, onClient: () => Promise.reject(new Error('no')) });
  await t.rejects(open(t, server, ID), { name: 'RouteError', message: /CLIENT with SYSTEM_ERR/ });
});

t.test('no two clients have one name', (t) => {
  const ids = new Set(Array.from({ length: 1_000 }, () => Buffer.from(freshClientId()).toString('hex')));
  t.equal(ids.size, 1_000);
  t.equal(freshClientId().length, CLIENT_ID_BYTES);
  t.end();
});
