/**
 * The life of page handles (granted, mapped, shared, recalled, dead) against a model: random steps of several guests
 * and a server, either of which may die at any moment, over real segments. NEARMOUNT_MODEL_STEPS and
 * NEARMOUNT_MODEL_SEED choose how many steps, and which.
 */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { GuestSegments, type SharedPages } from '../../src/fgdp/guest-segments.ts';
import { PAGE_BYTES } from '../../src/fgdp/segment-layout.ts';
import { SegmentPool } from '../../src/fgdp/segment-pool.ts';
import { SessionPages } from '../../src/server/session-pages.ts';
import { duplicateFd } from '../../src/system/files.ts';
import { FakePageFile, fakeContent } from './fake-page-file.ts';

const STEPS = Number(process.env.NEARMOUNT_MODEL_STEPS ?? 20_000);
const SEED = Number(process.env.NEARMOUNT_MODEL_SEED ?? randomInt(2 ** 31));
const SEGMENT_PAGES = 256;
const SEGMENT_BYTES = SEGMENT_PAGES * PAGE_BYTES;
const GUESTS = 3;
const FILES = 6;
/** Less than all guests may have together, so that the pool is empty at times. */
const POOL_SEGMENTS = 5;
const QUOTA_SEGMENTS = 2;

/** A handle in a guest's hands, and what its pages held when it was granted. */
interface Held {
  readonly pages: SharedPages;
  readonly file: FakePageFile;
  readonly offset: number;
  readonly version: number;
}

interface Guest {
  readonly session: SessionPages;
  readonly segments: GuestSegments;
  readonly held: Held[];
  mapsUnderWay: number;
}

function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

