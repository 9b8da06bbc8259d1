import t from 'tap';
import { Callbacks } from '../../src/client/callbacks.ts';
import { FGDP_CALLBACK_PROGRAM } from '../../src/fgdp/callback.ts';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { memoryPair } from '../../src/transport/memory.ts';

void t.test('a server calls its guest over the connection that the guest has opened', async (t) => {
  const [guestEnd, serverEnd] = memoryPair();
  const guest = new RpcConnection(guestEnd, new Callbacks().serving());
  const server = new RpcConnection(serverEnd);
  await t.resolves(server.call(FGDP_CALLBACK_PROGRAM, 'NULL', undefined));
  await t.rejects(
    server.call(NFS_PROGRAM, 'NULL', undefined),
    { code: 'PROG_UNAVAIL' },
    'a guest serves nothing else',
  );
  t.equal(guest.closed, undefined);
  server.close();
});
