/**
 * One suite of read operations and their errors, for every way in which an export can be reached. The reference is
 * the exported directory itself, so nothing here says what the right answer is: the kernel's own file system does.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { plainNode, runTool, startMount, type RunningMount, type ToolResult } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { GROUP, USER, mountReadOnlyTree } from './tree.ts';

const PROBE = fileURLToPath(new URL('./probe.mjs', import.meta.url));
const SQLITE_PROBE = fileURLToPath(new URL('./sqlite-probe.mjs', import.meta.url));

/** All of them are there until the last program has run, two minutes on a machine that has other work. */
const MOUNTS_LIMIT_MS = 300_000;

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const hasGit = has('git');

/** What a backend cannot do: cases of the probe whose answer differs, and programs that must ask for less. */
export interface Exceptions {
  readonly cases: readonly {
    readonly name: RegExp;
    readonly reason: string;
    /** What the backend answers where the directory gives `value`. */
    readonly expected: (value: unknown) => unknown;
  }[];
  readonly programs: readonly {
    readonly program: string;
    readonly reason: string;
    /** The line that is run on both sides instead. */
    readonly line: (line: string) => string;
  }[];
}

export interface Backend {
  readonly name: string;
  readonly source: (server: ServerProcess) => string;
  readonly options: string;
  readonly route: string;
  readonly dataPath: string;
  readonly exceptions?: Exceptions;
}

/** Who runs which cases of the probe. */
const PROBES = [
  ['read', undefined],
  ['names', undefined],
  ['errors', undefined],
  ['permissions', undefined],
  ['permissions', `${USER}:${USER}:`],
  ['permissions', `${USER}:${USER}:${GROUP}`],
  ['permissions', `${USER}:${USER}:7,8,${GROUP},9`],
  ['permissions', `1000:${GROUP}:`],
  ['errors', `${USER}:${USER}:`],
] as const;

type Answers = Readonly<Record<string, { readonly value?: unknown; readonly error?: string }>>;

async function probe(directory: string, group: string, who?: string): Promise<Answers> {
  const args = [directory, group, ...(who === undefined ? [] : [who])];
  const { status, signal, stdout, stderr } = await runTool(...plainNode(PROBE, ...args));
  if (status !== 0) throw new Error(`probe ${args.join(' ')}: ${signal ?? status}\n${stderr}`);
  return JSON.parse(stdout.toString()) as Answers;
}

/** Programs whose output on a mount is that on the directory; `{}` stands for it. */
const PROGRAMS: readonly (readonly [string, string])[] = [
  ['find', 'cd {} && find . -printf "%P|%y|%s|%m|%U|%G|%n|%l|%T@\\n" | LC_ALL=C sort | sha256sum'],
  [
    'find',
    'cd {} && find . -path ./many -prune -o -type f -size -10M -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum',
  ],
  ['tar', 'tar -C {} --sort=name --exclude=./sparse --exclude=./socket --exclude=./many -cf - . | sha256sum'],
  ['ls', 'cd {} && ls -lanR --full-time . | grep -v ^total | sha256sum'],
  [
    'cp',
    'd=$(mktemp -d) && cp -a {}/dir {}/raw {}/big {}/link {}/old {}/hard-1 $d && cd $d && tar --sort=name -cf - . --mtime=@0 | sha256sum; rm -rf $d',
  ],
  [
    'rsync',
    'rsync -a --dry-run --itemize-changes --exclude=sparse {}/ /nonexistent-for-dry-run/ | sha256sum',
  ],
  [
    'git',
    'export GIT_CONFIG_GLOBAL=/dev/null; git -c safe.directory="*" -C {}/repository status --porcelain && git -c safe.directory="*" -C {}/repository log -p | sha256sum && git -c safe.directory="*" -C {}/repository fsck --full 2>&1 | tail -1',
  ],
  ['grep', 'cd {} && grep -rl --exclude=sparse --exclude-dir=many "some text" --devices=skip . | sort'],
  ['du', 'du -s --apparent-size {}/dir {}/raw | cut -f1'],
  ['sqlite3', 'sqlite3 "file:{}/data.db?immutable=1" "SELECT count(*), sum(length(value)) FROM pairs"'],
  ['dd', 'dd if={}/sparse bs=1M skip=4095 count=2 status=none | sha256sum'],
];

