/** What user.nearmount.route, .datapath and .why say about one file. */
import type { ServerLink } from '../client/link.ts';
import type { Inode } from './inodes.ts';
import { dataPathOf } from './open-inode.ts';

/**
 * @param what the attribute's name behind its prefix
 * @param routeWhy why the route in use was taken
 * @returns undefined for a name that says nothing
 */
export function explain(inode: Inode, what: string, link: ServerLink, routeWhy: string): string | undefined {
  switch (what) {
    case 'route':
      return link.session.route;
    case 'datapath':
      return inode.open === undefined ? 'not open' : dataPathOf(inode.open);
    case 'why': {
      const why = link.isConnected ? routeWhy : `the server is away, last reached by: ${routeWhy}`;
      return inode.open === undefined ? why : `${why}; ${inode.open.why}`;
    }
    default:
      return undefined;
  }
}
