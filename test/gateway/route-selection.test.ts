/** Routes by a real table to a real server. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Session } from '../../src/client/session.ts';
import { RouteSelection, type RouteSelectionOptions } from '../../src/gateway/route-selection.ts';
import { FEATURE_ONCE } from '../../src/fgdp/program.ts';
import { hereIdentity } from '../../src/resolver/node-identity.ts';
import { NO_AUTH } from '../../src/rpc/auth.ts';
import { hasCapability } from '../../src/system/capabilities.ts';
import { bootId } from '../../src/system/process.ts';
import { fgdpServer } from '../client/fgdp-server.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';

const skip = !hasCapability('CAP_SYS_ADMIN') && 'needs root: descriptors go to root’s guests only';

function select(server: { table: string }, more: Partial<RouteSelectionOptions> = {}): RouteSelection {
  return new RouteSelection({
    source: { kind: 'export', name: 'tree' },
    tableFile: server.table,
    here: hereIdentity({}),
    bootId: bootId(),
    credential: NO_AUTH,
    ...more,
  });
}

async function open(t: Test, routes: RouteSelection, better?: Session): Promise<Session | undefined> {
  const session = await routes.open(better);
  t.teardown(() => session?.close());
  return session;
}

const serve = (t: Test, top: string, more: { port?: number; args?: string[] } = {}): Promise<ServerProcess> =>
  startServer(t, { directory: top, exports: [`tree=${top}`], ...more });

t.test('near is best, and proven', { skip }, async (t) => {
  const routes = select(await serve(t, makeDirectory(t)));
  const session = await open(t, routes);
  t.match(session, { route: 'near', level: 'grants', serverName: 'tested' });
  t.equal(routes.why, 'server runs on this node (boot id matches)');
  t.match(routes.verdicts, [
    { route: 'near', state: 'in use' },
    { route: 'network', state: 'not tried' },
  ]);
  t.equal(await open(t, routes, session), undefined, 'nothing is better');
  t.match(routes.verdicts, [{ route: 'near', state: 'in use' }, { route: 'network' }]);
});

t.test('one kind of route only', { skip }, async (t) => {
  const server = await serve(t, makeDirectory(t));
  const routes = select(server, { only: 'network' });
  const session = await open(t, routes);
  t.match(session, { route: 'network', level: 'nfs3+fgdp' });
  t.match(routes.verdicts, [
    { route: 'near', state: 'not usable', why: 'excluded by route=network' },
    { state: 'in use' },
  ]);
  await t.rejects(select(server, { only: 'backplane' }).open(), {
    name: 'NoRouteError',
    message: /route=backplane/,
  });
});

t.test('a server of another node is reached by the network', { skip }, async (t) => {
  const server = await serve(t, makeDirectory(t), {
    args: ['--node', '11111111-2222-4333-8444-555555555555'],
  });
  const routes = select(server);
  t.match(await open(t, routes), { route: 'network' });
  t.match(routes.why, /near is not used: server's node is another one/);
});

t.test('a gateway that runs on another kernel than it thinks is found out', { skip }, async (t) => {
  const routes = select(await serve(t, makeDirectory(t)), { bootId: 'another' });
  t.match(await open(t, routes), { route: 'network' });
  t.match(routes.why, /near is not used: .*another kernel/);
});

t.test(
  'another server at the socket is not believed, and the right one is found again',
  { skip },
  async (t) => {
    const top = makeDirectory(t);
    const first = await serve(t, top);
    await first.kill();
    const apart = (name: string): string[] => ['--colocation', join(top, `${name}.db`)];
    const real = await serve(t, top, {
      port: first.port,
      args: ['--socket', join(top, 'elsewhere'), ...apart('a')],
    });
    const other = await serve(t, top, { args: ['--state', join(top, 'other-state'), ...apart('b')] });
    const routes = select(first);
    const session = await open(t, routes);
    t.match(session, { route: 'network' });
    t.match(routes.why, new RegExp(`near is not used: .* is another one than tested \\(id ${other.id}\\)`));
    t.equal(await open(t, routes, session), undefined);
    t.match(routes.verdicts, [
      { route: 'near', state: 'failed' },
      { route: 'network', state: 'in use' },
    ]);

    await other.kill();
    await real.kill();
    await serve(t, top, { port: first.port });
    t.match(await open(t, routes, session), { route: 'near' });
    t.match(routes.verdicts, [
      { route: 'near', state: 'in use' },
      { route: 'network', state: 'not tried' },
    ]);
  },
);

t.test('nobody there', { skip }, async (t) => {
  const server = await serve(t, makeDirectory(t));
  await server.kill();
  await t.rejects(select(server).open(), {
    name: 'NoRouteError',
    message: /^no route works \(near .*: nobody listens at .*; network 127.*: nobody listens at/,
  });
});

t.test('a table is needed at first, and remembered later', { skip }, async (t) => {
  const server = await serve(t, makeDirectory(t));
  const routes = select(server);
  await open(t, routes);
  writeFileSync(server.table, 'no table');
  t.match(await open(t, routes), { route: 'near' });
  await t.rejects(select(server).open(), { name: 'TableError' });
});

t.test('a server named by its address', { skip }, async (t) => {
  const { port } = await serve(t, makeDirectory(t));
  const source = { kind: 'nfs', host: '127.0.0.1', port, mountPort: port, path: '/tree' } as const;
  const routes = select({ table: '/nonexistent' }, { source });
  t.match(await open(t, routes), { route: 'network', level: 'nfs3+fgdp' });
  const wrong = select({ table: '/nonexistent' }, { source: { ...source, path: '/three' } });
  await t.rejects(wrong.open(), { name: 'NoRouteError', message: /has no export \/three/ });
});

t.test('a mount has one name on all its sessions, and another one than other mounts', async (t) => {
  const server = await fgdpServer({ features: FEATURE_ONCE });
  t.teardown(() => server.close());
  const { host, port } = server.endpoint;
  const source = { kind: 'nfs', host, port, mountPort: port, path: '/tree' } as const;
  const [mine, other] = [1, 2].map(() => select({ table: '' }, { source }));
  await open(t, mine!);
  await open(t, mine!);
  await open(t, other!);
  const [first, second, third] = server.calls.filter((call) => call.startsWith('CLIENT'));
  t.match(first, /^CLIENT [0-9a-f]{32}$/);
  t.equal(second, first);
  t.not(third, first);
});
