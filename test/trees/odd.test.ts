/**
 * Odd trees: a thousand levels, paths as long as the kernel takes them, names of any bytes, links to anywhere. The reference
 * is the directory itself: what find, cat and readlink say of the mount is what they say of it.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cannotMountHere, runTool, startMount } from '../support/mounts.ts';
import { startServer } from '../support/server.ts';
import { makeDirectory } from '../support/trees.ts';
import { FILE_SYSTEMS } from './file-systems.ts';
import { FULL_SIZE, MOUNT_LIMIT_MS, routesTo } from './size.ts';

const LEVELS = 1_000;
/** Where the thousand levels are not tried with the other tests, which would take them too long. */
const FEW_LEVELS = 100;
const NAME_MAX = 255;
const PATH_MAX = 4096;

/** Every byte but NUL and '/', in names of 255 bytes and less; and names that programs stumble over. */
function oddNames(): Buffer[] {
  const all = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 0 && byte !== 0x2f);
  const names = all.map((byte) => Buffer.from([0x62, byte]));
  names.push(Buffer.from(all), Buffer.from(all.toReversed()).fill(0xff, 0, 100));
  names.push(Buffer.alloc(NAME_MAX, 0xff), Buffer.alloc(NAME_MAX, '\n'), Buffer.alloc(NAME_MAX, 'é'));
  for (const name of ['-', '--', '-rf', '-n', '...', '.. ', ' ', '\\', '*', '~', '%s', '\r\n', 'a\nb']) {
    names.push(Buffer.from(name));
  }
  return names;
}

function makeOddTree(tree: string, levels: number): void {
  const names = join(tree, 'names');
  mkdirSync(names);
  oddNames().forEach((name, index) => {
    writeFileSync(Buffer.concat([Buffer.from(`${names}/`), name]), `content ${index}\n`);
  });
  const links = join(tree, 'links');
  mkdirSync(links);
  const targets: (string | Buffer)[] = [
    '/',
    '..',
    '../../../../../../etc/hostname',
    '/proc/self/exe',
    'nowhere',
    ' ',
    '\n',
    '//names//',
    '../names/./../names',
    // As much as every file system here takes.
    'x'.repeat(1_000),
    Buffer.from([0xff, 0xfe, 0x0a]),
  ];
  targets.forEach((target, index) => symlinkSync(target, join(links, `link-${index}`)));
  symlinkSync('self', join(links, 'self'));
  // mkdir -p of coreutils goes level by level, so the whole path may be longer than PATH_MAX.
  execFileSync('mkdir', ['-p', 'deep/'.repeat(levels)], { cwd: tree });
}

/** To the bottom by relative steps: the path from the root is longer than any system call takes. */
const DOWN = `
process.chdir(process.argv[1]);
const fs = require('node:fs');
let levels = 0;
for (; fs.existsSync('deep'); levels += 1) process.chdir('deep');
const up = fs.statSync('..').ino === fs.statSync('.').ino;
console.log(JSON.stringify({ levels, up, names: fs.readdirSync('.') }));`;

const PROGRAMS = [
  'find names links -printf "%P|%y|%s|%l\\0" | LC_ALL=C sort -z | sha256sum',
  'find names -type f -print0 | LC_ALL=C sort -z | xargs -0 cat -- | sha256sum',
  'cd names && cat -- -rf ./-n -- "a\nb" && cd .. && cat ./links/self 2>/dev/null; ls -b names | sha256sum',
  'find . -depth -name deep | wc -l',
  'tar -cf - names links --sort=name | sha256sum',
];

/** An absolute path of PATH_MAX - 1 bytes is looked at, one byte more is refused. */
async function longPath(t: Test, point: string, levels: number, route: string): Promise<void> {
  const room = Math.floor((PATH_MAX - 1 - point.length - 1) / 'deep/'.length);
  const down = `${point}/${'deep/'.repeat(Math.min(room, levels))}`;
  for (const [length, status] of [
    [PATH_MAX - 1, 0],
    [PATH_MAX, 1],
  ] as const) {
    // A slash more leads nowhere else.
    const stat = await runTool('stat', ['-c', '%F', down.padEnd(length, '/')]);
    t.equal(stat.status, status, `${route}: a path of ${length} bytes ${stat.stderr.slice(-60)}`);
  }
}

/** A handle of the table stands for a path, which can be no longer than the kernel takes it. */
function levelsOn(name: string, handles: 'kernel' | 'table'): number {
  return handles === 'kernel' && (FULL_SIZE || name === 'tmpfs') ? LEVELS : FEW_LEVELS;
}

for (const { name, make, handles } of FILE_SYSTEMS) {
  t.test(`odd trees on ${name}`, { skip: cannotMountHere, timeout: 300_000 }, async (t) => {
    const made = make(t);
    if (typeof made === 'string') {
      t.pass(made, { skip: made });
      return;
    }
    const { directory } = made;
    const levels = levelsOn(name, handles);
    makeOddTree(directory, levels);
    const top = makeDirectory(t);
    const server = await startServer(t, {
      directory: top,
      exports: [`tree=${directory},squash=none,clients=127.0.0.1`],
    });
    t.match(server.log(), new RegExp(`"handles":"${handles}"`), 'handles as this file system has them');
    const run = (line: string, cwd: string) => runTool('sh', ['-c', line], { cwd, limitMs: 60_000 });
    const down = async (at: string): Promise<unknown> => {
      const env = { ...process.env, NODE_OPTIONS: '' };
      const { stdout, stderr } = await runTool(process.execPath, ['-e', DOWN, at], { env, limitMs: 60_000 });
      return stdout.length > 0 ? JSON.parse(stdout.toString()) : stderr;
    };
    for (const [route, how] of routesTo(name)) {
      const mount = await startMount(t, {
        source: 'tree',
        point: join(top, route),
        table: server.table,
        options: how,
        limitMs: MOUNT_LIMIT_MS,
      });
      t.same(await down(mount.point), { levels, up: false, names: [] }, `${route}: all levels`);
      for (const line of PROGRAMS) {
        const expected = await run(line, directory);
        t.not(expected.stdout.length, 0, expected.stderr);
        const { status, stdout } = await run(line, mount.point);
        t.same(
          [status, stdout.toString()],
          [expected.status, expected.stdout.toString()],
          `${route}: ${line}`,
        );
      }
      await longPath(t, mount.point, levels, route);
      t.notMatch(mount.log(), /"level":"(error|fatal)"/);
      await mount.stop();
    }
    t.notMatch(server.log(), /"level":"(error|fatal)"/);
  });
}
