import t from 'tap';
import { NameNotices } from '../../src/fuse/name-notices.ts';
import { fuse_notify_inval_entry_out, fuse_out_header } from '../../src/fuse/abi.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What was written, and how each write ends. */
function device() {
  const written: { parent: bigint; name: string; done: () => void }[] = [];
  const write = (message: Buffer, done: () => void): void => {
    const header = fuse_out_header.decode(message);
    if (header.len !== message.length) throw new Error('another length than the message has');
    const body = message.subarray(fuse_out_header.sizeBytes);
    const { parent, namelen } = fuse_notify_inval_entry_out.decode(body);
    const name = body.subarray(fuse_notify_inval_entry_out.sizeBytes);
    if (name.length !== namelen + 1 || name[namelen] !== 0) throw new Error('a name without its end');
    written.push({ parent, name: name.toString('latin1', 0, namelen), done });
  };
  return { written, write };
}

void t.test('one name after the other, each once as long as it waits', async (t) => {
  const { written, write } = device();
  const notices = new NameNotices(write, () => false);
  for (const name of ['a', 'b', 'a']) notices.expire(7n, Buffer.from(name));
  t.equal(written.length, 0, 'nothing within the turn of whoever says it');
  await turn();
  t.match(written, [{ parent: 7n, name: 'a' }]);
  notices.expire(7n, Buffer.from('a'));
  await turn();
  t.equal(written.length, 1, 'the next when the kernel has taken this one');
  written[0]?.done();
  await turn();
  written[1]?.done();
  await turn();
  t.match(
    written.map(({ name }) => name),
    ['a', 'b', 'a'],
    'a name that changed while it was told is told again',
  );
});

void t.test('a directory that requests are about is waited for, and holds up no other', async (t) => {
  const { written, write } = device();
  const busy = new Set([7n]);
  const notices = new NameNotices(write, (directory) => busy.has(directory));
  notices.expire(7n, Buffer.from('a'));
  notices.expire(8n, Buffer.from('b'));
  await turn();
  t.match(written, [{ parent: 8n, name: 'b' }]);
  busy.clear();
  written[0]?.done();
  while (written.length < 2) await turn();
  t.match(written[1], { parent: 7n, name: 'a' });
});

void t.test('the end waits for the write under way, and begins none', async (t) => {
  const { written, write } = device();
  const notices = new NameNotices(write, () => false);
  notices.expire(7n, Buffer.from('a'));
  notices.expire(7n, Buffer.from('b'));
  await turn();
  let ended = false;
  const end = notices.stop().then(() => {
    ended = true;
  });
  await turn();
  t.equal(ended, false);
  t.equal(notices.isWriting, true);
  written[0]?.done();
  await end;
  notices.expire(7n, Buffer.from('c'));
  await turn();
  t.equal(written.length, 1);
  await t.resolves(notices.stop());
});
