import t, { type Test } from 'tap';
import { ServerLink } from '../../src/client/link.ts';
import { DirectoryStream, type DirectoryPage } from '../../src/gateway/directory-stream.ts';
import { NFSSTAT3 } from '../../src/nfs3/status.ts';
import type { READDIRPLUS3args } from '../../src/nfs3/nfs.ts';
import { ATTRIBUTES, caller, scriptedSession, type Script } from '../client/scripted-server.ts';

const VERIFIER = Buffer.from('verifier');
const NAMES = Array.from({ length: 25 }, (_, index) => `name-${index}`);
const PAGE = 10;

/** The entries after a cookie; cookies are sparse, as those of real file systems. */
function page(cookie: bigint) {
  const from = Number(cookie) / 1000;
  const entries = NAMES.slice(from, from + PAGE).map((name, index) => ({
    fileid: BigInt(from + index + 100),
    name: Buffer.from(name),
    cookie: BigInt((from + index + 1) * 1000),
  }));
  return { entries, eof: from + PAGE >= NAMES.length };
}

const plus = (seen: READDIRPLUS3args[]): Script => ({
  READDIRPLUS: (args) => {
    seen.push({ ...args, cookieverf: Buffer.from(args.cookieverf) });
    const { entries, eof } = page(args.cookie);
    return {
      status: 0,
      dir_attributes: ATTRIBUTES,
      cookieverf: VERIFIER,
      entries: entries.map((entry) => ({
        ...entry,
        name_attributes: ATTRIBUTES,
        name_handle: { data: entry.name },
      })),
      eof,
    };
  },
});

function open(t: Test, script: Script) {
  const scripted = scriptedSession(script);
  const link = new ServerLink(
    scripted.session,
    () => Promise.reject(new Error('no other')),
    { hard: true, timeoutMs: 60_000, retransmissions: 2 },
    { onLost: () => undefined, onRestored: () => undefined, onTryFailed: () => undefined },
  );
  t.teardown(() => link.close());
  return { stream: new DirectoryStream(link, Buffer.from('dir')), calls: scripted.calls };
}

/** Reads from `cookie` on, taking `take` entries of each answer as a full buffer would. */
async function names(stream: DirectoryStream, take = Infinity, cookie = 0n): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const answer = await stream.after(cookie, caller(), () => undefined);
    if (typeof answer === 'number') throw new Error(`status ${answer}`);
    const taken = answer.entries.slice(0, take);
    found.push(...taken.map(({ name }) => Buffer.from(name).toString()));
    const last = taken.at(-1);
    if (last === undefined) return found;
    cookie = last.cookie;
  }
}

t.test('all entries once, however many are taken at a time', async (t) => {
  for (const take of [1, 3, 10, Infinity]) {
    const seen: READDIRPLUS3args[] = [];
    const { stream } = open(t, plus(seen));
    t.same(await names(stream, take), NAMES, `${take}`);
    t.same(
      seen.map(({ cookie }) => cookie),
      [0n, 10_000n, 20_000n],
      'no page is fetched twice',
    );
    t.same(Buffer.from(seen[0]!.cookieverf), Buffer.alloc(8));
    t.same(Buffer.from(seen[1]!.cookieverf), VERIFIER, 'the verifier comes back');
  }
});

t.test('a page that leads in a circle is refused', async (t) => {
  const ELOOP = 40;
  for (const cookies of [
    [5n, 6n, 5n],
    [5n, 0n, 6n],
  ]) {
    const { stream } = open(t, {
      READDIRPLUS: () => ({
        status: 0,
        dir_attributes: ATTRIBUTES,
        cookieverf: VERIFIER,
        entries: cookies.map((cookie, index) => ({
          fileid: BigInt(index + 1),
          name: Buffer.from(`name ${index}`),
          cookie,
          name_attributes: null,
          name_handle: null,
        })),
        eof: true,
      }),
    });
    await t.rejects(names(stream), { message: `errno ${ELOOP}` }, cookies.join());
  }
});

t.test('a rewound directory is read again', async (t) => {
  const seen: READDIRPLUS3args[] = [];
  const { stream } = open(t, plus(seen));
  await names(stream);
  t.same(await names(stream), NAMES);
  t.equal(seen.length, 6, 'afresh');
  t.same(Buffer.from(seen[3]!.cookieverf), Buffer.alloc(8), 'and without the old verifier');
});

t.test('a cookie of an earlier page is asked for', async (t) => {
  const seen: READDIRPLUS3args[] = [];
  const { stream } = open(t, plus(seen));
  await names(stream);
  t.same(await names(stream, Infinity, 5_000n), NAMES.slice(5));
});

t.test('each fetched page is shown once', async (t) => {
  const { stream } = open(t, plus([]));
  const shown: DirectoryPage[] = [];
  const first = await stream.after(0n, caller(), (each) => shown.push(each));
  t.type(first, 'object');
  await stream.after(3_000n, caller(), (each) => shown.push(each));
  t.match(shown, [{ after: 0n, directoryAttributes: { fileid: 42n } }]);
  t.equal(shown.length, 1);
});

t.test('a server without READDIRPLUS is asked by READDIR, and only once too much', async (t) => {
  const { stream, calls } = open(t, {
    READDIRPLUS: () => ({ status: NFSSTAT3.NFS3ERR_NOTSUPP, dir_attributes: null }),
    READDIR: ({ cookie }) => ({
      status: 0,
      dir_attributes: ATTRIBUTES,
      cookieverf: VERIFIER,
      ...page(cookie),
    }),
  });
  t.same(await names(stream), NAMES);
  t.same(
    calls.map(({ procedure }) => procedure),
    ['READDIRPLUS', 'READDIR', 'READDIR', 'READDIR'],
  );
});

t.test('errors are handed on', async (t) => {
  const { stream } = open(t, {
    READDIRPLUS: () => ({ status: NFSSTAT3.NFS3ERR_BAD_COOKIE, dir_attributes: null }),
  });
  t.equal(await stream.after(0n, caller(), () => undefined), NFSSTAT3.NFS3ERR_BAD_COOKIE);
});
