/**
 * What a large tree costs: the kernel keeps every inode it was told of, and the gateway must know each of them. And what
 * many opens leave behind: nothing.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, runTool, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { MOUNT_LIMIT_MS, ROUTES, sized } from './size.ts';

const FILES = sized(5_000, 200_000);
const FILES_A_DIRECTORY = 500;
const OPENS = sized(1_000, 100_000);
const MIB = 1024;
/** Peaks of resident memory in KiB, for 200,000 files; smaller trees must stay within them, too. */
const GATEWAY_PEAK_MAX = 300 * MIB;
const SERVER_PEAK_MAX = 200 * MIB;
const LIMIT_MS = 240_000;

function peakKib(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function makeFiles(tree: string): void {
  for (let made = 0; made < FILES; made += FILES_A_DIRECTORY) {
    const directory = join(tree, `directory-${made / FILES_A_DIRECTORY}`);
    mkdirSync(directory);
    for (let index = 0; index < FILES_A_DIRECTORY; index += 1) {
      writeFileSync(join(directory, `a-file-of-some-name-${made + index}`), '');
    }
  }
}

const options = { skip: cannotMountHere, timeout: 900_000 };

t.test(`find and ls over ${FILES} files`, options, async (t) => {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(tree);
  makeFiles(tree);
  for (const [route, how] of ROUTES) {
    const directory = join(top, `server-${route}`);
    mkdirSync(directory);
    const server = await startServer(t, {
      directory,
      exports: [`tree=${tree},squash=none,clients=127.0.0.1`],
    });
    const mount = await startMount(t, {
      source: 'tree',
      point: join(top, route),
      table: server.table,
      options: how,
      limitMs: MOUNT_LIMIT_MS,
    });
    const counts = async (line: string): Promise<void> => {
      const how = { cwd: mount.point, limitMs: LIMIT_MS };
      const { status, stdout, stderr } = await runTool('sh', ['-c', line], how);
      t.same(
        [status, stdout.toString().trim()],
        [0, `${FILES}`],
        `${route}: ${line} ${stderr.slice(0, 200)}`,
      );
    };
    await counts('find . -type f | wc -l');
    await counts('find . -type f -size -1 | wc -l');
    const gateway = peakKib(mount.pid);
    const serving = peakKib(server.pid);
    t.comment(`${route}: peak of the gateway ${gateway} KiB, of the server ${serving} KiB`);
    t.ok(gateway > 0 && gateway < GATEWAY_PEAK_MAX, `${route}: gateway ${gateway} KiB`);
    t.ok(serving > 0 && serving < SERVER_PEAK_MAX, `${route}: server ${serving} KiB`);
    await counts('ls -lR . | grep -c ^-');
    t.comment(`${route}: after ls -lR ${peakKib(mount.pid)} KiB, ${peakKib(server.pid)} KiB`);
    await mount.stop();
    await server.stop();
  }
});

/** Opens, reads and closes a few files many times over. */
const CYCLES = `
const fs = require('node:fs');
for (let index = 0; index < Number(process.argv[1]); index += 1) {
  const fd = fs.openSync('file-' + (index % 10));
  fs.readSync(fd, Buffer.alloc(10));
  fs.closeSync(fd);
}`;

async function settled(t: Test, what: string, now: () => number, wanted: number): Promise<void> {
  // Grants and descriptors that were used lately are kept for some seconds.
  const end = performance.now() + 30_000;
  while (now() > wanted && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 200));
  t.ok(now() <= wanted, `${what}: ${now()} descriptors, ${wanted} before`);
}

t.test(`${OPENS} opens and closes`, options, async (t) => {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(tree);
  for (let index = 0; index < 10; index += 1) writeFileSync(join(tree, `file-${index}`), 'some text\n');
  const server = await startServer(t, {
    directory: top,
    exports: [`tree=${tree},squash=none,clients=127.0.0.1`],
  });
  for (const [route, how] of ROUTES) {
    const mount = await startMount(t, {
      source: 'tree',
      point: join(top, route),
      table: server.table,
      options: how,
      limitMs: MOUNT_LIMIT_MS,
    });
    const descriptors = (): number => readdirSync(`/proc/${mount.pid}/fd`).length;
    // From before any file was open; the server has its connections by now.
    const before = { gateway: descriptors(), server: server.descriptors() };
    const { status, stderr } = await runTool(process.execPath, ['-e', CYCLES, `${OPENS}`], {
      cwd: mount.point,
      limitMs: LIMIT_MS,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    t.equal(status, 0, stderr);
    await settled(t, `${route}: gateway`, descriptors, before.gateway);
    await settled(t, `${route}: server`, () => server.descriptors(), before.server);
    await mount.stop();
  }
});
