/** The MOUNT program: RFC 1813 section 5. Clients mount `/NAME`, or a directory below it. */
import type { MOUNT_PROCEDURES, mountres3 } from '../nfs3/mount.ts';
import { MNT3_OK, MOUNTSTAT3, NFSSTAT3, type mountstat3, type nfs3error } from '../nfs3/status.ts';
import { AUTH_SYS } from '../rpc/auth.ts';
import type { Handlers } from '../rpc/program.ts';
import { attributes, lookup } from '../store/operations.ts';
import type { Store } from '../store/store.ts';
import { callerIdentity, mayUseExport, type ClientSession, type ServerContext } from './client-session.ts';
import { MOUNT_LIST_BYTES_MAX, MOUNT_LIST_MAX } from './limits.ts';
import { orStatus } from './outcome.ts';
import { withReplyRoom } from './reply-room.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

type mount3error = Exclude<mountstat3, typeof MNT3_OK>;

/** mountstat3 knows fewer failures than nfsstat3. */
function mountStatus(status: nfs3error): mount3error {
  switch (status) {
    case NFSSTAT3.NFS3ERR_PERM:
      return MOUNTSTAT3.MNT3ERR_PERM;
    case NFSSTAT3.NFS3ERR_NOENT:
    case NFSSTAT3.NFS3ERR_STALE:
      return MOUNTSTAT3.MNT3ERR_NOENT;
    case NFSSTAT3.NFS3ERR_ACCES:
      return MOUNTSTAT3.MNT3ERR_ACCES;
    case NFSSTAT3.NFS3ERR_NOTDIR:
      return MOUNTSTAT3.MNT3ERR_NOTDIR;
    case NFSSTAT3.NFS3ERR_INVAL:
      return MOUNTSTAT3.MNT3ERR_INVAL;
    case NFSSTAT3.NFS3ERR_NAMETOOLONG:
      return MOUNTSTAT3.MNT3ERR_NAMETOOLONG;
    case NFSSTAT3.NFS3ERR_IO:
      return MOUNTSTAT3.MNT3ERR_IO;
    default:
      return MOUNTSTAT3.MNT3ERR_SERVERFAULT;
  }
}

function mount(store: Store, path: Uint8Array, context: ServerContext): mountres3 {
  const [first = Buffer.alloc(0), ...rest] = components(path);
  const tree = store.export(first.toString('latin1'));
  if (tree === undefined) return { status: MOUNTSTAT3.MNT3ERR_NOENT };
  if (!mayUseExport(context.session, tree.options)) return { status: MOUNTSTAT3.MNT3ERR_ACCES };
  return orStatus<mountres3>(
    () => {
      let node = store.resolve(store.rootHandle(tree.name));
      for (const name of rest) node = lookup(callerIdentity(context, tree.options), node, name);
      if ((attributes(node).mode & S_IFMT) !== S_IFDIR) return { status: MOUNTSTAT3.MNT3ERR_NOTDIR };
      context.session.usesExports = true;
      return { status: MNT3_OK, fhandle: node.handle, auth_flavors: [AUTH_SYS] };
    },
    (status) => ({ status: mountStatus(status) }),
  );
}

const SLASH = 0x2f;

function components(path: Uint8Array): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = 0; at <= path.length; at += 1) {
    if (at < path.length && path[at] !== SLASH) continue;
    if (at > start) parts.push(Buffer.from(path.subarray(start, at)));
    start = at + 1;
  }
  return parts;
}

/** RPC header and the end of a list; what an entry has beside its two names, padding included. */
const REPLY_HEADER_BYTES = 64;
const ENTRY_HEADER_BYTES = 20;

/** Who mounted what, as clients say it: for DUMP only, nothing depends on it (RFC 1813 section 5.2.2). */
class MountList {
  readonly #mounts = new Map<string, { readonly host: string; readonly directory: Uint8Array }>();

  add(session: ClientSession, directory: Uint8Array): void {
    const host = hostOf(session);
    const key = keyOf(host, directory);
    this.#mounts.delete(key);
    this.#mounts.set(key, { host, directory: Uint8Array.from(directory) });
    if (this.#mounts.size <= MOUNT_LIST_MAX) return;
    const oldest = this.#mounts.keys().next();
    if (oldest.done !== true) this.#mounts.delete(oldest.value);
  }

  remove(session: ClientSession, directory: Uint8Array): void {
    this.#mounts.delete(keyOf(hostOf(session), directory));
  }

  removeAll(session: ClientSession): void {
    const host = hostOf(session);
    for (const [key, mounted] of this.#mounts) if (mounted.host === host) this.#mounts.delete(key);
  }

  /** The oldest mounts, as many as a reply of `bytes` can hold. */
  entries(bytes: number): { ml_hostname: Uint8Array; ml_directory: Uint8Array }[] {
    const entries: ReturnType<MountList['entries']> = [];
    let left = bytes - REPLY_HEADER_BYTES;
    for (const { host, directory } of this.#mounts.values()) {
      left -= ENTRY_HEADER_BYTES + host.length + directory.length;
      if (left < 0) break;
      entries.push({ ml_hostname: Buffer.from(host), ml_directory: directory });
    }
    return entries;
  }
}

function keyOf(host: string, directory: Uint8Array): string {
  return `${host} ${Buffer.from(directory).toString('latin1')}`;
}

function hostOf({ peer }: ClientSession): string {
  return peer.kind === 'tcp' ? peer.address : 'localhost';
}

/** The MOUNT procedures over one store. */
export function mountProcedures(store: Store): Handlers<typeof MOUNT_PROCEDURES, ServerContext> {
  const mounts = new MountList();
  return {
    NULL: () => undefined,
    MNT: (path, context) => {
      const reply = mount(store, path, context);
      if (reply.status === MNT3_OK) mounts.add(context.session, path);
      return reply;
    },
    DUMP: (_nothing, context) =>
      withReplyRoom(context, MOUNT_LIST_BYTES_MAX, (bytes) => mounts.entries(bytes)),
    UMNT: (path, context) => {
      mounts.remove(context.session, path);
    },
    UMNTALL: (_nothing, context) => {
      mounts.removeAll(context.session);
    },
    EXPORT: (_nothing, context) =>
      // What the administrator wrote down is told whole, so only the number of replies under way is bounded.
      withReplyRoom(context, MOUNT_LIST_BYTES_MAX, () =>
        store.exports().map(({ name, options }) => ({
          ex_dir: Buffer.from(`/${name}`),
          ex_groups: (options.clients ?? []).map((network) => Buffer.from(network)),
        })),
      ),
  };
}
