/**
 * One directory, written and read by mounts of different routes and data paths. In turns: who opens after another's close
 * sees what was written. At the same time: writers of different ranges lose nothing of each other's.
 * `NEARMOUNT_TWO_ROUTE_OPERATIONS=200000 npx tap --timeout=7200 test/fault/two-routes-writing.test.ts` runs it at length;
 * NEARMOUNT_TWO_ROUTE_SEED repeats it.
 */
import { randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { makePlaces } from '../conformance/write-places.ts';
import { cannotMountHere, plainNode, runTool, startMount, type RunningMount } from '../support/mounts.ts';
import { startServer, type ServerProcess } from '../support/server.ts';
import { sha256 } from '../support/trees.ts';
import { BLOCKS, RANGE_FILES, blockBytes } from './records.mjs';

type Milliseconds = number;

const OPERATIONS = Number(process.env.NEARMOUNT_TWO_ROUTE_OPERATIONS ?? 1_000);
const SEED = Number(process.env.NEARMOUNT_TWO_ROUTE_SEED ?? randomInt(2 ** 31));
const WRITER = fileURLToPath(new URL('./two-routes-writer.mjs', import.meta.url));
/** Far above what an operation takes, on a busy machine; and what all takes beside them. */
const OPERATION_LIMIT: Milliseconds = 100;
const LIMIT: Milliseconds = 120_000 + OPERATIONS * OPERATION_LIMIT;

t.setTimeout(2 * LIMIT);

/** Granted files, shared pages, records over the Unix socket, and the network. */
const WAYS = [
  { name: 'near', source: () => 'tree' },
  { name: 'pages', source: () => 'pages' },
  { name: 'records', source: () => 'records' },
  { name: 'network', source: ({ port }: ServerProcess) => `nfs://127.0.0.1:${port}/tree` },
] as const;

interface Message {
  readonly difference?: string;
  readonly history?: readonly string[];
  readonly end?: number;
  readonly files?: Readonly<Record<string, string>>;
}

interface Stage {
  readonly tree: string;
  readonly mounts: readonly RunningMount[];
  /** Runs a writer to its end; what it said. */
  readonly write: (t: Test, ...args: readonly (string | number)[]) => Promise<Message[]>;
  readonly end: (t: Test) => Promise<void>;
}

async function setUp(t: Test): Promise<Stage> {
  const { top, tree } = makePlaces(t);
  const trusted = `${tree},squash=none,clients=127.0.0.0/8`;
  const exports = [`tree=${trusted}`, `pages=${trusted},grants=pages`, `records=${trusted},grants=none`];
  const server = await startServer(t, { directory: top, exports });
  const mounts: RunningMount[] = [];
  for (const { name, source } of WAYS) {
    const point = join(top, name);
    mounts.push(
      await startMount(t, {
        source: source(server),
        point,
        table: server.table,
        options: 'rw',
        limitMs: 2 * LIMIT,
      }),
    );
  }
  const write = async (t: Test, ...args: readonly (string | number)[]): Promise<Message[]> => {
    const [program, words] = plainNode(WRITER, ...args.map(String));
    const { status, signal, stdout, stderr } = await runTool(program, words, { limitMs: LIMIT });
    t.equal(status, 0, `a writer has ended by itself ${signal ?? ''} ${stderr}`);
    return stdout
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Message);
  };
  const end = async (t: Test): Promise<void> => {
    for (const mount of mounts) {
      t.same(await mount.stop(), { status: 0, signal: null });
      t.notMatch(mount.log(), /"level":"(error|fatal)"/, 'no fault was logged');
    }
    t.notMatch(server.log(), /"level":"(error|fatal)"/, 'no fault was logged by the server');
  };
  return { tree, mounts, write, end };
}

/** The digests of files as a mount, or the disk, has them. */
async function digests(directory: string, names: readonly string[]): Promise<Record<string, string>> {
  const { stdout } = await runTool('sha256sum', ['--', ...names], { cwd: directory });
  const lines = stdout.toString().trim().split('\n');
  return Object.fromEntries(
    lines.map((line) => [line.slice(line.indexOf(' ') + 2), line.split(' ')[0] ?? '']),
  );
}

t.test(`in turns, ${OPERATIONS} operations, seed ${SEED}`, { skip: cannotMountHere }, async (t) => {
  const { tree, mounts, write, end } = await setUp(t);
  const points = mounts.map(({ point }) => point);
  const said = await write(t, 'rounds', SEED, OPERATIONS, ...points);
  t.same(
    said.filter(({ difference }) => difference !== undefined),
    [],
    `who opens after a close sees it; NEARMOUNT_TWO_ROUTE_SEED=${SEED}`,
  );
  const { end: done, files = {} } = said.at(-1) ?? {};
  t.equal(done, OPERATIONS);
  for (const directory of [tree, ...points]) {
    t.same(await digests(directory, Object.keys(files)), files, `in the end: ${directory}`);
  }
  await end(t);
});

t.test(`at the same time, ${OPERATIONS} operations, seed ${SEED}`, { skip: cannotMountHere }, async (t) => {
  const { tree, mounts, write, end } = await setUp(t);
  for (const name of RANGE_FILES) writeFileSync(join(tree, name), '');
  const each = Math.ceil(OPERATIONS / mounts.length);
  const said = await Promise.all(
    mounts.map(({ point }, index) => write(t, 'ranges', SEED, each, index, mounts.length, point)),
  );
  t.same(
    said,
    mounts.map(() => [{ end: each }]),
    `own bytes are seen; NEARMOUNT_TWO_ROUTE_SEED=${SEED}`,
  );
  const wanted = RANGE_FILES.map((name, file) => [
    name,
    sha256(Buffer.concat(Array.from({ length: BLOCKS }, (_, block) => blockBytes(SEED, file, block)))),
  ]);
  const onDisk = RANGE_FILES.map((name) => [name, sha256(readFileSync(join(tree, name)))]);
  t.same(onDisk, wanted, 'nothing is lost on the disk');
  for (const { point } of mounts) {
    t.same(await digests(point, RANGE_FILES), Object.fromEntries(wanted), `in the end: ${point}`);
  }
  await end(t);
});
