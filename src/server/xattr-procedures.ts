/** GETXATTR, SETXATTR, LISTXATTRS and REMOVEXATTR: RFC 8276 section 8.4, as fgdp/xattrs.ts declares them. */
import type { FGDP_PROCEDURES } from '../fgdp/program.ts';
import { xattrStatusOfErrno, type fgdperror } from '../fgdp/status.ts';
import {
  SETXATTR_OPTION,
  type GETXATTRres,
  type LISTXATTRSres,
  type setxattr_option,
  type XATTRchangeres,
} from '../fgdp/xattrs.ts';
import { NFS_ACL, NFS_DFACL } from '../nfs3/nfsacl.ts';
import { NFS3_OK } from '../nfs3/status.ts';
import type { nfs_fh3, wcc_attr } from '../nfs3/types.ts';
import type { Handlers } from '../rpc/program.ts';
import { errnoOf } from '../store/store-error.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { requireWritable } from '../store/writable.ts';
import {
  getUserXattr,
  hasUserXattr,
  listUserXattrs,
  removeUserXattr,
  setUserXattr,
} from '../store/xattrs.ts';
import { attributesOf, postOpAttributes } from './attributes.ts';
import type { ServerContext } from './client-session.ts';
import { begin } from './starting-point.ts';
import { onFile, type Target } from './target.ts';
import { preOpAttributes, wccData } from './weak-cache-consistency.ts';

type Names = 'GETXATTR' | 'SETXATTR' | 'LISTXATTRS' | 'REMOVEXATTR';

const ACL_BITS = { access: NFS_ACL, default: NFS_DFACL } as const;
const HOW = {
  [SETXATTR_OPTION.EITHER]: 'either',
  [SETXATTR_OPTION.CREATE]: 'create',
  [SETXATTR_OPTION.REPLACE]: 'replace',
} as const;

/** As onFile, with the statuses that only these procedures have. */
function onXattrs<T>(
  store: Store,
  file: nfs_fh3,
  context: ServerContext,
  body: (target: Target) => T,
  fail: (status: fgdperror, node: StoreNode | undefined) => T,
): T {
  return onFile(
    store,
    file,
    context,
    (found) => {
      try {
        return body(found);
      } catch (error) {
        const errno = errnoOf(error);
        const status = errno === undefined ? undefined : xattrStatusOfErrno(errno);
        if (status === undefined) throw error;
        return fail(status, found.node);
      }
    },
    fail,
  );
}

/** Runs a change; the reply has the file's attributes from before and after, also when that fails. */
function changing(
  store: Store,
  file: nfs_fh3,
  context: ServerContext,
  change: (target: Target) => void,
): XATTRchangeres {
  let before: wcc_attr | null = null;
  return onXattrs<XATTRchangeres>(
    store,
    file,
    context,
    (found) => {
      requireWritable(found.node);
      before = preOpAttributes(found.status);
      change(found);
      return { status: NFS3_OK, wcc: wccData(before, found.node) };
    },
    (status, node) => ({ status, wcc: wccData(before, node) }),
  );
}

/** Whether what is there refuses to be set in this way. */
function isRefused(node: StoreNode, name: Uint8Array, option: setxattr_option): boolean {
  if (option === SETXATTR_OPTION.EITHER) return false;
  return hasUserXattr(node, name) === (option === SETXATTR_OPTION.CREATE);
}

export function xattrProcedures(store: Store): Pick<Handlers<typeof FGDP_PROCEDURES, ServerContext>, Names> {
  const failed = (status: fgdperror, node: StoreNode | undefined) => ({
    status,
    obj_attributes: postOpAttributes(node),
  });
  return {
    GETXATTR: ({ file, name }, context) =>
      onXattrs<GETXATTRres>(
        store,
        file,
        context,
        ({ node, identity }) => {
          const value = getUserXattr(identity, node, name);
          return { status: NFS3_OK, obj_attributes: attributesOf(node), value };
        },
        failed,
      ),
    LISTXATTRS: ({ file }, context) =>
      onXattrs<LISTXATTRSres>(
        store,
        file,
        context,
        ({ node, identity }) => {
          const { keys, acls } = listUserXattrs(identity, node);
          const bits = acls.map((kind) => ACL_BITS[kind]).reduce((all, bit) => all | bit, 0);
          return { status: NFS3_OK, obj_attributes: attributesOf(node), names: keys, acls: bits };
        },
        failed,
      ),
    SETXATTR: ({ file, option, name, value }, context) =>
      changing(store, file, context, ({ node, identity }) => {
        const earlier = begin(context, { isRefused: isRefused(node, name, option) });
        // An earlier execution that was not refused may have set it.
        const how = earlier?.isRefused === false ? 'either' : HOW[option];
        setUserXattr(identity, node, name, value, how);
      }),
    REMOVEXATTR: ({ file, name }, context) =>
      changing(store, file, context, ({ node, identity }) => {
        const isThere = hasUserXattr(node, name);
        const earlier = begin(context, { isRefused: !isThere });
        const isDone = earlier?.isRefused === false && !isThere;
        if (!isDone) removeUserXattr(identity, node, name);
      }),
  };
}