t.test(`${STEPS} random steps, seed ${SEED}`, { timeout: 600_000 }, async (t) => {
  const random = mulberry(SEED);
  const below = (limit: number): number => Math.floor(random() * limit);
  const files = Array.from({ length: FILES }, (_, id) => new FakePageFile(id, 1 + below(200_000)));
  let pool = new SegmentPool(POOL_SEGMENTS * SEGMENT_BYTES);
  const counts = { mapped: 0, bytes: 0, good: 0, recalled: 0, guestsDied: 0, serversDied: 0, failed: 0 };

  const join = (): Guest => {
    const segments = new GuestSegments();
    const session = new SessionPages({
      pool,
      send: (id, pages, fd) => segments.adopt(id, pages, duplicateFd(fd)),
      segmentPages: SEGMENT_PAGES,
      quotaBytes: QUOTA_SEGMENTS * SEGMENT_BYTES,
    });
    return { session, segments, held: [], mapsUnderWay: 0 };
  };
  let guests = Array.from({ length: GUESTS }, join);

  const pick = <T>(list: readonly T[]): T | undefined => list[below(list.length)];
  const guestNow = (): Guest => pick(guests) as Guest;
  const fileNow = (): FakePageFile => pick(files) as FakePageFile;

  /** Copies what a handle stands for; undefined when it was recalled. */
  const read = (held: Held): Buffer | undefined => {
    const target = Buffer.alloc(held.pages.lengthBytes);
    held.pages.copyTo(target, 0, 0, target.length);
    return held.pages.isCurrent() ? target : undefined;
  };
  const check = (held: Held): boolean => {
    const bytes = read(held);
    if (bytes === undefined) return false;
    const { file, version, offset } = held;
    if (!bytes.equals(fakeContent(file.id, version, offset, bytes.length)))
      throw new Error(`pages of file ${file.id} hold something else than version ${version}`);
    if (file.notices === 0 && version !== file.version)
      throw new Error(`pages of version ${version} are good, the file has ${file.version}`);
    return true;
  };

  const mapping = new Set<Promise<void>>();
  const map = (guest: Guest, file: FakePageFile): void => {
    const offset = below(file.size + 20_000);
    guest.mapsUnderWay += 1;
    const done = guest.session
      .map(file, BigInt(offset), below(150_000))
      .then(
        (outcome) => {
          if (outcome.kind === 'bytes') {
            counts.bytes += 1;
            return;
          }
          counts.mapped += 1;
          let at = Number(outcome.offset);
          if (outcome.handles.length > 0 && at > offset) throw new Error('the first handle begins too late');
          for (const handle of outcome.handles) {
            const pages = guest.segments.find(handle);
            // A guest that died meanwhile takes nothing.
            if (pages !== undefined) {
              guest.held.push({ pages, file, offset: at, version: Number(outcome.status.ctimeNs) });
            }
            at += Number(handle.length);
          }
          if (outcome.eof && outcome.handles.length > 0 && at !== Number(outcome.status.size))
            throw new Error('the end is elsewhere');
        },
        (error: unknown) => {
          if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
          counts.failed += 1;
        },
      )
      .finally(() => {
        guest.mapsUnderWay -= 1;
        mapping.delete(done);
      });
    mapping.add(done);
  };

  const steps: readonly [weight: number, step: () => void][] = [
    [30, () => map(guestNow(), fileNow())],
    [
      25,
      () => {
        const held = pick(guestNow().held);
        if (held !== undefined) counts[check(held) ? 'good' : 'recalled'] += 1;
      },
    ],
    [
      15,
      () => {
        const guest = guestNow();
        const [held] = guest.held.splice(below(guest.held.length), 1);
        if (held !== undefined) guest.session.unmap(held.pages.handle, random() < 0.3);
      },
    ],
    [
      3,
      () => {
        // A handle that is another guest's, made up, or of another generation.
        const { pages } = pick(guestNow().held) ?? {};
        if (pages === undefined) return;
        const { handle } = pages;
        guestNow().session.unmap({ ...handle, generation: handle.generation + 1n });
        guestNow().session.unmap({ ...handle, shared_file: BigInt(below(2 ** 20)) + 1_000n });
        guestNow().session.unmap({ ...handle, offset: BigInt(below(SEGMENT_BYTES)) * 4096n + 1n });
      },
    ],
    [4, () => fileNow().change(1 + below(200_000))],
    [8, () => fileNow().tell()],
    [
      2,
      () => {
        const file = fileNow();
        file.isOpenForWriting = random() < 0.2;
        file.broken = random() < 0.1;
        file.delayed = random() < 0.7;
      },
    ],
    [
      12,
      () =>
        fileNow()
          .reads.splice(0, 1 + below(3))
          .forEach((go) => go()),
    ],
    [
      0.5,
      () => {
        // SIGKILL of a guest: the server sees its connection end.
        const index = below(guests.length);
        const [dead] = guests.splice(index, 1, join());
        if (dead === undefined) return;
        dead.session.close();
        // One that keeps its mapping finds everything recalled; for one that is gone the kernel unmaps it.
        if (dead.held.some((held) => held.pages.isCurrent())) throw new Error('good after the session');
        dead.segments.close();
        counts.guestsDied += 1;
      },
    ],
    [
      0.1,
      () => {
        // The server dies: nothing is recalled, the guests find their connections ended and unmap.
        counts.serversDied += 1;
        const old = guests;
        pool = new SegmentPool(POOL_SEGMENTS * SEGMENT_BYTES);
        guests = Array.from({ length: GUESTS }, join);
        for (const guest of old) {
          guest.segments.close();
          guest.session.close();
          if (guest.held.some((held) => held.pages.isCurrent())) throw new Error('good without a server');
        }
      },
    ],
  ];
  const total = steps.reduce((sum, [weight]) => sum + weight, 0);
  const step = (): void => {
    let at = random() * total;
    for (const [weight, action] of steps) {
      at -= weight;
      if (at < 0) {
        action();
        return;
      }
    }
  };

  const checkAll = (): void => {
    let taken = 0;
    for (const { session, held, mapsUnderWay } of guests) {
      taken += session.bytesTaken;
      if (session.bytesTaken > QUOTA_SEGMENTS * SEGMENT_BYTES) throw new Error('more than the quota');
      const current = held.filter(check);
      if (mapsUnderWay === 0 && session.inUse.references !== current.length) {
        throw new Error(`${session.inUse.references} references, ${current.length} good handles`);
      }
    }
    if (pool.usedBytes !== taken || taken > pool.budgetBytes) throw new Error('the pool is miscounted');
  };

  for (let count = 0; count < STEPS; count += 1) {
    step();
    await new Promise(setImmediate);
    if (count % 50 === 0) checkAll();
  }

  // Everything is given back: nothing may be left.
  while (mapping.size > 0) {
    for (const file of files) file.reads.splice(0).forEach((go) => go());
    await new Promise(setImmediate);
  }
  checkAll();
  for (const { session, held } of guests) {
    for (const { pages } of held.splice(0)) session.unmap(pages.handle, true);
    t.equal(session.inUse.references, 0, 'no reference is left');
  }
  for (const file of files) {
    file.change();
    while (file.notices > 0) file.tell();
    t.equal(file.watches, 0, 'no file is watched');
  }
  for (const { session, segments } of guests) {
    t.same(session.inUse, { pages: 0, references: 0, files: 0 }, 'no page is in use');
    session.close();
    segments.close();
  }
  t.equal(pool.usedBytes, 0, 'the pool is full');
  const shared = Number(/RssShmem:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  t.ok(shared < 1024, `${shared} KiB of shared memory are left`);
  t.comment(JSON.stringify(counts));
  for (const [what, count] of Object.entries(counts)) t.ok(count > 0, `${count} ${what}`);
});
