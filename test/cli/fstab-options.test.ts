import t from 'tap';
import { readFstabOptions } from '../../src/cli/fstab-options.ts';

const left = (list: string, sloppy = false): readonly string[] =>
  readFstabOptions([list], sloppy).mountOptions;

t.test('what mount(8) and fstab add stays with them', async (t) => {
  t.same(left('rw,_netdev,nofail,noauto,user=me,noexec,nosuid,nodev,relatime,async'), []);
  t.same(left('x-systemd.automount,x-systemd.idle-timeout=1min,X-mount.mkdir=0700,comment=a text'), []);
  t.same(left('ro,soft,timeo=50'), ['ro', 'soft', 'timeo=50']);
  t.same(left('ro,soft,rw'), ['soft'], 'the last of ro and rw counts');
  t.same(left('rw,soft,ro'), ['soft', 'ro']);
  t.same(left('rw=1'), ['rw=1'], 'for the mount to refuse');
  t.same(readFstabOptions(['rw', 'hard,,', 'route=near'], false).mountOptions, ['hard', 'route=near']);
});

t.test("options of nearmount mount's command line", async (t) => {
  t.match(
    readFstabOptions(['colocation=/run/c=d.db,node=n,cluster=c,log-file=/l,log-level=debug,soft'], false),
    {
      mountOptions: ['soft'],
      tableFile: '/run/c=d.db',
      node: 'n',
      cluster: 'c',
      logFile: '/l',
      logLevel: 'debug',
    },
  );
  t.throws(() => left('colocation'), { exitStatus: 2, message: /colocation=/ });
  t.throws(() => left('log-level=loud'), { exitStatus: 2, message: /"log-level=loud".*warn/ });
});

t.test('noexec, given or implied; the last word counts', async (t) => {
  for (const [list, expected] of [
    ['rw', false],
    ['noexec', true],
    ['user', true],
    ['users', true],
    ['group', false],
    ['owner', false],
    ['user,exec', false],
    ['exec,user', true],
  ] as const) {
    t.equal(readFstabOptions([list], false).noPrograms, expected, list);
  }
  t.throws(() => left('suid'), { exitStatus: 2, message: /always nosuid/ });
  t.throws(() => left('user,dev'), { exitStatus: 2, message: /always nodev/ });
});

t.test('unknown options pass, for the mount to refuse; -s drops them, but no wrong values', async (t) => {
  t.same(left('colour=red,soft'), ['colour=red', 'soft']);
  t.same(left('colour=red,soft,timeo=0', true), ['soft', 'timeo=0']);
});
