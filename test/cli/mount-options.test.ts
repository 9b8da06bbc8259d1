/** What `-o` takes of nfs(5) and mount(8) without an effect, and what of it would be a false promise. */
import t from 'tap';
import { MOUNT_OPTIONS_HELP, parseMountOptions } from '../../src/cli/mount-options.ts';

t.test('the version of NFS is 3', async (t) => {
  t.doesNotThrow(() => parseMountOptions(['vers=3,nfsvers=3']));
  for (const option of ['vers=4.2', 'vers=4', 'vers', 'nfsvers=4', 'nfsvers=']) {
    const message = new RegExp(`"${option}": NFS version 3 is spoken, (nfs)?vers=3 is allowed$`);
    t.throws(() => parseMountOptions([option]), { exitStatus: 2, message }, option);
  }
  t.match(MOUNT_OPTIONS_HELP, /^ {2}vers=3 \| nfsvers=3 /m);
});

t.test('mounts are read-write unless ro is the last word', async (t) => {
  for (const [list, readOnly] of [
    ['', false],
    ['rw', false],
    ['ro', true],
    ['rw,ro', true],
    ['ro,soft,rw', false],
  ] as const) {
    t.equal(parseMountOptions([list]).readOnly, readOnly, list);
  }
  t.equal(parseMountOptions(['rw', 'ro']).readOnly, true, 'over more than one -o');
  t.match(MOUNT_OPTIONS_HELP, /^ {2}ro \| rw .*default: rw/m);
});

t.test('flags of mount(8) take no value', async (t) => {
  for (const flag of ['ro', 'rw', 'nosuid', 'nodev', '_netdev', 'defaults', 'auto', 'noauto', 'nofail']) {
    t.doesNotThrow(() => parseMountOptions([flag]), flag);
    const message = `mount option "${flag}=x" takes no value`;
    t.throws(() => parseMountOptions([`${flag}=x`]), { exitStatus: 2, message }, flag);
  }
});

t.test('wsize has the range of rsize, and is in the help', async (t) => {
  t.equal(parseMountOptions([]).wsizeBytes, 1_048_576);
  t.equal(parseMountOptions(['wsize=65536']).wsizeBytes, 65_536);
  t.equal(parseMountOptions(['wsize=9000']).wsizeBytes, 8_192, 'in steps of 4096');
  t.throws(() => parseMountOptions(['wsize=1']), { exitStatus: 2, message: /"wsize=1".*4096/ });
  t.match(MOUNT_OPTIONS_HELP, /^ {2}wsize=N .*4096 to 1048576/m);
});
