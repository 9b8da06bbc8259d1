/** Whoever may connect to the Unix socket gets by it what its own rights give, whatever it says to be. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Test } from 'tap';
import { cannotMountHere, notForOtherUsers, plainNode, runTool } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';

const ATTACKER = fileURLToPath(new URL('./attacker.mjs', import.meta.url));
const TEAM = 3000;
/** First of 65,536 ids that stand for those of a container. */
const SUBORDINATE = 100_000;

const FILES = [
  'public',
  'roots',
  'of-roots-group',
  'alices',
  'teams',
  'not-the-teams',
  'mapped',
  'private/file',
];
const CLAIMS = [
  { uid: 0, gid: 0, groups: [] },
  { uid: 1000, gid: 1000, groups: [] },
  { uid: 1001, gid: TEAM, groups: [TEAM, 0] },
  { uid: SUBORDINATE + 1000, gid: SUBORDINATE + 1000, groups: [] },
];

const LOOKUP_DENIED = 'LOOKUP 13';
const READ_DENIED = 'READ 13';
/** What is left to anybody. */
const OTHERS: Readonly<Record<string, string>> = {
  public: 'public',
  roots: READ_DENIED,
  'of-roots-group': READ_DENIED,
  alices: READ_DENIED,
  teams: READ_DENIED,
  'not-the-teams': 'not-the-teams',
  mapped: READ_DENIED,
  'private/file': LOOKUP_DENIED,
};

async function prepare(t: Test) {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeTree(tree, {
    public: 'public',
    roots: { file: 'roots', mode: 0o600 },
    'of-roots-group': { file: 'of-roots-group', mode: 0o640 },
    alices: { file: 'alices', mode: 0o600, uid: 1000, gid: 1000 },
    teams: { file: 'teams', mode: 0o640, uid: 2000, gid: TEAM },
    'not-the-teams': { file: 'not-the-teams', mode: 0o604, uid: 2000, gid: TEAM },
    mapped: { file: 'mapped', mode: 0o600, uid: SUBORDINATE + 1000, gid: SUBORDINATE + 1000 },
    'private/file': 'in private',
    private: { directory: true, mode: 0o700, uid: 1000, gid: 1000 },
  });
  const server = await startServer(t, {
    directory,
    exports: [`tree=${tree},squash=none,clients=192.0.2.0/24`],
  });
  const forged = ['00', '01'.repeat(36), '01'.repeat(64)];
  const asked = JSON.stringify({ socket: server.socket, files: FILES, claims: CLAIMS, forged });
  const [program, args] = plainNode(ATTACKER, asked);
  /** What comes of it under a program that makes it somebody. */
  const attack = async (...become: readonly string[]): Promise<Record<string, unknown>> => {
    const all = [...become, program, ...args];
    const { status, stdout, stderr } = await runTool(all[0]!, all.slice(1));
    if (status !== 0) throw new Error(`${become.join(' ')}: status ${status}\n${stderr}`);
    return JSON.parse(stdout.toString()) as Record<string, unknown>;
  };
  return { server, attack };
}

/** The same outcomes for every claim, by AUTH_SYS and by AUTH_SHORT. */
function always(expected: Readonly<Record<string, string>>): Record<string, string> {
  return outcomes(() => expected);
}

function outcomes(expect: (claim: (typeof CLAIMS)[number]) => Readonly<Record<string, string>>) {
  const all: Record<string, string> = {};
  for (const claim of CLAIMS) {
    const { uid, gid, groups } = claim;
    for (const flavor of ['sys', 'short']) {
      const expected = expect(claim);
      for (const file of FILES) all[`${flavor} ${uid}:${gid}:${groups.join()} ${file}`] = expected[file]!;
    }
  }
  return all;
}

function withoutClaims(found: Readonly<Record<string, unknown>>): unknown[] {
  return Object.entries(found)
    .filter(([name]) => !/^(sys|short) /.test(name))
    .map(([, value]) => value);
}

const onlyClaims = (found: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(found).filter(([name]) => /^(sys|short) /.test(name)));

const BADHANDLE = 10001;
const NO_CHANNEL = ['EACCES', false, BADHANDLE, BADHANDLE, BADHANDLE];
const skip = cannotMountHere || notForOtherUsers;
const noUserNamespaces =
  spawnSync('setpriv', ['--reuid', '1000', '--clear-groups', 'unshare', '--user', 'true']).status !== 0 &&
  'users cannot make user namespaces here: see user.max_user_namespaces';

