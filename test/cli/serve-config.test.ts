/** The YAML of `serve --config`: what it can say, and how it is told what is wrong. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readServeConfig } from '../../src/cli/serve-config.ts';
import { serveSettings, settingsForNextStart } from '../../src/cli/serve-settings.ts';
import { makeDirectory } from '../support/trees.ts';

const WHOLE = `
name: storage-1
state: state            # relative to this file
socket: /run/nearmount/s.sock
colocation: /var/lib/nearmount-colocation/table.db
listen: [0.0.0.0:2049, "[::]:2049"]
backplane:
  - 10.1.0.1:2049
node: a-node
cluster: a-cluster
rpcbind: true
exports:
  - name: data
    directory: /srv/data
    ro: true
    squash: all
    anonuid: 1000
    anongid: 1001
    clients: [10.0.0.0/8, fd00::/8]
    secure: true
    grants: none
  - { name: more, directory: more, clients: 127.0.0.1 }
`;

function write(t: Parameters<typeof makeDirectory>[0], text: string | Uint8Array): string {
  const file = join(makeDirectory(t), 'serve.yaml');
  writeFileSync(file, text);
  return file;
}

t.test('everything a command line can say', async (t) => {
  const file = write(t, WHOLE);
  const directory = join(file, '..');
  t.same(readServeConfig(file), {
    name: 'storage-1',
    state: join(directory, 'state'),
    socket: '/run/nearmount/s.sock',
    colocation: '/var/lib/nearmount-colocation/table.db',
    listen: [
      { kind: 'tcp', host: '0.0.0.0', port: 2049 },
      { kind: 'tcp', host: '::', port: 2049 },
    ],
    backplane: [{ kind: 'tcp', host: '10.1.0.1', port: 2049 }],
    node: 'a-node',
    cluster: 'a-cluster',
    rpcbind: true,
    exports: [
      {
        name: 'data',
        directory: '/srv/data',
        readOnly: true,
        squash: 'all',
        anonymousUid: 1000,
        anonymousGid: 1001,
        clients: ['10.0.0.0/8', 'fd00::/8'],
        secure: true,
        grants: 'none',
      },
      {
        name: 'more',
        directory: join(directory, 'more'),
        readOnly: false,
        squash: 'root',
        anonymousUid: 65534,
        anonymousGid: 65534,
        clients: ['127.0.0.1'],
        secure: false,
        grants: 'descriptors',
      },
    ],
  });
  t.same(readServeConfig(write(t, '# nothing yet\n')), {}, 'an empty file says nothing');
});

t.test('what is wrong is named with its line and column', async (t) => {
  const wrong: readonly (readonly [text: string, place: string, message: RegExp])[] = [
    ['name: a\ncolour: red\n', '2:1', /colour: no such key is known: name, state, .*exports are allowed/],
    ['name: [a]\n', '1:1', /name: a text is wanted$/],
    ['rpcbind: 111\n', '1:1', /rpcbind: true, false or the path/],
    ['listen: 0.0.0.0:2049\n', '1:1', /listen: a list is wanted$/],
    ['listen:\n  - 0.0.0.0:2049\n  - 0.0.0.0:99999\n', '3:5', /listen\[1\]: "99999" is not a port/],
    ['listen: ["[::]"]\n', '1:10', /has no port/],
    ['exports:\n  - name: a\n', '2:5', /exports\[0\]\.directory: is missing$/],
    ['exports:\n  - name: a b\n    directory: /d\n', '2:5', /name 'a b'.*allowed/],
    ['exports:\n  - name: a\n    directory: ""\n', '3:5', /a directory is wanted/],
    ['exports:\n  - name: a\n    directory: /d\n    squash: some\n', '4:5', /root\|all\|none is allowed/],
    ['exports:\n  - name: a\n    directory: /d\n    colour: red\n', '4:5', /'colour=red': ro, rw, squash=/],
    ['exports:\n  - name: a\n    directory: /d\n    ro: false\n', '4:5', /left out/],
    ['exports:\n  - { name: a, directory: /d, ro: true, rw: true }\n', '2:41', /exclude each other/],
    ['exports:\n  - name: a\n    directory: /d\n    ro: 1\n', '4:5', /ro takes no value/],
    ['exports:\n  - name: a\n    directory: /d\n    anonuid: -2\n', '4:5', /anonuid=0 to/],
    ['exports:\n  - name: a\n    directory: /d\n    clients: [10.0.0.0/99]\n', '4:5', /'10\.0\.0\.0\/99'/],
    [
      'exports:\n  - { name: a, directory: /d }\n  - { name: a, directory: /e }\n',
      '3:7',
      /'a' is given twice/,
    ],
    ['name: ${NOBODY_HAS_THIS}\n', '1:7', /no variable NOBODY_HAS_THIS/],
    ['colour: red\nsize: big\n', '1:1', /\(and 1 more\)$/],
    ['name: a\nname: b\n', '2:1', /unique/],
    ['name: "a\n', '2:1', /quote|end/i],
    ['exports:\n\t- a\n', '2:1', /tab/i],
    ['- a\n', '1:1', /: pairs of NAME: VALUE are wanted$/],
    ['name: *nobody\n', '1:1', /nobody/],
  ];
  for (const [text, place, message] of wrong) {
    const file = write(t, text);
    const error = t.throws(() => readServeConfig(file), { name: 'CliError', exitStatus: 2, message }, text);
    t.match((error as Error).message, `${file}:${place}: `, text);
    t.notMatch((error as Error).message, /\n/, 'one line');
  }
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
  for (let index = 1; index < 9; index += 1) {
    const last = String.fromCharCode(96 + index);
    const next = String.fromCharCode(97 + index);
    bomb.push(`${next}: &${next} [${Array.from({ length: 9 }, () => `*${last}`).join(',')}]`);
  }
  t.throws(() => readServeConfig(write(t, bomb.join('\n'))), { name: 'CliError', message: /alias/i });
  t.throws(() => readServeConfig(write(t, Buffer.from([0x6e, 0xff]))), { message: /not UTF-8/ });
  t.throws(() => readServeConfig(write(t, ' '.repeat(1024 * 1024 + 1))), { message: /larger than 1048576/ });
  t.throws(() => readServeConfig('/nowhere/serve.yaml'), { message: /ENOENT/ });
  const directory = makeDirectory(t);
  mkdirSync(join(directory, 'd'));
  t.throws(() => readServeConfig(join(directory, 'd')), { message: /EISDIR/ });
});

t.test('the command line counts first', async (t) => {
  const config = readServeConfig(write(t, WHOLE));
  const settings = serveSettings(
    {
      name: 'mine',
      state: '/state',
      listen: ['127.0.0.1:1'],
      socket: '/s',
      colocation: '/t',
      export: ['more=/other', 'third=/third'],
    },
    config,
    { NEARMOUNT_COLOCATION: '/environment' },
  );
  t.match(settings, {
    name: 'mine',
    state: '/state',
    listen: [{ host: '127.0.0.1', port: 1 }],
    backplane: [{ host: '10.1.0.1' }],
    socket: { path: '/s' },
    colocation: '/t',
    cluster: 'a-cluster',
    rpcbind: '/run/rpcbind.sock',
  });
  t.same(
    settings.exports.map(({ name, directory }) => [name, directory]),
    [
      ['data', '/srv/data'],
      ['more', '/other'],
      ['third', '/third'],
    ],
  );
  const environment = { NEARMOUNT_COLOCATION: '/environment' };
  t.equal(serveSettings({ export: ['a=/a'], socket: '/s' }, {}, environment).colocation, '/environment');
  t.match(serveSettings({}, config, environment), { colocation: '/var/lib/nearmount-colocation/table.db' });
  t.equal(serveSettings({ rpcbind: '/r' }, config).rpcbind, '/r');
  t.equal(serveSettings({ export: ['a=/a'], socket: '/s' }, {}).rpcbind, undefined);
  const other = { ...settings, name: 'other', exports: [], socket: undefined };
  t.same(settingsForNextStart(settings, settings), []);
  t.same(settingsForNextStart(settings, other), ['name', 'socket'], 'exports need no restart');
});
