/** An NFS server in this process that lies as a test says: in what it answers, or in how it sends it. */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { MOUNT_PROGRAM, type MOUNT_PROCEDURES } from '../../src/nfs3/mount.ts';
import { NFS_PROGRAM, type NFS_PROCEDURES } from '../../src/nfs3/nfs.ts';
import type { fattr3 } from '../../src/nfs3/types.ts';
import { Dispatcher } from '../../src/rpc/dispatcher.ts';
import type { Handlers } from '../../src/rpc/program.ts';
import { RecordDecoder, frameRecord } from '../../src/rpc/record.ts';

interface Teardown {
  teardown: (action: () => unknown) => unknown;
}

export type Nfs = Handlers<typeof NFS_PROCEDURES, undefined>;

/** Sends the framed reply to a procedure, or whatever it likes. */
export type Send = (socket: Socket, reply: Buffer, procedure: string) => void;

export interface HostileServer {
  readonly port: number;
  /** Takes the place of honest procedures until `behave`. */
  lies: Partial<Nfs>;
  send: Send;
  /** Honest again. */
  behave(): void;
}

export const CONTENT = Buffer.from('the content of the file\n');
const NOW = { seconds: 1_700_000_000, nseconds: 0 };
/** Grows with every return to honesty, so that no client goes on with what it has cached. */
let version = 0;

export function attributes(fileid: bigint, more: Partial<fattr3> = {}): fattr3 {
  const isDirectory = more.type === 2;
  return {
    type: 1,
    mode: isDirectory ? 0o755 : 0o644,
    nlink: 1,
    uid: 0,
    gid: 0,
    size: isDirectory ? 4096n : BigInt(CONTENT.length),
    used: 4096n,
    rdev: { specdata1: 0, specdata2: 0 },
    fsid: 1n,
    fileid,
    atime: NOW,
    mtime: { ...NOW, seconds: NOW.seconds + version },
    ctime: NOW,
    ...more,
  };
}

export const ROOT = Buffer.from('root');
export const FILE = Buffer.from('file');
export const LINK = Buffer.from('link');

function attributesOf(handle: Uint8Array): fattr3 {
  if (ROOT.equals(handle)) return attributes(1n, { type: 2 });
  return LINK.equals(handle) ? attributes(3n, { type: 5 }) : attributes(2n);
}

const NAMES = [FILE, LINK];
const CHANGES_REFUSED = { status: 30, wcc: { before: null, after: null } } as const;
const refuseChange = (): typeof CHANGES_REFUSED => CHANGES_REFUSED;

const HONEST: Nfs = {
  NULL: () => undefined,
  GETATTR: ({ object }) => ({ status: 0, obj_attributes: attributesOf(object.data) }),
  LOOKUP: ({ what }) => {
    const found = NAMES.find((name) => name.equals(what.name));
    if (found === undefined) return { status: 2, dir_attributes: null };
    return { status: 0, object: { data: found }, obj_attributes: attributesOf(found), dir_attributes: null };
  },
  ACCESS: ({ object, access }) => ({ status: 0, obj_attributes: attributesOf(object.data), access }),
  READLINK: () => ({ status: 0, symlink_attributes: null, data: FILE }),
  READ: ({ file, offset, count }) => {
    const data = CONTENT.subarray(Number(offset), Number(offset) + count);
    const eof = Number(offset) + data.length >= CONTENT.length;
    return { status: 0, file_attributes: attributesOf(file.data), count: data.length, eof, data: [data] };
  },
  READDIR: () => ({ status: 10004, dir_attributes: null }),
  READDIRPLUS: ({ cookie }) => ({
    status: 0,
    dir_attributes: attributesOf(ROOT),
    cookieverf: Buffer.alloc(8),
    entries: NAMES.slice(Number(cookie)).map((name, index) => ({
      fileid: BigInt(index) + 2n,
      name,
      cookie: cookie + BigInt(index) + 1n,
      name_attributes: attributesOf(name),
      name_handle: { data: name },
    })),
    eof: true,
  }),
  FSSTAT: () => ({
    status: 0,
    obj_attributes: null,
    tbytes: 1n << 40n,
    fbytes: 1n << 39n,
    abytes: 1n << 39n,
    tfiles: 100n,
    ffiles: 50n,
    afiles: 50n,
    invarsec: 0,
  }),
  FSINFO: () => ({
    status: 0,
    obj_attributes: null,
    rtmax: 65_536,
    rtpref: 65_536,
    rtmult: 4096,
    wtmax: 65_536,
    wtpref: 65_536,
    wtmult: 4096,
    dtpref: 65_536,
    maxfilesize: 1n << 62n,
    time_delta: { seconds: 0, nseconds: 1 },
    properties: 0,
  }),
  PATHCONF: () => ({ status: 10004, obj_attributes: null }),
  SETATTR: refuseChange,
  WRITE: refuseChange,
  CREATE: refuseChange,
  MKDIR: refuseChange,
  SYMLINK: refuseChange,
  MKNOD: refuseChange,
  REMOVE: refuseChange,
  RMDIR: refuseChange,
  COMMIT: refuseChange,
  RENAME: () => ({ status: 30, fromdir_wcc: CHANGES_REFUSED.wcc, todir_wcc: CHANGES_REFUSED.wcc }),
  LINK: () => ({ status: 30, file_attributes: null, linkdir_wcc: CHANGES_REFUSED.wcc }),
};

const MOUNT: Handlers<typeof MOUNT_PROCEDURES, undefined> = {
  NULL: () => undefined,
  MNT: () => ({ status: 0, fhandle: ROOT, auth_flavors: [1] }),
  DUMP: () => [],
  UMNT: () => undefined,
  UMNTALL: () => undefined,
  EXPORT: () => [],
};

export const honestSend: Send = (socket, reply) => socket.write(reply);

/** Serves `/x` on 127.0.0.1: a directory with `file` and `link`. */
export async function hostileServer(t: Teardown): Promise<HostileServer> {
  const dispatcher = new Dispatcher<undefined>({
    onFailure: ({ procedure }, error) => {
      throw new Error(`${procedure} is no reply`, { cause: error });
    },
  });
  const hostile = {
    port: 0,
    lies: {} as Partial<Nfs>,
    send: honestSend,
    behave: () => {
      version += 1;
      hostile.lies = {};
      hostile.send = honestSend;
    },
  };
  const handlers = Object.fromEntries(
    Object.keys(HONEST).map((name) => [
      name,
      (args: never) => (hostile.lies[name as keyof Nfs] ?? HONEST[name as keyof Nfs])(args, undefined),
    ]),
  ) as unknown as Nfs;
  dispatcher.register(NFS_PROGRAM, handlers);
  dispatcher.register(MOUNT_PROGRAM, MOUNT);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    const decoder = new RecordDecoder((record) => {
      let procedure = 'none';
      void dispatcher
        .dispatch(record, (call) => {
          procedure = call.procedure;
          return undefined;
        })
        .then((reply) => {
          if (reply !== undefined && !socket.destroyed) {
            hostile.send(socket, Buffer.concat(frameRecord(reply.chunks)), procedure);
          }
        });
    });
    socket.on('data', (chunk) => {
      decoder.push(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  hostile.port = (server.address() as AddressInfo).port;
  return hostile;
}