const as = (uid: number, gid: number, ...groups: number[]): string[] => [
  ...['setpriv', '--reuid', String(uid), '--regid', String(gid)],
  ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join()]),
];

t.test('other users', { skip }, async (t) => {
  const { server, attack } = await prepare(t);
  t.equal(statSync(server.socket).mode & 0o777, 0o666, 'everybody may speak');
  t.equal(statSync(`${server.socket}.channel`).mode & 0o777, 0o600, 'nobody but root may bring a channel');

  const nobody = await attack(...as(65534, 65534));
  t.strictSame(onlyClaims(nobody), always(OTHERS), 'uid 65534 is itself');
  t.strictSame(withoutClaims(nobody), NO_CHANNEL, 'without a channel, or handles of its own making');

  const alice = await attack(...as(1000, 1000));
  const alices = { ...OTHERS, alices: 'alices', 'private/file': 'in private' };
  t.strictSame(onlyClaims(alice), always(alices), 'an ordinary user is itself');
  t.strictSame(withoutClaims(alice), NO_CHANNEL);

  const member = await attack(...as(1001, 1001, TEAM));
  const teams = { ...OTHERS, teams: 'teams', 'not-the-teams': READ_DENIED };
  t.strictSame(onlyClaims(member), always(teams), 'its groups are the kernel’s, also where they take away');

  const powerless = await attack('setpriv', '--bounding-set', '-all', '--clear-groups');
  const granted = Object.entries(onlyClaims(powerless)).map(([name, value]) => [
    name,
    String(value).replace(', granted', ''),
  ]);
  t.strictSame(
    Object.fromEntries(granted),
    always(OTHERS),
    'root that could not become others is nobody, since here it would have powers that it lacks',
  );
});

/** A user namespace with subordinate ids, as container engines make them; a command's prefix that enters it as root. */
async function makeContainer(t: Test): Promise<string[]> {
  const child = spawn('unshare', ['--user', 'sh', '-c', 'echo ready; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  for (const map of ['uid_map', 'gid_map'])
    writeFileSync(`/proc/${child.pid}/${map}`, `0 ${SUBORDINATE} 65536`);
  return ['nsenter', '--user', '--target', String(child.pid), '--setuid', '0', '--setgid', '0'];
}

t.test('user namespaces', { skip: skip || noUserNamespaces }, async (t) => {
  const { attack } = await prepare(t);
  const own = await attack(...as(1000, 1000), 'unshare', '--user', '--map-root-user');
  const alices = { ...OTHERS, alices: 'alices', 'private/file': 'in private' };
  t.strictSame(onlyClaims(own), always(alices), 'root of a namespace that a user made is that user');
  t.strictSame(withoutClaims(own), NO_CHANNEL);

  const member = await attack(...as(1001, 1001, TEAM), 'unshare', '--user', '--map-root-user');
  const teams = { ...OTHERS, teams: 'teams', 'not-the-teams': READ_DENIED };
  t.strictSame(onlyClaims(member), always(teams), 'and does not get rid of its groups');

  const unmapped = await attack(...as(1000, 1000), 'unshare', '--user');
  t.strictSame(onlyClaims(unmapped), always(alices), 'nor is one without a map anybody else');

  const container = await makeContainer(t);
  const mapped = await attack(...container);
  t.strictSame(
    onlyClaims(mapped),
    outcomes(({ uid }) => (uid === 1000 ? { ...OTHERS, mapped: 'mapped' } : OTHERS)),
    'root of a container speaks for its users, by their ids there, and for nobody outside',
  );
  t.strictSame(withoutClaims(mapped), NO_CHANNEL);

  const inside = await attack(
    ...container,
    'setpriv',
    '--reuid',
    '1000',
    '--regid',
    '1000',
    '--clear-groups',
  );
  t.strictSame(
    onlyClaims(inside),
    always({ ...OTHERS, mapped: 'mapped' }),
    'a user of the container is itself',
  );
  const weak = await attack(...container, 'setpriv', '--bounding-set', '-all');
  t.strictSame(onlyClaims(weak), always(OTHERS), 'as is its root, if it could not become others');
});
