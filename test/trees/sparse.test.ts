/** Sparse files and files of more than 4 GiB: equal content on every route, and holes that stay holes in copies. */
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMountHere, runTool, startMount, startWorker } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { MOUNT_LIMIT_MS, ROUTES, sized } from './size.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const HUGE_BYTES = 6 * GIB;
/** By wire every hole is read, so a small one is copied where time counts. */
const COPIED_BYTES = sized(64 * MIB, HUGE_BYTES);
const LIMIT_MS = 600_000;
/** What a copy may use on the disk: its few pieces of data, far below its size. */
const COPY_USED_MAX = MIB;

function makeSparse(path: string, size: number, pieces: readonly (readonly [number, string])[]): void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  for (const [offset, text] of pieces) writeSync(fd, text, offset);
  closeSync(fd);
}

t.test('sparse files', { skip: cannotMountHere, timeout: 1_800_000 }, async (t) => {
  const top = makeDirectory(t);
  const tree = join(top, 'tree');
  mkdirSync(tree);
  const pieces = [
    [0, 'at the start'],
    [4 * GIB - 5, 'over four GiB'],
    [5 * GIB + 1, 'behind five GiB'],
    [HUGE_BYTES - 7, 'the end'],
  ] as const;
  makeSparse(join(tree, 'huge'), HUGE_BYTES, pieces);
  makeSparse(join(tree, 'copied'), COPIED_BYTES, [
    [0, 'at the start'],
    [COPIED_BYTES / 2 + 5, 'y'.repeat(70_000)],
    [COPIED_BYTES - 7, 'the end'],
  ]);
  makeSparse(join(tree, 'hole'), 8 * MIB, []);
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
    const worker = await startWorker(t, mount.point);
    for (const [offset, text] of pieces) {
      t.same(
        await worker.ask({ op: 'peek', name: 'huge', offset, bytes: text.length }),
        { value: { text, size: HUGE_BYTES } },
        `${route}: at ${offset}`,
      );
    }
    t.same(
      await worker.ask({ op: 'peek', name: 'huge', offset: 4 * GIB + 100, bytes: 3 }),
      { value: { text: '\0\0\0', size: HUGE_BYTES } },
      `${route}: a hole reads as zeros`,
    );
    t.equal(
      (await runTool('stat', ['-c', '%b', join(mount.point, 'huge')])).stdout.toString().trim(),
      `${statSync(join(tree, 'huge')).blocks}`,
      `${route}: what it uses is told`,
    );

    const out = join(top, `out-${route}`);
    mkdirSync(out);
    const names = route === 'near' ? ['copied', 'hole', 'huge'] : ['copied', 'hole'];
    const copies: readonly (readonly [string, string])[] = [
      ['cp', 'cp -- "$1/$2" "$3/cp"'],
      ['cp --sparse=always', 'cp --sparse=always -- "$1/$2" "$3/cp"'],
      ['tar -S', 'tar -C "$1" -Scf - -- "$2" | tar -C "$3" -xf - && mv "$3/$2" "$3/cp"'],
    ];
    for (const name of names) {
      for (const [program, line] of copies) {
        const made = await runTool('sh', ['-c', line, 'sh', mount.point, name, out], { limitMs: LIMIT_MS });
        t.equal(made.status, 0, `${route}: ${program} ${name} ${made.stderr}`);
        const copy = statSync(join(out, 'cp'));
        t.equal(copy.size, statSync(join(tree, name)).size);
        t.ok(copy.blocks * 512 < COPY_USED_MAX, `${route}: ${program} keeps the holes of ${name}`);
        if (name === 'huge') continue;
        const same = await runTool('cmp', [join(tree, name), join(out, 'cp')], { limitMs: LIMIT_MS });
        t.equal(same.status, 0, `${route}: ${program} ${name}: ${same.stdout.toString()}${same.stderr}`);
      }
    }
    t.notMatch(mount.log(), /"level":"(error|fatal)"/);
    await mount.stop();
  }
});
