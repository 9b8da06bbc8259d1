/** From a file handle to the file and the caller: what every procedure begins with. */
import { NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { nfs_fh3 } from '../nfs3/types.ts';
import type { Identity } from '../store/identity.ts';
import type { FileStatus } from '../store/operations.ts';
import type { Store, StoreNode } from '../store/store.ts';
import { asking } from './asking.ts';
import { callerIdentity, mayUseExport, type ServerContext } from './client-session.ts';
import { orStatus } from './outcome.ts';

/** A file of an export and who wants something of it. */
export interface Target {
  readonly node: StoreNode;
  /** As it was when its handle was resolved, in this turn. */
  readonly status: FileStatus;
  readonly identity: Identity;
}

class AccessDenied extends Error {}

/** The file behind a handle. Throws StoreError for a handle that is wrong, AccessDenied for a client that may not. */
export function target(store: Store, handle: nfs_fh3, context: ServerContext): Target {
  const { node, status } = store.resolveStatus(handle.data);
  if (!mayUseExport(context.session, node.export.options)) throw new AccessDenied();
  context.session.usesExports = true;
  const identity = callerIdentity(context, node.export.options);
  context.session.promises?.asked(node, status, identity);
  return { node, status, identity };
}

/**
 * Runs the body of a procedure on the file behind a handle. A failure is answered with its status and, where the
 * handle was good, the file's attributes.
 */
export function onFile<T>(
  store: Store,
  handle: nfs_fh3,
  context: ServerContext,
  body: (target: Target) => T,
  fail: (status: nfs3error, node: StoreNode | undefined) => T,
): T {
  let found: Target | undefined;
  return asking(context.session, () =>
    orStatus(
      () => {
        try {
          found = target(store, handle, context);
          return body(found);
        } catch (error) {
          if (error instanceof AccessDenied) return fail(NFSSTAT3.NFS3ERR_ACCES, undefined);
          throw error;
        }
      },
      (status) => fail(status, found?.node),
    ),
  );
}
