/** WRITE and COMMIT: RFC 1813 sections 3.3.7 and 3.3.21. */
import { NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { nfs_fh3, wcc_data } from '../nfs3/types.ts';
import type { NFS_PROCEDURES } from '../nfs3/nfs.ts';
import type { Handlers } from '../rpc/program.ts';
import type { Store } from '../store/store.ts';
import type { ServerContext } from './client-session.ts';
import { onFile } from './target.ts';

const NO_WCC: wcc_data = { before: null, after: null };

export function writeProcedures(
  store: Store,
): Pick<Handlers<typeof NFS_PROCEDURES, ServerContext>, 'WRITE' | 'COMMIT'> {
  const refuse = (handle: nfs_fh3, context: ServerContext) => ({
    status: onFile<nfs3error>(
      store,
      handle,
      context,
      () => NFSSTAT3.NFS3ERR_ROFS,
      (status) => status,
    ),
    wcc: NO_WCC,
  });
  return {
    WRITE: (args, context) => refuse(args.file, context),
    COMMIT: (args, context) => refuse(args.file, context),
  };
}
