/** The NFSACL procedures: what GETACL of the kernel's NFS server answers (fs/nfsd/nfs3acl.c). */
import {
  NFS_ACL,
  NFS_ACLCNT,
  NFS_DFACL,
  NFS_DFACLCNT,
  type GETACL3res,
  type NFSACL_PROCEDURES,
  type SETACL3res,
  type aclent,
} from '../nfs3/nfsacl.ts';
import { aclOfMode, aclOfXattr } from '../nfs3/posix-acl.ts';
import { NFS3_OK, NFSSTAT3 } from '../nfs3/status.ts';
import type { Handlers } from '../rpc/program.ts';
import { attributes, readAcl } from '../store/operations.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { attributesOf, postOpAttributes } from './attributes.ts';
import type { ServerContext } from './client-session.ts';
import { onFile } from './target.ts';

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
    SETACL: ({ object }, context) =>
      onFile<SETACL3res>(
        store,
        object,
        context,
        ({ node }) => ({ status: NFSSTAT3.NFS3ERR_ROFS, obj_attributes: postOpAttributes(node) }),
        (status, node) => ({ status, obj_attributes: postOpAttributes(node) }),
      ),
  };
}
