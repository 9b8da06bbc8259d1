import type { Identity } from '../system/identity.ts';
import type { ExportOptions } from './export-options.ts';

type Squashing = Pick<ExportOptions, 'squash' | 'anonymousUid' | 'anonymousGid'>;

/**
 * Who a caller is to this export. `root` replaces the ids 0, also among the groups (like exports(5)); `all` replaces
 * everything. The identity itself comes back when nothing changes.
 */
export function squashIdentity(options: Squashing, identity: Identity): Identity {
  const { squash, anonymousUid, anonymousGid } = options;
  switch (squash) {
    case 'none':
      return identity;
    case 'all':
      return { uid: anonymousUid, gid: anonymousGid, groups: [] };
    case 'root': {
      const { uid, gid, groups } = identity;
      if (uid !== 0 && gid !== 0 && !groups.includes(0)) return identity;
      const squashGroup = (group: number): number => (group === 0 ? anonymousGid : group);
      return {
        uid: uid === 0 ? anonymousUid : uid,
        gid: squashGroup(gid),
        groups: groups.map(squashGroup),
      };
    }
  }
}
