/** Tests of size run small with the others, and in full by hand: `NEARMOUNT_TEST_FULL_SIZE=1 npx tap test/trees`. Suites run over more routes then. */
export const FULL_SIZE = process.env.NEARMOUNT_TEST_FULL_SIZE !== undefined;

export function sized(small: number, full: number): number {
  return FULL_SIZE ? full : small;
}

/** A mount of a test in full size may live this long. */
export const MOUNT_LIMIT_MS = sized(120_000, 1_200_000);

/** The two far ends of the routes: pages shared, and everything by messages. */
export const ROUTES = [
  ['near', 'route=near'],
  ['network', 'route=network'],
] as const;

/** With the other tests, these are reached by one route: what differs by route differs on the others as well. */
const ONE_ROUTE = ['xfs', 'btrfs', 'tmpfs'];

export function routesTo(fileSystem: string): readonly (typeof ROUTES)[number][] {
  return ONE_ROUTE.includes(fileSystem) && !FULL_SIZE ? [ROUTES[0]] : ROUTES;
}
