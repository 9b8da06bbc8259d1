/** The NFSACL procedures, as those of the kernel's NFS server (fs/nfsd/nfs3acl.c). */
import {
  NFS_ACL,
  NFS_ACLCNT,
  NFS_DFACL,
  NFS_DFACLCNT,
  type GETACL3res,
  type NFSACL_PROCEDURES,
  type SETACL3args,
  type SETACL3res,
  type aclent,
} from '../nfs3/nfsacl.ts';
import { aclOfMode, aclOfXattr, xattrToSet } from '../nfs3/posix-acl.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import type { Handlers } from '../rpc/program.ts';
import { readAcl, writeAcl, type AclKind } from '../store/acls.ts';
import type { Identity } from '../store/identity.ts';
import { attributes } from '../store/operations.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { attributesOf, postOpAttributes } from './attributes.ts';
import { requireWritable } from '../store/writable.ts';
import type { ServerContext } from './client-session.ts';
import { StatusError } from './outcome.ts';
import { onFile } from './target.ts';

const SETTABLE: readonly (readonly [mask: number, kind: AclKind])[] = [
  [NFS_ACL, 'access'],
  [NFS_DFACL, 'default'],
];
const EVERYTHING = NFS_ACL | NFS_ACLCNT | NFS_DFACL | NFS_DFACLCNT;

function getAcl(node: StoreNode, mask: number): GETACL3res {
  if ((mask & ~EVERYTHING) !== 0) {
    return { status: NFSSTAT3.NFS3ERR_INVAL, obj_attributes: postOpAttributes(node) };
  }
  const status = attributes(node);
  const list = (wanted: number, entriesWanted: number, read: () => aclent[]) => {
    const entries = (mask & wanted) === 0 ? [] : read();
    return { count: entries.length, entries: (mask & entriesWanted) === 0 ? [] : entries };
  };
  return {
    status: NFS3_OK,
    obj_attributes: attributesOf(node),
    mask,
    access: list(NFS_ACL | NFS_ACLCNT, NFS_ACL, () => {
      const value = readAcl(node, 'access');
      return (value && aclOfXattr(value, status, false)) ?? aclOfMode(status.mode, status);
    }),
    default: list(NFS_DFACL | NFS_DFACLCNT, NFS_DFACL, () => {
      const value = readAcl(node, 'default');
      return (value && aclOfXattr(value, status, true)) ?? [];
    }),
  };
}

/** Sets the ACLs that the mask names; all are looked at before the first is set. */
function setAcl(node: StoreNode, identity: Identity, args: SETACL3args): void {
  requireWritable(node);
  const wanted: [AclKind, Buffer | null][] = [];
  for (const [bit, kind] of SETTABLE) {
    if ((args.mask & bit) === 0) continue;
    const value = xattrToSet(args[kind].entries);
    if (value === undefined) throw new StatusError(NFSSTAT3.NFS3ERR_INVAL);
    wanted.push([kind, value]);
  }
  if ((args.mask & ~EVERYTHING) !== 0) throw new StatusError(NFSSTAT3.NFS3ERR_INVAL);
  for (const [kind, value] of wanted) writeAcl(identity, node, kind, value);
}

/** The NFSACL procedures over one store. Who may look a file up may see its ACL, as locally. */
export function aclProcedures(store: Store): Handlers<typeof NFSACL_PROCEDURES, ServerContext> {
  return {
    NULL: () => undefined,
    GETACL: ({ object, mask }, context) =>
      onFile<GETACL3res>(
        store,
        object,
        context,
        ({ node }) => getAcl(node, mask),
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),
    SETACL: (args, context) =>
      onFile<SETACL3res>(
        store,
        args.object,
        context,
        ({ node, identity }) => {
          setAcl(node, identity, args);
          return { status: NFS3_OK, obj_attributes: attributesOf(node) };
        },
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),
  };
}
