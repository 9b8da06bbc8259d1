/** `squash=` means the same near, by wire and over the network, and no grant goes past it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory, makeTree } from '../support/trees.ts';
import { WAYS, attemptAll, type Attempt, type Outcomes, type Person } from './scene.ts';

const USER = 1000;
const ANONYMOUS = 65534;
const TEAM = 3000;

const ROOT: Person = { uid: 0, gid: 0 };
const ROOT_IN_TEAM: Person = { uid: 0, gid: 0, groups: [TEAM] };
const NOBODY: Person = { uid: ANONYMOUS, gid: ANONYMOUS };
const NOBODY_IN_TEAM: Person = { uid: ANONYMOUS, gid: ANONYMOUS, groups: [TEAM] };
const ALICE: Person = { uid: USER, gid: USER };
const ALICE_IN_TEAM: Person = { uid: USER, gid: USER, groups: [TEAM] };
const ALICE_IN_WHEEL: Person = { uid: USER, gid: 0 };

const ATTEMPTS: readonly Attempt[] = [
  ['read', 'public'],
  ['read', 'roots'],
  ['read', 'of-roots-group'],
  ['read', 'alices'],
  ['read', 'teams'],
  ['read', 'nobodys'],
  ['read', 'program'],
  ['run', 'program'],
  ['read', 'private/file'],
  ['list', 'private'],
  ['list', 'passage'],
  ['read', 'passage/file'],
];

function makeExport(tree: string): void {
  makeTree(tree, {
    public: 'for all',
    roots: { file: 'of root', mode: 0o600 },
    'of-roots-group': { file: 'of gid 0', mode: 0o640 },
    alices: { file: 'of alice', mode: 0o600, uid: USER, gid: USER },
    teams: { file: 'of the team', mode: 0o640, uid: 2000, gid: TEAM },
    nobodys: { file: 'of nobody', mode: 0o600, uid: ANONYMOUS, gid: ANONYMOUS },
    'private/file': 'readable, behind a locked door',
    private: { directory: true, mode: 0o700, uid: USER, gid: USER },
    'passage/file': 'readable, its name not listed',
    passage: { directory: true, mode: 0o711, uid: 2000, gid: 2000 },
    program: { file: readFileSync('/bin/true'), mode: 0o711, uid: 2000, gid: 2000 },
  });
}

const key = ({ uid, gid, groups = [] }: Person): string => `${uid}:${gid}:${groups.join()} `;

/** The outcomes of one person, without its name. */
function outcomesOf(person: Person, all: Outcomes): Outcomes {
  const mine = Object.entries(all).filter(([name]) => name.startsWith(key(person)));
  return Object.fromEntries(mine.map(([name, value]) => [name.slice(key(person).length), value]));
}

/** What is left to somebody whom the guest's kernel judges as one and the server as another. */
function both(guest: Outcomes, server: Outcomes): Outcomes {
  return Object.fromEntries(
    Object.entries(guest).map(([name, value]) => [name, value === 'EACCES' ? value : server[name]!]),
  );
}

t.test('who is whom', { skip: cannotMountHere }, async (t) => {
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  makeExport(tree);
  const people = [ROOT, ROOT_IN_TEAM, ALICE, ALICE_IN_TEAM, ALICE_IN_WHEEL];
  const local = await attemptAll(tree, [...people, NOBODY, NOBODY_IN_TEAM], ATTEMPTS);
  const localOf = (person: Person): Outcomes => outcomesOf(person, local);
  t.match(localOf(NOBODY), { 'read roots': 'EACCES', 'read program': 'EACCES', 'run program': 0 });

  const wheelIsNobody: Outcomes = { ...localOf(ALICE_IN_WHEEL), 'read of-roots-group': 'EACCES' };
  const expectations: Readonly<Record<string, readonly (readonly [Person, Outcomes])[]>> = {
    root: [
      [ROOT, localOf(NOBODY)],
      [ROOT_IN_TEAM, localOf(NOBODY_IN_TEAM)],
      [ALICE, localOf(ALICE)],
      [ALICE_IN_TEAM, localOf(ALICE_IN_TEAM)],
      [ALICE_IN_WHEEL, wheelIsNobody],
    ],
    all: [
      [ROOT, localOf(NOBODY)],
      [ROOT_IN_TEAM, localOf(NOBODY)],
      [ALICE, both(localOf(ALICE), localOf(NOBODY))],
      [ALICE_IN_TEAM, both(localOf(ALICE_IN_TEAM), localOf(NOBODY))],
      [ALICE_IN_WHEEL, both(localOf(ALICE_IN_WHEEL), localOf(NOBODY))],
    ],
    none: people.map((person) => [person, localOf(person)]),
  };

  for (const [squash, cases] of Object.entries(expectations)) {
    const serverDirectory = join(directory, squash);
    makeTree(serverDirectory, {});
    const server = await startServer(t, {
      directory: serverDirectory,
      exports: [`tree=${tree},squash=${squash},clients=127.0.0.0/8`],
    });
    for (const { name, source, options } of WAYS) {
      await t.test(`squash=${squash}, ${name}`, async (t) => {
        const point = join(directory, `${squash}-${name.replaceAll(/[ ,]+/g, '-')}`);
        const mount = await startMount(t, { source: source(server), point, table: server.table, options });
        // Root comes first, when nothing is remembered that others may see.
        let opened = 0;
        for (const [person, expected] of cases) {
          const found = await attemptAll(point, [person], ATTEMPTS);
          t.strictSame(outcomesOf(person, found), expected, key(person));
          opened += Object.entries(expected).filter(([what, value]) => isOpened(what, value)).length;
        }
        const { passthrough = 0, wire = 0 } = (await mount.status()).opens;
        t.equal(passthrough + wire, opened, 'nothing else was opened');
        t.equal(name === 'near, passthrough' ? wire : passthrough, 0, 'by this data path');
        await mount.stop();
      });
    }
  }
});

/** A program is opened once to run it; directories are no open files. */
function isOpened(what: string, value: string | number): boolean {
  return !what.startsWith('list') && value !== 'EACCES';
}
