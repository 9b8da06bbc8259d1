/** docs/semantics.md keeps its word: every example prints what it shows, on every data path that it names. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, startMount, type RunningMount } from '../support/mounts.ts';
import { skipWithoutBuild, startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { readExamples, startShell, type Actor, type Example, type DataPath, type Shell } from './examples.ts';

const DOCUMENT = new URL('../../docs/semantics.md', import.meta.url);
/** As the document says of `user$`. */
const USER = 1000;
/** How long one of the mounts may live: all examples, one after the other, on a machine that is busy. */
const MOUNT_LIMIT_MS = 600_000;
const PROGRAMS = ['bash', 'python3', 'setpriv', 'flock', 'timeout', 'setfacl'];

const missing = PROGRAMS.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
const skip =
  missing.length > 0
    ? `needs ${missing.join(', ')}: apt-get install bash python3-minimal util-linux coreutils acl`
    : cannotMountHere || skipWithoutBuild();
if (skip !== false) console.error(`semantics: skipped: ${skip}`);

t.test('a document is read strictly', (t) => {
  const read = (text: string) => () => readExamples(text);
  t.throws(read('```console\nguest$ ls\n```'), /line 1/, 'no data path');
  t.throws(read('\n```console near\nguest$ ls\nf\n```'), /line 2/, 'an unknown data path');
  t.throws(read('```\nguest$ ls\nf\n```'), /console/, 'not marked');
  t.throws(read('```sh\nls\n```'), /console/, 'marked as something else');
  t.throws(read('```console mapped\nls\n```'), /prompt/);
  t.throws(read('```console mapped\nguest$ ls\n```'), /no output/);
  t.throws(read('```console mapped\nguest$ ls\nf\n'), /does not end/);
  t.same(
    readExamples(
      '# A\n## B\n```console wire mapped -o noac,soft\nserver$ x\nguest$ y\n> z\nout\n\nput\n```\n',
    ),
    [
      {
        title: 'B',
        line: 3,
        paths: ['mapped', 'wire'],
        writing: false,
        options: 'noac,soft',
        steps: [
          { actor: 'server', command: 'x', output: '' },
          { actor: 'guest', command: 'y\nz', output: 'out\n\nput\n' },
        ],
      },
    ],
  );
  const [writing] = readExamples('```console wire writing -o soft\nuser$ x\nout\n```\n');
  t.match(writing, { paths: ['wire'], writing: true, options: 'soft' });
  t.end();
});

/** Mount options that make a data path the one taken, and where it leads. */
const OPTIONS: Readonly<Record<DataPath, string>> = {
  passthrough: 'route=near',
  mapped: 'route=near,datapath=mapped',
  wire: 'route=network',
};

t.test('every example does what it shows', { skip }, async (t) => {
  const examples = readExamples(readFileSync(DOCUMENT, 'utf8'));
  const directory = makeDirectory(t);
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  const server = await startServer(t, { directory, exports: [`tree=${tree},clients=127.0.0.1/32`] });

  const mounts = new Map<string, Promise<RunningMount>>();
  const mountFor = (path: DataPath, { options, writing }: Example): Promise<RunningMount> => {
    const list = [OPTIONS[path], options].filter((each) => each !== '').join(',');
    const point = join(directory, `m${mounts.size}`);
    // Mounts count how files were opened, so those that are written have one of their own.
    const key = `${list} ${writing}`;
    const made =
      mounts.get(key) ??
      startMount(t, { source: 'tree', point, table: server.table, options: list, limitMs: MOUNT_LIMIT_MS });
    mounts.set(key, made);
    return made;
  };

  const play = async (example: Example, path: DataPath): Promise<void> => {
    const { line, steps, writing } = example;
    const name = `line-${line}-${path}`;
    mkdirSync(join(tree, name));
    chmodSync(join(tree, name), 0o755);
    const mount = await mountFor(path, example);
    const env = { SERVER: String(server.pid), EXPORTED: join(tree, name) };
    const inMount = join(mount.point, name);
    const asUser = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', '--inh-caps=-all'];
    const places: Readonly<Record<Actor, readonly [enter: readonly string[], where: string]>> = {
      server: [[], join(tree, name)],
      guest: [[], inMount],
      user: [asUser, inMount],
    };
    const shells = new Map<Actor, Shell>();
    try {
      for (const actor of new Set(steps.map((step) => step.actor))) {
        shells.set(actor, await startShell(...places[actor], env));
      }
      for (const { actor, command, output } of steps) {
        t.equal(await shells.get(actor)?.run(command), output, `${actor}$ ${command}`);
      }
    } finally {
      // An example that stops the server leaves it going for the next one.
      process.kill(server.pid, 'SIGCONT');
      for (const shell of shells.values()) await shell.close();
    }
    const { route, opens } = await mount.status();
    t.equal(route, path === 'wire' ? 'network' : 'near');
    const taken = [path, ...(writing ? ['wire'] : [])];
    const others = Object.entries(opens).filter(([other, count]) => !taken.includes(other) && count > 0);
    t.same(others, [], `no data path but ${taken.join(', ')}`);
  };

  let played = 0;
  for (const example of examples) {
    for (const path of example.paths) {
      t.comment(`${example.title} (line ${example.line}), ${path} ${example.options}`);
      await play(example, path);
      played += 1;
    }
  }
  t.ok(examples.length > 0);
  const wanted = examples.reduce((sum, { paths }) => sum + paths.length, 0);
  t.equal(played, wanted, `${played} examples`);
});
