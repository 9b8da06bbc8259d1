import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { HereIdentity } from '../../src/resolver/node-identity.ts';
import { proposeNfsSource, proposeRoutes } from '../../src/resolver/routes.ts';
import type { RouteProposal } from '../../src/resolver/routes.ts';
import { parseSource } from '../../src/resolver/source.ts';
import { ColocationTable } from '../../src/resolver/table.ts';
import { idNumber, keyNumber, serverEntry } from './entries.ts';

const here: HereIdentity = { nodeId: 'boot-1', nodeName: 'node-1', cluster: 'rack' };

function summary(proposals: RouteProposal[]): [string, boolean, string][] {
  return proposals.map(({ route, usable, why }) => [route, usable, why]);
}

t.test('near, backplane, network; by priority within a kind', async (t) => {
  // Not t.testdir: a socket path has at most 107 bytes.
  const dir = mkdtempSync(join(tmpdir(), 'routes-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  writeFileSync(`${dir}/plain`, '');
  const listener = createServer().listen(`${dir}/s`);
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  using table = ColocationTable.open(`${dir}/t.db`, { create: true });
  table.enterServer(
    serverEntry(1, {
      endpoints: [
        { route: 'network', address: 'slow:1', priority: 9 },
        { route: 'network', address: '[fd00::1]:2049', priority: 3 },
        { route: 'backplane', address: '10.1.0.1:2049' },
        { route: 'near', address: `${dir}/gone`, priority: 2 },
        { route: 'near', address: `${dir}/plain`, priority: 1 },
        { route: 'near', address: `${dir}/plain/x`, priority: 3 },
        { route: 'near', address: `${dir}/s`, priority: 4 },
      ],
      exports: [{ name: 'doc', path: '/pool/doc' }],
    }),
  );
  const proposals = proposeRoutes(table, 'doc', here);
  t.strictSame(summary(proposals), [
    ['near', false, `${dir}/plain is not a socket`],
    ['near', false, `socket ${dir}/gone does not exist`],
    ['near', false, `socket ${dir}/plain/x does not exist`],
    ['near', true, 'server runs on this node (boot id matches)'],
    ['backplane', true, 'server is in this cluster (rack)'],
    ['network', true, 'the network reaches the server from any node'],
    ['network', true, 'the network reaches the server from any node'],
  ]);
  const server = { id: idNumber(1), name: 'server-1', publicKey: keyNumber(1) };
  const common = { server, exportPath: '/pool/doc', usable: true };
  t.strictSame(proposals[3], {
    ...common,
    route: 'near',
    endpoint: { kind: 'unix', path: `${dir}/s` },
    mountPort: undefined,
    why: 'server runs on this node (boot id matches)',
  });
  t.match(proposals[5], {
    ...common,
    endpoint: { kind: 'tcp', host: 'fd00::1', port: 2049 },
    mountPort: 2049,
  });

  const only = proposeRoutes(table, 'doc', here, { only: 'network' });
  t.strictSame(
    only.map(({ usable, why }) => (usable ? 'usable' : why)),
    [...Array<string>(5).fill('excluded by route=network'), 'usable', 'usable'],
  );
});

t.test('another node, and clusters', async (t) => {
  using table = ColocationTable.open(`${t.testdir()}/t.db`, { create: true });
  table.enterServer(serverEntry(1));
  table.enterServer(serverEntry(2, { node: { bootId: 'alone', name: 'alone' }, exports: [{ name: 'img' }] }));
  const from = (nodeId: string, cluster?: string, name = 'doc'): string[] =>
    proposeRoutes(table, name, { nodeId, nodeName: 'x', cluster })
      .slice(0, 2)
      .map(({ usable, why }) => `${usable ? 'yes' : 'no'}: ${why}`);
  t.strictSame(from('boot-2', 'other'), [
    "no: server's node is another one (boot id boot-1, here boot-2)",
    "no: server's cluster is rack, here it is other",
  ]);
  t.strictSame(from('bff62532-5a40', undefined), [
    "no: server's node is another one (boot id boot-1, here bff62532..)",
    "no: this node is in no cluster (the server's is rack)",
  ]);
  t.equal(
    from('alone-and-more', 'rack', 'img')[0],
    "no: server's node is another one (boot id alone, here alone-an..)",
  );
  t.equal(from('x', 'rack', 'img')[1], "no: server's node is in no cluster");
  table.importEntries({ nodes: [{ bootId: 'guest', name: 'guest', cluster: 'rack' }], servers: [] });
  t.equal(from('guest')[1], 'yes: server is in this cluster (rack)', "the table knows this node's cluster");
  t.equal(
    from('guest', 'other')[1],
    "no: server's cluster is rack, here it is other",
    'what we are told wins',
  );
});

t.test('an export nobody lists', async (t) => {
  using table = ColocationTable.open(`${t.testdir()}/t.db`, { create: true });
  const asked = (): unknown => proposeRoutes(table, 'dox', here);
  t.throws(asked, { code: 'unknown-export', message: /cannot find "dox" in .* lists no exports at all$/ });
  table.enterServer(
    serverEntry(1, { endpoints: [], exports: ['e', 'd', 'c', 'b', 'a'].map((name) => ({ name })) }),
  );
  t.throws(asked, { message: /known exports: a, b, c, d, e$/ });
  t.same(proposeRoutes(table, 'a', here), [], 'a server without endpoints has no routes');
  table.enterServer(serverEntry(2, { exports: [{ name: 'f' }] }));
  t.throws(asked, { message: /known exports: a, b, c, d, e, \.\.\.$/ });
});

t.test('a server named by its address', async (t) => {
  const source = parseSource('nfs://host:20490/doc?mountport=20491');
  if (source.kind !== 'nfs') throw new Error('it is one');
  t.strictSame(proposeNfsSource(source), {
    route: 'network',
    endpoint: { kind: 'tcp', host: 'host', port: 20490 },
    mountPort: 20491,
    server: undefined,
    exportPath: '/doc',
    usable: true,
    why: 'server was named by its address',
  });
  t.match(proposeNfsSource(source, { only: 'near' }), { usable: false, why: 'excluded by route=near' });
});
