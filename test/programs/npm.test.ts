/** npm ci on a mount: of a small package without a network; in full size, of this project itself. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { FULL_SIZE } from '../trees/size.ts';
import { compareTrees, onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const FILES = 100;
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const skip = skipWithoutPrograms({ npm: 'npm' });

onMounts(t, 'npm ci', skip, async (t, { point, disk, plain }) => {
  const env = { ...process.env, NODE_OPTIONS: '', HOME: plain, npm_config_cache: join(plain, 'cache') };
  const npm = (where: string, ...words: string[]) =>
    run(t, where, ['npm', ...words, '--offline', '--no-audit', '--no-fund'], { env });
  const dependency = join(plain, 'dependency');
  mkdirSync(join(dependency, 'lib'), { recursive: true });
  const bin = { dependency: 'lib/file-0.js' };
  writeFileSync(
    join(dependency, 'package.json'),
    JSON.stringify({ name: 'dependency', version: '1.0.0', bin }),
  );
  for (let number = 0; number < FILES; number += 1) {
    const text = `#!/usr/bin/env node\nconsole.log(${number});\n${'// more\n'.repeat(number * 10)}`;
    writeFileSync(join(dependency, `lib/file-${number}.js`), text);
  }
  const project = join(plain, 'project');
  mkdirSync(project);
  await npm(dependency, 'pack', '--pack-destination', project);
  const dependencies = { dependency: 'file:dependency-1.0.0.tgz' };
  const scripts = { test: 'dependency' };
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'project', version: '1.0.0', dependencies, scripts }),
  );
  await npm(project, 'install', '--package-lock-only');

  await run(t, plain, ['cp', '-a', 'project', point]);
  const there = join(point, 'project');
  await npm(there, 'ci');
  await npm(there, 'ci');
  t.match(await npm(there, 'test', '--silent'), /^0\n$/, 'what was installed runs');
  await npm(project, 'ci');
  const contents = [
    'sh',
    '-c',
    'cd node_modules && find . -type f ! -name .package-lock.json -exec sha256sum {} + | sort',
  ];
  t.equal(
    await run(t, there, contents),
    await run(t, project, contents),
    'installed as on a plain directory',
  );
  await compareTrees(t, there, join(disk, 'project'));
});

onMounts(
  t,
  'npm ci of this project',
  skip || (!FULL_SIZE && 'takes minutes and a registry: NEARMOUNT_TEST_FULL_SIZE=1'),
  async (t, { point }) => {
    const env = { ...process.env, NODE_OPTIONS: '' };
    await run(t, point, ['git', 'clone', '--quiet', PROJECT, 'project'], { env });
    const there = join(point, 'project');
    await run(t, there, ['npm', 'ci', '--no-audit', '--no-fund'], { env });
    t.match(await run(t, there, ['node', 'dist/cli/main.js', '--version'], { env }), /^\d+\.\d+\.\d+\n$/);
  },
);