/** The exported directory's answer, as the backend must give it. */
function expectedOf({ exceptions }: Backend, name: string, answer: Answers[string]): Answers[string] {
  const exception = exceptions?.cases.find((each) => each.name.test(name));
  if (exception === undefined || answer.error !== undefined) return answer;
  return { value: exception.expected(answer.value) };
}

/** Runs everything on mounts of all `backends` at once. */
export async function readOperationsSuite(t: Test, backends: readonly Backend[]): Promise<void> {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  t.teardown(() => spawnSync('umount', ['-l', tree]));
  mountReadOnlyTree(tree, hasGit);
  const server = await startServer(t, {
    directory: top,
    exports: [
      `tree=${tree},squash=none,clients=127.0.0.1`,
      `pages=${tree},squash=none,clients=127.0.0.1,grants=pages`,
      `records=${tree},squash=none,clients=127.0.0.1,grants=none`,
    ],
  });

  const mounts: { backend: Backend; mount: RunningMount }[] = [];
  for (const [index, backend] of backends.entries()) {
    const point = join(top, `mnt${index}`);
    mkdirSync(point);
    // Read-only, as the directory it is compared with.
    const options = `ro,${backend.options}`;
    mounts.push({
      backend,
      mount: await startMount(t, {
        source: backend.source(server),
        point,
        table: server.table,
        options,
        limitMs: MOUNTS_LIMIT_MS,
      }),
    });
  }

  for (const [group, who] of PROBES) {
    const expected = await probe(tree, group, who);
    t.ok(Object.keys(expected).length > 20);
    for (const { backend, mount } of mounts) {
      t.test(`${backend.name}: ${group}${who === undefined ? '' : ` as ${who}`}`, async (t) => {
        const actual = await probe(mount.point, group, who);
        for (const [name, answer] of Object.entries(expected)) {
          t.strictSame(actual[name], expectedOf(backend, name, answer), name);
        }
      });
    }
  }

  for (const [program, line] of PROGRAMS) {
    t.test(
      `the output of ${program} is the same`,
      { skip: !has(program) && `needs ${program}` },
      async (t) => {
        const run = (what: string, at: string) => runTool('sh', ['-c', what.replaceAll('{}', at)]);
        const expectations = new Map<string, ToolResult>();
        for (const { backend, mount } of mounts) {
          const exception = backend.exceptions?.programs.find((each) => each.program === program);
          const what = exception?.line(line) ?? line;
          const expected = expectations.get(what) ?? (await run(what, tree));
          expectations.set(what, expected);
          t.not(expected.stdout.length, 0, expected.stderr);
          const { status, stdout } = await run(what, mount.point);
          t.same([status, stdout.toString()], [expected.status, expected.stdout.toString()], backend.name);
        }
      },
    );
  }

  t.test('SQLite reads a database', async (t) => {
    for (const how of ['locks', 'mmap']) {
      const run = (at: string) => runTool(...plainNode(SQLITE_PROBE, join(at, 'data.db'), how));
      const expected = await run(tree);
      t.equal(expected.status, 0, expected.stderr);
      for (const { backend, mount } of mounts) {
        const { stdout, stderr } = await run(mount.point);
        t.equal(stdout.toString(), expected.stdout.toString(), `${backend.name}, ${how}${stderr}`);
      }
    }
  });

  for (const { backend, mount } of mounts) {
    t.test(`${backend.name}: the mount tells about itself`, async (t) => {
      const { route, dataPath } = backend;
      t.match(await probe(mount.point, 'xattr'), {
        ours: { value: { route, datapath: 'not open', why: /\w/, other: 'ENODATA' } },
        'while open': { value: dataPath },
        'into too little room': { error: 'ERANGE' },
        length: { value: route.length },
        list: { value: 0 },
        'list length': { value: 0 },
        missing: { error: 'ENODATA' },
        acl: { error: 'ENODATA' },
      });
      const status = await mount.until('without open files', ({ openFiles }) =>
        Object.values(openFiles).every((count) => count === 0),
      );
      t.equal(status.route, route);
      const { [dataPath]: opens = 0, ...others } = status.opens;
      t.ok(opens > 0);
      for (const [other, count] of Object.entries(others))
        t.equal(count, 0, `no file took the ${other} data path`);
      t.notMatch(mount.log(), /"level":"(error|fatal)"/, 'no fault was logged');
    });
  }
  t.test('no fault was logged by the server', async (t) => {
    t.notMatch(server.log(), /"level":"(error|fatal)"/);
  });
}
