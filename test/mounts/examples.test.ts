/** The examples in mounts/ are what they claim to be. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parseAllDocuments, parse } from 'yaml';
import { readFstabOptions } from '../../src/cli/fstab-options.ts';
import { readMountFile } from '../../src/cli/mount-file.ts';
import { parseMountOptions } from '../../src/cli/mount-options.ts';
import { parseSource } from '../../src/resolver/source.ts';
import { cannotMountHere, MAIN, runTool } from '../support/mounts.ts';
import { makeDirectory } from '../support/trees.ts';

const MOUNTS = fileURLToPath(new URL('../../mounts', import.meta.url));
const DEMO_LIMIT_MS = 120_000;

/** Why a program is not here, for tap's `skip`. */
function missing(program: string, debianPackage: string): string | false {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined
    ? false
    : `needs ${program}: install ${debianPackage}`;
}

t.test('mount files are valid', async (t) => {
  const files = ['one-host.yaml', 'storage-node.yaml', 'compute-node.yaml', 'two-containers/guest.yaml'];
  const here = readdirSync(MOUNTS).filter((name) => name.endsWith('.yaml'));
  t.same(
    here.filter((name) => !files.includes(name)),
    [],
    'all are looked at',
  );
  for (const file of files) {
    const mounts = readMountFile(join(MOUNTS, file), { SHARED: '/run/shared', GUEST: '/run/guest' });
    t.ok(mounts.length > 0, file);
  }
});

t.test('the mount file in README.md', async (t) => {
  const text = /```yaml\n([^]*?)```/.exec(readFileSync(join(MOUNTS, 'README.md'), 'utf8'))?.[1];
  const file = join(makeDirectory(t), 'readme.yaml');
  writeFileSync(file, text ?? '');
  t.match(readMountFile(file), [
    { request: { sourceText: 'data', optionLists: ['timeo=100,soft,route=near'] } },
  ]);
});

t.test('lines of fstab', async (t) => {
  const lines = readFileSync(join(MOUNTS, 'fstab'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  t.ok(lines.length > 0);
  for (const line of lines) {
    const [source = '', place, type, options = '', dump, pass] = line.split(/\s+/);
    t.same([type, dump, pass], ['nearmount', '0', '0'], line);
    t.match(place, /^\//);
    t.doesNotThrow(() => parseSource(source));
    t.doesNotThrow(() => parseMountOptions(readFstabOptions([options], false).mountOptions));
  }
});

t.test('two containers, with nothing but unshare and nsenter', { skip: cannotMountHere }, async (t) => {
  const top = makeDirectory(t);
  const result = await runTool(join(MOUNTS, 'two-containers/demo.sh'), [process.execPath, MAIN], {
    limitMs: DEMO_LIMIT_MS,
    env: { ...process.env, NODE_OPTIONS: '', TMPDIR: top },
  });
  t.equal(result.status, 0, result.stderr);
  t.equal(result.stderr, '');
  const text = result.stdout.toString();
  for (const guest of ['a', 'b']) {
    t.match(text, new RegExp(`^guest ${guest}: +route +near, level grants, at /shared/server.sock`, 'm'));
    t.match(
      text,
      new RegExp(
        `^guest ${guest}: +open files .*opened so far [1-9]\\d* passthrough, (0 mapped, )?0 wire`,
        'm',
      ),
    );
  }
  t.match(text, /both guests read the same 8388608 bytes, and wrote them to files of their own\n$/);
  t.same(readdirSync(top), [], 'nothing is left');
});

t.test('units', { skip: missing('systemd-analyze', 'systemd') }, async (t) => {
  const top = makeDirectory(t);
  // The program need not be installed here to look at the units.
  const program = join(top, 'nearmount');
  writeFileSync(program, '#!/bin/sh\n', { mode: 0o755 });
  const units = readdirSync(join(MOUNTS, 'systemd'));
  mkdirSync(join(top, 'units'));
  for (const unit of units) {
    const text = readFileSync(join(MOUNTS, 'systemd', unit), 'utf8');
    writeFileSync(join(top, 'units', unit), text.replaceAll('/usr/bin/nearmount', program));
  }
  const names = units.map((unit) => unit.replace('@.', '@mnt-data.'));
  writeFileSync(
    join(top, 'units/nearmount@mnt-data.service'),
    readFileSync(join(top, 'units/nearmount@.service')),
  );
  const result = await runTool('systemd-analyze', [
    'verify',
    '--man=no',
    ...names.map((name) => join(top, 'units', name)),
  ]);
  t.equal(result.status, 0, result.stderr);
  const ours = result.stderr.split('\n').filter((line) => /nearmount|mnt-data/.test(line));
  t.same(ours, [], 'no remarks on ours');
});

interface ComposeService {
  readonly volumes: readonly { source: string; target: string; read_only?: boolean }[];
  readonly command: readonly string[];
}

t.test(
  'compose and Kubernetes: guests get the shared directory read-only, at the path the server uses',
  async (t) => {
    const shared = '/run/nearmount/server';
    const compose = parse(readFileSync(join(MOUNTS, 'docker/compose.yaml'), 'utf8'), { merge: true }) as {
      services: Readonly<Record<string, ComposeService>>;
    };
    const volumeOf = (service: string) =>
      compose.services[service]?.volumes.find(({ target }) => target === shared);
    t.ok(compose.services.server?.command.includes(`--socket=${shared}/server.sock`));
    t.match(volumeOf('server'), { source: shared });
    t.not(volumeOf('server')?.read_only, true);
    for (const guest of ['guest-a', 'guest-b']) t.match(volumeOf(guest), { source: shared, read_only: true });

    const load = (name: string): unknown => {
      const [document, ...more] = parseAllDocuments(readFileSync(join(MOUNTS, 'kubernetes', name), 'utf8'));
      t.same(more, []);
      return (document as { toJS: () => unknown }).toJS();
    };
    t.match(load('server.yaml'), {
      kind: 'DaemonSet',
      spec: { template: { spec: { volumes: [{}, { name: 'shared', hostPath: { path: shared } }, {}] } } },
    });
    t.match(load('guest.yaml'), {
      kind: 'Pod',
      spec: {
        initContainers: [
          {
            securityContext: { privileged: true },
            volumeMounts: [{ mountPath: shared, readOnly: true }, { mountPropagation: 'Bidirectional' }],
          },
        ],
        containers: [{ volumeMounts: [{ mountPropagation: 'HostToContainer' }] }],
        volumes: [{ hostPath: { path: shared } }, { emptyDir: {} }],
      },
    });
  },
);
