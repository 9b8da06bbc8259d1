/** Reading mount files: what they mean, and where they are wrong. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseMountOptions } from '../../src/cli/mount-options.ts';
import { readMountFile } from '../../src/cli/mount-file.ts';
import { YamlFileError } from '../../src/cli/yaml-file.ts';
import { DEFAULT_COLOCATION_FILE } from '../../src/resolver/table.ts';
import { makeDirectory } from '../support/trees.ts';

function write(t: Test, text: string): string {
  const file = join(makeDirectory(t), 'm.yaml');
  writeFileSync(file, text);
  return file;
}

t.test('everything a file can say', async (t) => {
  const file = write(
    t,
    `colocation: table/c.db
node: 00000000-0000-4000-8000-000000000000
cluster: rack1
log-file: /var/log/x.log
log-level: warn
options: { soft: true, timeo: 50, route: near }
mounts:
  - source: data
    mountpoint: /mnt/a/below
    options: { soft: false, hard: true, timeo: 70 }
    create: true
  - { source: 'nfs://host:2050/p', mountpoint: '\${TOP}/a', options: [route=network, ro] }
  - source: '\${NAME}'
    mountpoint: /mnt/pay$$
    options: noac,retrans=3
`,
  );
  const mounts = readMountFile(file, { TOP: '/mnt', NAME: 'other' });
  t.match(mounts, [
    { create: false, request: { sourceText: 'nfs://host:2050/p', mountPoint: '/mnt/a' } },
    { create: false, request: { sourceText: 'other', mountPoint: '/mnt/pay$' } },
    { create: true, request: { sourceText: 'data', mountPoint: '/mnt/a/below' } },
  ]);
  t.same(
    mounts.map(({ request }) => request.optionLists),
    [
      ['soft,timeo=50,route=network,ro'],
      ['soft,timeo=50,route=near,noac,retrans=3'],
      ['route=near,hard,timeo=70'],
    ],
    "a mount's own options win over common ones",
  );
  const { request } = mounts[0]!;
  t.equal(request.tableFile, join(file, '../table/c.db'), 'the table lies beside the file');
  t.match(request, { cluster: 'rack1', node: /^0/, logFile: '/var/log/x.log', logLevel: 'warn' });
});

t.test('ro and rw, in common and of one mount', async (t) => {
  const file = write(
    t,
    `options: { ro: true, soft: true }
mounts:
  - { source: data, mountpoint: /mnt/a }
  - { source: data, mountpoint: /mnt/b, options: { rw: true } }
  - { source: data, mountpoint: /mnt/c, options: { ro: false } }
  - { source: data, mountpoint: /mnt/d, options: { rw: false } }
`,
  );
  const readOnly = readMountFile(file, {}).map(
    ({ request }) => parseMountOptions(request.optionLists).readOnly,
  );
  t.same(readOnly, [true, false, false, true]);
});

t.test('the least a file can say', async (t) => {
  const file = write(t, 'mounts:\n  - source: data\n    mountpoint: /mnt/a\n');
  const least = readMountFile(file, {})[0]!;
  t.same(least.request.optionLists, []);
  t.equal(least.request.tableFile, DEFAULT_COLOCATION_FILE);
  const [other] = readMountFile(file, { NEARMOUNT_COLOCATION: '/run/c.db' });
  t.equal(other?.request.tableFile, '/run/c.db');
});

t.test('wrong files: line and column', async (t) => {
  const one = '  - source: data\n    mountpoint: /mnt/a\n';
  const cases: readonly (readonly [string, string, readonly RegExp[]])[] = [
    ['no YAML', 'mounts: [\n', [/^F:2:1: /]],
    ['two documents', `mounts:\n${one}---\n`, [/^F:4:1: /]],
    ['the same key twice', `mounts:\n${one}mounts: []\n`, [/^F:\d:1: .*unique/]],
    ['empty', '', [/^F:1:1: /]],
    ['no mounts', 'mounts: []\n', [/^F:1:1: mounts: lists no mounts$/]],
    ['nothing but a table', 'colocation: /c.db\n', [/^F:1:1: mounts: is missing$/]],
    ['an unknown key', `colour: red\nmounts:\n${one}`, [/^F:1:1: colour: no such key/]],
    ['an unknown key of a mount', `mounts:\n${one}    mode: 1\n`, [/^F:4:5: mounts\[0\]\.mode: no such key/]],
    ['no source', 'mounts:\n  - mountpoint: /mnt/a\n', [/^F:2:5: mounts\[0\]\.source: is missing$/]],
    [
      'a number',
      'mounts:\n  - source: 7\n    mountpoint: /a\n',
      [/^F:2:5: mounts\[0\]\.source: a text is wanted$/],
    ],
    ['no level', `log-level: loud\nmounts:\n${one}`, [/^F:1:1: log-level: .*warn.* are allowed$/]],
    ['no switch', `mounts:\n${one}    create: 1\n`, [/^F:4:5: .*create: true or false is wanted$/]],
    ['a relative place', 'mounts:\n  - source: a\n    mountpoint: mnt\n', [/^F:3:5: .*"mnt" does not begin/]],
    ['a wrong source', 'mounts:\n  - source: smb://h/p\n    mountpoint: /a\n', [/^F:2:5: .*smb/]],
    ['a wrong option', `mounts:\n${one}    options: [route=fast]\n`, [/^F:4:5: .*"route=fast".*near/]],
    ['an unknown common option', `options: [red]\nmounts:\n${one}`, [/^F:1:1: options: .*"red" is unknown/]],
    [
      'options of another kind',
      `mounts:\n${one}    options: 7\n`,
      [/^F:4:5: mounts\[0\]\.options: takes NAME/],
    ],
    [
      'the same place twice',
      `mounts:\n${one}${one.replace('/a', '/a/')}`,
      [/^F:5:5: .*mounts\[0\] is at \/mnt\/a/],
    ],
    ['no such variable', 'mounts:\n  - source: ${NO}\n    mountpoint: /a\n', [/^F:2:13: .*no variable NO$/]],
    [
      'all that is wrong',
      'mounts:\n  - source: a\n    mountpoint: a\n  - source: ""\n    colour: 1\n    mountpoint: /b\n',
      [/^F:4:5: mounts\[1\]\.source: is empty$/, /^F:5:5: mounts\[1\]\.colour/],
    ],
  ];
  for (const [what, text, expected] of cases) {
    const file = write(t, text);
    let lines: readonly string[] = ['(accepted)'];
    try {
      readMountFile(file, {});
    } catch (error) {
      if (!(error instanceof YamlFileError)) throw error;
      lines = error.lines.map((line) => line.replaceAll(file, 'F'));
    }
    t.equal(lines.length, expected.length, `${what}: ${lines.join(' | ')}`);
    expected.forEach((pattern, index) => t.match(lines[index], pattern, what));
  }
});

t.test('files that cannot be read', async (t) => {
  const top = makeDirectory(t);
  t.throws(() => readMountFile(join(top, 'none')), { message: /none cannot be read \(ENOENT\)/ });
  t.throws(() => readMountFile(top), { message: /cannot be read \(EISDIR\)/ });
  const large = join(top, 'large');
  writeFileSync(large, '#'.repeat(1024 * 1024 + 1));
  t.throws(() => readMountFile(large), { message: /larger than 1048576 bytes/ });
});
