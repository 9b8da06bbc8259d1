import { NFS3_OK, statusName } from '../../src/nfs3/status.ts';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { authSys } from '../../src/rpc/auth.ts';
import { connect } from '../../src/transport/connect.ts';

// Becomes somebody, connects, claims to be `claim` and prints what READ gives; see client-session.test.ts.
const asked = JSON.parse(process.argv[2] as string) as {
  uid: number;
  gid: number;
  groups: number[];
  claim: number;
  file: string;
  socket: string;
  root: number[];
};
process.setgroups?.(asked.groups);
process.setgid?.(asked.gid);
process.setuid?.(asked.uid);
const connection = new RpcConnection(await connect({ kind: 'unix', path: asked.socket }));
const options = { credential: authSys('test', asked.claim, asked.claim, [3000]), timeoutMs: 10_000 };
const what = { dir: { data: Uint8Array.from(asked.root) }, name: Buffer.from(asked.file) };
const found = await connection.call(NFS_PROGRAM, 'LOOKUP', { what }, options);
if (found.status !== NFS3_OK) throw new Error(statusName(found.status));
const read = { file: found.object, offset: 0n, count: 100 };
const reply = await connection.call(NFS_PROGRAM, 'READ', read, options);
console.log(
  JSON.stringify(reply.status === NFS3_OK ? Buffer.concat(reply.data).toString() : statusName(reply.status)),
);
connection.close();
