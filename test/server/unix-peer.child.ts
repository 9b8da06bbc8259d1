import { NFS3_OK, statusName } from '../../src/nfs3/status.ts';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { authSys } from '../../src/rpc/auth.ts';
import { connect } from '../../src/transport/connect.ts';

export interface UnixPeer {
  /** Who it is. */
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** The uid and gid it claims in AUTH_SYS, with group 3000. */
  readonly claim: number;
  /** What it reads. */
  readonly file: string;
}

// As root, becomes one peer after the other, and prints what READ gives each; see client-session.test.ts.
const asked = JSON.parse(process.argv[2] as string) as {
  readonly socket: string;
  readonly root: readonly number[];
  readonly peers: readonly UnixPeer[];
};
const results: string[] = [];
for (const { uid, gid, groups, claim, file } of asked.peers) {
  process.setgroups?.(groups);
  process.setegid?.(gid);
  process.seteuid?.(uid);
  const connection = new RpcConnection(await connect({ kind: 'unix', path: asked.socket }));
  process.seteuid?.(0);
  process.setegid?.(0);
  const options = { credential: authSys('test', claim, claim, [3000]), timeoutMs: 10_000 };
  const what = { dir: { data: Uint8Array.from(asked.root) }, name: Buffer.from(file) };
  const found = await connection.call(NFS_PROGRAM, 'LOOKUP', { what }, options);
  if (found.status !== NFS3_OK) throw new Error(statusName(found.status));
  const read = { file: found.object, offset: 0n, count: 100 };
  const reply = await connection.call(NFS_PROGRAM, 'READ', read, options);
  results.push(reply.status === NFS3_OK ? Buffer.concat(reply.data).toString() : statusName(reply.status));
  connection.close();
}
console.log(JSON.stringify(results));
