/** The procedures that change names and attributes: RFC 1813 sections 3.3.2 and 3.3.8 to 3.3.15. */
import { NFSSTAT3, type nfs3error } from '../nfs3/status.ts';
import type { nfs_fh3, wcc_data } from '../nfs3/types.ts';
import type { NFS_PROCEDURES } from '../nfs3/nfs.ts';
import type { Handlers } from '../rpc/program.ts';
import type { Store } from '../store/store.ts';
import type { ServerContext } from './client-session.ts';
import { onFile } from './target.ts';

const NO_WCC: wcc_data = { before: null, after: null };

function refusing(store: Store) {
  const refuse = (context: ServerContext, ...handles: readonly nfs_fh3[]): nfs3error => {
    for (const handle of handles) {
      const wrong = onFile<nfs3error | undefined>(
        store,
        handle,
        context,
        () => undefined,
        (status) => status,
      );
      if (wrong !== undefined) return wrong;
    }
    return NFSSTAT3.NFS3ERR_ROFS;
  };
  const refuseChange = (handle: nfs_fh3, context: ServerContext) => ({
    status: refuse(context, handle),
    wcc: NO_WCC,
  });
  return { refuse, refuseChange };
}

type Names = 'SETATTR' | 'CREATE' | 'MKDIR' | 'SYMLINK' | 'MKNOD' | 'REMOVE' | 'RMDIR' | 'RENAME' | 'LINK';

export function nameProcedures(store: Store): Pick<Handlers<typeof NFS_PROCEDURES, ServerContext>, Names> {
  const { refuse, refuseChange } = refusing(store);
  return {
    SETATTR: (args, context) => refuseChange(args.object, context),
    CREATE: (args, context) => refuseChange(args.where.dir, context),
    MKDIR: (args, context) => refuseChange(args.where.dir, context),
    SYMLINK: (args, context) => refuseChange(args.where.dir, context),
    MKNOD: (args, context) => refuseChange(args.where.dir, context),
    REMOVE: (args, context) => refuseChange(args.object.dir, context),
    RMDIR: (args, context) => refuseChange(args.object.dir, context),
    RENAME: (args, context) => ({
      status: refuse(context, args.from.dir, args.to.dir),
      fromdir_wcc: NO_WCC,
      todir_wcc: NO_WCC,
    }),
    LINK: (args, context) => ({
      status: refuse(context, args.file, args.link.dir),
      file_attributes: null,
      linkdir_wcc: NO_WCC,
    }),
  };
}
