/** CREDENTIAL and AUTH_SHORT: callers with more groups than AUTH_SYS holds. */
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { FGDP_PROGRAM } from '../../src/fgdp/program.ts';
import { CREDENTIAL_GROUPS_MAX } from '../../src/fgdp/limits.ts';
import { NFS3_OK } from '../../src/nfs3/status.ts';
import { authShort, type opaque_auth } from '../../src/rpc/auth.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { TestClient, as, notPrivileged, serve, statusOf } from './serving.ts';

const TEAM = 3000;
const MANY = [...Array.from({ length: 60 }, (_, index) => 100 + index), TEAM];
const CALL_TIMEOUT_MS = 10_000;
const DENIED = 'NFS3ERR_ACCES';

async function prepare(t: Test, options = '') {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    teams: { file: 'teams', mode: 0o640, uid: 2000, gid: TEAM },
    roots: { file: 'roots', mode: 0o600 },
  });
  const { tcp, socket } = await serve(t, directory, [`tree=${tree}${options}`]);
  const connect = (endpoint: typeof tcp | typeof socket) => TestClient.connect(t, endpoint);
  return { near: () => connect(socket), far: () => connect(tcp) };
}

async function shorthand(client: TestClient, uid: number, groups: readonly number[]): Promise<opaque_auth> {
  const args = { uid, gid: uid, groups };
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  const reply = await client.connection.call(FGDP_PROGRAM, 'CREDENTIAL', args, options);
  return authShort(Uint8Array.from(reply.shorthand));
}

async function read(client: TestClient, path: string, who: opaque_auth): Promise<string> {
  client.credential = as(1000);
  const data = await client.find(await client.root('/tree'), path);
  client.credential = who;
  const reply = await client.nfs('READ', { file: { data }, offset: 0n, count: 100 });
  return reply.status === NFS3_OK ? Buffer.concat(reply.data).toString() : statusOf(reply);
}

t.test('all groups count, however many', { skip: notPrivileged }, async (t) => {
  const { near } = await prepare(t);
  const client = await near();
  t.equal(await read(client, 'teams', as(1000, 1000, MANY)), DENIED, 'AUTH_SYS leaves the last one out');
  t.equal(await read(client, 'teams', await shorthand(client, 1000, MANY)), 'teams');
  t.equal(await read(client, 'teams', await shorthand(client, 1000, MANY.slice(0, -1))), DENIED);
  const most = Array.from({ length: CREDENTIAL_GROUPS_MAX - 1 }, (_, index) => 100_000 + index);
  t.equal(
    await read(client, 'teams', await shorthand(client, 1000, [...most, TEAM])),
    'teams',
    '65,536 groups',
  );
});

t.test(
  'a name that is not known here is rejected, and the connection goes on',
  { skip: notPrivileged },
  async (t) => {
    const { near } = await prepare(t);
    const client = await near();
    const mine = await shorthand(client, 1000, MANY);
    const other = await near();
    const object = { data: await other.root('/tree') };
    for (const who of [mine, authShort(Buffer.alloc(0)), authShort(Buffer.alloc(400, 1))]) {
      await t.rejects(other.nfs('GETATTR', { object }, who), { code: 'AUTH_REJECTEDCRED' });
    }
    t.equal(statusOf(await other.nfs('GETATTR', { object })), 'NFS3_OK');
  },
);

t.test('the claim counts as the same AUTH_SYS would', { skip: notPrivileged }, async (t) => {
  const open = await prepare(t, ',squash=none');
  const anybody = await open.far();
  t.equal(await read(anybody, 'teams', await shorthand(anybody, 1000, MANY)), DENIED, 'not without clients=');
  t.equal(await read(anybody, 'roots', await shorthand(anybody, 0, MANY)), DENIED);
  const trusting = await prepare(t, ',clients=127.0.0.0/8');
  const trusted = await trusting.far();
  t.equal(await read(trusted, 'teams', await shorthand(trusted, 1000, MANY)), 'teams', 'with clients=');
  t.equal(await read(trusted, 'roots', await shorthand(trusted, 0, MANY)), DENIED, 'root is squashed');
  t.equal(await read(trusted, 'teams', await shorthand(trusted, 0, MANY)), 'teams', 'its groups are not');
});
