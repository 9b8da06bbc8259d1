// What a process of any user can try at a server's Unix socket by speaking to it directly: one JSON document with the
// outcome of each try. Argument: {"socket", "files", "claims": [{"uid", "gid", "groups"}], "forged": [hex]}
import { Buffer } from 'node:buffer';
import { GuestChannel } from '../../dist/fgdp/channel.js';
import { FGDP_PROGRAM, GRANT_WANTS } from '../../dist/fgdp/program.js';
import { MOUNT_PROGRAM } from '../../dist/nfs3/mount.js';
import { NFS_PROGRAM } from '../../dist/nfs3/nfs.js';
import { authShort, authSys } from '../../dist/rpc/auth.js';
import { RpcConnection } from '../../dist/rpc/connection.js';
import { connect } from '../../dist/transport/connect.js';

const { socket, files, claims, forged } = JSON.parse(process.argv[2]);
const connection = new RpcConnection(await connect({ kind: 'unix', path: socket }));
const call = (program, procedure, args, credential) =>
  connection.call(program, procedure, args, { credential, timeoutMs: 10_000 });

const results = {};
async function attempt(name, action) {
  try {
    results[name] = await action();
  } catch (error) {
    results[name] = error.code ?? String(error);
  }
}

await attempt('channel', async () => {
  GuestChannel.connect(socket, Buffer.alloc(32, 1));
  return 'connected';
});
const hello = {
  version: 1,
  features: 0xffffffff,
  nonce: Buffer.alloc(32),
  channel_token: Buffer.alloc(32, 1),
};
await attempt('hello', async () => (await call(FGDP_PROGRAM, 'HELLO', hello)).channel);

for (const { uid, gid, groups } of claims) {
  const sys = authSys('attacker', uid, gid, groups);
  const { shorthand } = await call(FGDP_PROGRAM, 'CREDENTIAL', { uid, gid, groups });
  for (const [flavor, who] of [
    ['sys', sys],
    ['short', authShort(Uint8Array.from(shorthand))],
  ]) {
    const as = `${flavor} ${uid}:${gid}:${groups.join()}`;
    const mounted = await call(MOUNT_PROGRAM, 'MNT', Buffer.from('/tree'), who);
    const root = Uint8Array.from(mounted.fhandle);
    for (const file of files) {
      await attempt(`${as} ${file}`, async () => {
        let data = root;
        for (const part of file.split('/')) {
          const found = await call(
            NFS_PROGRAM,
            'LOOKUP',
            { what: { dir: { data }, name: Buffer.from(part) } },
            who,
          );
          if (found.status !== 0) return `LOOKUP ${found.status}`;
          data = Uint8Array.from(found.object.data);
        }
        const read = await call(NFS_PROGRAM, 'READ', { file: { data }, offset: 0n, count: 100 }, who);
        const grant = await call(FGDP_PROGRAM, 'GRANT', { file: { data }, wants: GRANT_WANTS.READ }, who);
        const granted = grant.status === 0 && grant.body.grant === 0 ? ', granted' : '';
        const got = read.status === 0 ? Buffer.concat(read.data).toString() : `READ ${read.status}`;
        return `${got}${granted}`;
      });
    }
  }
}
for (const handle of forged) {
  await attempt(`forged ${handle}`, async () => {
    const object = { data: Buffer.from(handle, 'hex') };
    return (await call(NFS_PROGRAM, 'GETATTR', { object }, authSys('attacker', 0, 0, []))).status;
  });
}
connection.close();
console.log(JSON.stringify(results));
