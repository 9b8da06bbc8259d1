/** A server on loopback that answers HELLO, CLIENT and MNT, with the features that a test gives it. */
import { FGDP_PROGRAM, HELLO_STAT, type FGDP_PROCEDURES } from '../../src/fgdp/program.ts';
import { MOUNT_PROGRAM, type MOUNT_PROCEDURES } from '../../src/nfs3/mount.ts';
import { MNT3_OK } from '../../src/nfs3/status.ts';
import { RpcConnection } from '../../src/rpc/connection.ts';
import { Dispatcher } from '../../src/rpc/dispatcher.ts';
import type { Handlers } from '../../src/rpc/program.ts';
import type { Endpoint } from '../../src/transport/endpoint.ts';
import { listen } from '../../src/transport/listen.ts';

export interface FgdpServer {
  readonly endpoint: Extract<Endpoint, { kind: 'tcp' }>;
  /** What was called, in its order; CLIENT with the id in hex. */
  readonly calls: string[];
  readonly close: () => Promise<void>;
}

export interface FgdpServerOptions {
  /** Undefined: FGDP is not spoken. */
  readonly features?: number;
  /** How CLIENT is answered; default: it is. */
  readonly onClient?: () => Promise<undefined>;
}

export async function fgdpServer({ features, onClient }: FgdpServerOptions): Promise<FgdpServer> {
  const calls: string[] = [];
  const dispatcher = new Dispatcher<undefined>({ onFailure: () => undefined });
  const fgdp: Partial<Handlers<typeof FGDP_PROCEDURES, undefined>> = {
    NULL: () => undefined,
    HELLO: ({ version }) => {
      calls.push('HELLO');
      return {
        status: HELLO_STAT.HELLO_OK,
        version,
        features: features ?? 0,
        server_id: Buffer.alloc(16),
        server_name: Buffer.from('scripted'),
        boot_id: Buffer.from('boot'),
        public_key: Buffer.alloc(32),
        signature: Buffer.alloc(64),
        channel: false,
      };
    },
    CLIENT: ({ client_id }) => {
      calls.push(`CLIENT ${Buffer.from(client_id).toString('hex')}`);
      return onClient?.();
    },
  };
  const mount: Partial<Handlers<typeof MOUNT_PROCEDURES, undefined>> = {
    MNT: () => {
      calls.push('MNT');
      return { status: MNT3_OK, fhandle: Buffer.from('root'), auth_flavors: [1] };
    },
  };
  if (features !== undefined) {
    dispatcher.register(FGDP_PROGRAM, fgdp as Handlers<typeof FGDP_PROCEDURES, undefined>);
  }
  dispatcher.register(MOUNT_PROGRAM, mount as Handlers<typeof MOUNT_PROCEDURES, undefined>);
  const connections: RpcConnection[] = [];
  const listener = await listen(
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    {
      onConnection: (transport) => {
        connections.push(new RpcConnection(transport, { dispatcher, makeContext: () => undefined }));
      },
      onRefused: () => undefined,
    },
  );
  if (listener.endpoint.kind !== 'tcp') throw new Error('not TCP');
  return {
    endpoint: listener.endpoint,
    calls,
    close: async () => {
      for (const connection of connections) connection.close();
      await listener.close();
    },
  };
}
