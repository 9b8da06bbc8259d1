import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { O_NOFOLLOW, O_PATH, O_RDONLY, R_OK, W_OK } from '../../src/system/constants.ts';
import { closeFd, faccess, openat } from '../../src/system/files.ts';
import { nameToHandleAt, openByHandleAt } from '../../src/system/handles.ts';
import {
  becomeServer,
  canSwitchIdentity,
  runAs,
  serverIdentity,
  warmThreadPool,
} from '../../src/system/identity.ts';

const skip = !canSwitchIdentity() && 'needs CAP_SETUID and CAP_SETGID';
const nobody = { uid: 65534, gid: 65534, groups: [] };

// The checkout may be closed to others; the system's directory for temporary files is not.
function openDirectory(t: { teardown: (action: () => void) => unknown }): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'nearmount-'));
  fs.chmodSync(directory, 0o755);
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

function file(directory: string, name: string, mode: number, gid = 0): string {
  const full = path.join(directory, name);
  fs.writeFileSync(full, name);
  fs.chownSync(full, 0, gid);
  fs.chmodSync(full, mode);
  return full;
}

t.before(warmThreadPool);

t.test('the kernel decides as for the other user, and as before afterwards', { skip }, async (t) => {
  const secret = file(openDirectory(t), 'secret', 0o600);
  t.throws(() => runAs(nobody, () => fs.readFileSync(secret)), { code: 'EACCES' });
  becomeServer();
  t.equal(fs.readFileSync(secret, 'latin1'), 'secret');
});

t.test('gid and supplementary groups count, and go with the identity', { skip }, async (t) => {
  const directory = openDirectory(t);
  const shared = file(directory, 'shared', 0o640, 7777);
  const read = (identity: typeof nobody) => runAs(identity, () => fs.readFileSync(shared, 'latin1'));
  t.equal(read({ uid: 1000, gid: 1000, groups: [5, 7777, 9] } as never), 'shared');
  t.throws(() => read({ uid: 1000, gid: 1000, groups: [5, 7778, 9] } as never), { code: 'EACCES' });
  t.equal(read({ uid: 1000, gid: 7777, groups: [] }), 'shared');
  t.throws(() => read({ uid: 1000, gid: 1000, groups: [] }), { code: 'EACCES' });
  t.equal(read({ uid: 0, gid: 0, groups: [] }), 'shared');
});

t.test('a new file belongs to the identity', { skip }, async (t) => {
  const directory = openDirectory(t);
  fs.chmodSync(directory, 0o777);
  const made = path.join(directory, 'made');
  runAs({ uid: 1234, gid: 2345, groups: [] }, () => fs.writeFileSync(made, ''));
  t.match(fs.statSync(made), { uid: 1234, gid: 2345 });
});

t.test('the identity ends with the turn, also when the action throws', { skip }, async (t) => {
  const secret = file(openDirectory(t), 'secret', 0o600);
  t.throws(() =>
    runAs(nobody, () => {
      throw new Error('in the middle');
    }),
  );
  await Promise.resolve();
  t.equal(fs.readFileSync(secret, 'latin1'), 'secret');
  runAs(nobody, () => 0);
  await new Promise(setImmediate);
  t.equal(fs.readFileSync(secret, 'latin1'), 'secret');
});

t.test("asynchronous file calls are the server's, whatever the identity", { skip }, async (t) => {
  const secret = file(openDirectory(t), 'secret', 0o600);
  const reads = runAs(nobody, () => Array.from({ length: 8 }, () => fs.promises.readFile(secret, 'latin1')));
  t.same(await Promise.all(reads), new Array(8).fill('secret'));
});

t.test('the other threads of the process keep their identity', { skip }, async (t) => {
  const line = (task: string) =>
    /^Uid:.*$/m.exec(fs.readFileSync(`/proc/self/task/${task}/status`, 'latin1'))?.[0];
  const tasks = fs.readdirSync('/proc/self/task');
  const before = tasks.map(line);
  // Reading /proc needs no more than the identity has: its own process.
  const during = runAs({ uid: 0, gid: 4242, groups: [1] }, () => tasks.map(line));
  t.same(during, before);
});

t.test('handles open as the server only', { skip }, async (t) => {
  const directory = openDirectory(t);
  file(directory, 'a', 0o644);
  const root = openat(-100, directory, O_RDONLY);
  t.teardown(() => closeFd(root));
  const fd = openat(root, 'a', O_PATH | O_NOFOLLOW);
  const handle = nameToHandleAt(fd);
  t.throws(() => runAs(nobody, () => openByHandleAt(root, handle, O_PATH)), { code: 'EPERM' });
  becomeServer();
  closeFd(openByHandleAt(root, handle, O_PATH));
  t.equal(
    runAs(nobody, () => faccess(fd, R_OK)),
    true,
  );
  t.equal(
    runAs(nobody, () => faccess(fd, W_OK)),
    false,
  );
  becomeServer();
  t.equal(faccess(fd, W_OK), true);
  closeFd(fd);
});

t.test('ids that cannot be are refused, and change nothing', { skip }, async (t) => {
  const secret = file(openDirectory(t), 'secret', 0o600);
  for (const id of [0xffffffff, -1, 1.5, NaN]) {
    t.throws(() => runAs({ uid: id, gid: 0, groups: [] }, () => 0), { code: 'EINVAL' });
    t.throws(() => runAs({ uid: 0, gid: id, groups: [] }, () => 0), { code: 'EINVAL' });
    t.throws(() => runAs({ uid: 0, gid: 0, groups: [id] }, () => 0), { code: 'EINVAL' });
  }
  t.equal(fs.readFileSync(secret, 'latin1'), 'secret');
  t.equal(serverIdentity().uid, process.geteuid?.());
});
