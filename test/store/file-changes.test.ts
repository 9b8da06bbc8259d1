import { appendFileSync, closeSync, openSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { FileChanges } from '../../src/store/file-changes.ts';
import { makeDirectory } from '../support/trees.ts';

t.test('changes are told to everybody who watches, until they stop', async (t) => {
  const path = join(makeDirectory(t), 'file');
  writeFileSync(path, 'x');
  const changes = new FileChanges();
  t.teardown(() => changes.close());
  const told = { a: 0, b: 0 };
  const fd = openSync(path, 'r');
  const a = changes.watch('key', fd, () => (told.a += 1));
  const b = changes.watch('key', fd, () => (told.b += 1));
  closeSync(fd);
  t.equal(changes.size, 1);
  const until = async (isSo: () => boolean): Promise<boolean> => {
    for (let tries = 0; !isSo() && tries < 500; tries += 1) await delay(10);
    return isSo();
  };
  appendFileSync(path, 'y');
  t.ok(await until(() => told.a > 0 && told.b > 0), 'by inotify');
  a?.stop();
  a?.stop();
  const before = { ...told };
  const { ctimeNs, size } = statSync(path, { bigint: true });
  changes.saw(() => 'key', { ctimeNs, size });
  t.same(told, { a: before.a, b: before.b + 1 }, 'another version than when the watch began');
  changes.saw(() => 'key', { ctimeNs, size });
  t.same(told, { a: before.a, b: before.b + 1 }, 'the same version again is no change');
  changes.saw(() => 'key', { ctimeNs: ctimeNs + 1n, size });
  t.same(told, { a: before.a, b: before.b + 2 }, 'another one is');
  b?.stop();
  t.equal(changes.size, 0);
  changes.saw(() => 'key', { ctimeNs: 3n, size: 1n });
});
