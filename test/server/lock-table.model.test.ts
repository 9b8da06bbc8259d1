/** The lock table against bytes that know their owners: random requests of many owners on short files. */
import fc from 'fast-check';
import t from 'tap';
import { LOCK_KIND, LOCK_TYPE, type lock_kind, type lock_type } from '../../src/fgdp/locks.ts';
import { LockTable, type LockPlace, type LockRequest } from '../../src/server/lock-table.ts';
import { FULL_SIZE } from '../trees/size.ts';

const BYTES = 12;
const FILES = ['f', 'g'];
const CLIENTS = ['a', 'b', 'c'];
const OWNERS = [1n, 2n];
const RUNS = FULL_SIZE ? 2_000 : 200;

interface ModelWait {
  readonly request: LockRequest;
  readonly cookie: bigint;
}

/** One entry for each owner and byte; waits in their order. */
class Model {
  readonly #locks = new Map<string, lock_type>();
  waits: ModelWait[] = [];
  granted: string[] = [];

  at(place: LockPlace, byte: number): lock_type | undefined {
    return this.#locks.get(this.#key(place, byte));
  }

  #key({ client, file, kind, owner }: LockPlace, byte: number): string {
    return [client, owner, kind, file, byte].join(' ');
  }

  set(place: LockPlace, type: lock_type | undefined, start: bigint, end: bigint): void {
    for (let byte = Number(start); byte <= Number(end); byte += 1) {
      if (type === undefined) this.#locks.delete(this.#key(place, byte));
      else this.#locks.set(this.#key(place, byte), type);
    }
  }

  /** Owners in the way, as `client owner`. */
  blockers(request: LockRequest): Set<string> {
    const found = new Set<string>();
    for (const client of CLIENTS) {
      for (const owner of OWNERS) {
        if (client === request.client && owner === request.owner) continue;
        for (let byte = Number(request.start); byte <= Number(request.end); byte += 1) {
          const held = this.at({ ...request, client, owner }, byte);
          if (held === undefined) continue;
          if (held === LOCK_TYPE.WRITE || request.type === LOCK_TYPE.WRITE) found.add(`${client} ${owner}`);
        }
      }
    }
    return found;
  }

  /** Who waits for whom: everything that can be reached. */
  isDeadlock(request: LockRequest): boolean {
    const self = `${request.client} ${request.owner}`;
    const reached = this.blockers(request);
    for (let grows = true; grows;) {
      grows = false;
      for (const wait of this.waits) {
        // flock's owners are open files: nobody is both.
        if (wait.request.kind !== request.kind) continue;
        if (!reached.has(`${wait.request.client} ${wait.request.owner}`)) continue;
        for (const blocker of this.blockers(wait.request)) {
          if (reached.has(blocker)) continue;
          reached.add(blocker);
          grows = true;
        }
      }
    }
    return reached.has(self);
  }

  wake(): void {
    for (let again = true; again;) {
      again = false;
      for (const wait of [...this.waits]) {
        if (this.blockers(wait.request).size > 0) continue;
        this.waits.splice(this.waits.indexOf(wait), 1);
        this.set(wait.request, wait.request.type, wait.request.start, wait.request.end);
        this.granted.push(`${wait.request.client}${wait.cookie}`);
        again = true;
      }
    }
  }

  lock(request: LockRequest, cookie: bigint | undefined): string {
    const { kind, type, start, end } = request;
    if (kind === LOCK_KIND.FLOCK && this.at(request, 0) !== type) {
      this.set(request, undefined, start, end);
      this.wake();
    }
    if (this.blockers(request).size === 0) {
      this.set(request, type, start, end);
      this.wake();
      return 'granted';
    }
    if (cookie === undefined) return 'denied';
    if (kind === LOCK_KIND.POSIX && this.isDeadlock(request)) return 'deadlock';
    this.waits.push({ request, cookie });
    return 'blocked';
  }
}

const place = fc.record({
  client: fc.constantFrom(...CLIENTS),
  file: fc.constantFrom(...FILES),
  kind: fc.constantFrom<lock_kind>(LOCK_KIND.POSIX, LOCK_KIND.POSIX, LOCK_KIND.FLOCK),
  owner: fc.constantFrom(...OWNERS),
});
const range = fc.tuple(fc.nat(BYTES - 1), fc.nat(BYTES - 1));
const step = fc.oneof(
  fc.record({
    op: fc.constant('lock' as const),
    place,
    range,
    type: fc.constantFrom<lock_type>(LOCK_TYPE.READ, LOCK_TYPE.WRITE),
    waits: fc.boolean(),
  }),
  fc.record({ op: fc.constant('unlock' as const), place, range }),
  fc.record({ op: fc.constant('cancel' as const), index: fc.nat(20) }),
  fc.record({ op: fc.constant('free' as const), client: fc.constantFrom(...CLIENTS) }),
);

/** flock knows no ranges. */
function rangeOf(kind: lock_kind, [one, other]: readonly [number, number]): [bigint, bigint] {
  if (kind === LOCK_KIND.FLOCK) return [0n, BigInt(BYTES - 1)];
  return [BigInt(Math.min(one, other)), BigInt(Math.max(one, other))];
}

t.test('the table does what bytes that know their owners do', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const granted: string[] = [];
      const table = new LockTable((client, cookie) => granted.push(`${client}${cookie}`));
      const model = new Model();
      let cookies = 0n;
      for (const each of steps) {
        if (each.op === 'lock') {
          const [start, end] = rangeOf(each.place.kind, each.range);
          const request: LockRequest = { ...each.place, type: each.type, start, end, pid: 1 };
          cookies += 1n;
          const cookie = each.waits ? cookies : undefined;
          const wanted = model.lock(request, cookie);
          const answer = table.lock(request, cookie);
          if (answer !== wanted) throw new Error(`${answer} instead of ${wanted}`);
        } else if (each.op === 'unlock') {
          const [start, end] = rangeOf(each.place.kind, each.range);
          model.set(each.place, undefined, start, end);
          model.wake();
          table.unlock(each.place, start, end);
        } else if (each.op === 'cancel') {
          const wait = model.waits[each.index % Math.max(1, model.waits.length)];
          if (wait === undefined) continue;
          model.waits.splice(model.waits.indexOf(wait), 1);
          if (!table.cancel(wait.request.client, wait.cookie)) throw new Error('did not wait');
        } else {
          model.waits = model.waits.filter(({ request }) => request.client !== each.client);
          for (const file of FILES)
            for (const kind of Object.values(LOCK_KIND))
              for (const owner of OWNERS)
                model.set({ client: each.client, file, kind, owner }, undefined, 0n, BigInt(BYTES - 1));
          model.wake();
          table.free(each.client);
        }
        // The files of a client that is gone are looked at in another order.
        if (granted.toSorted().join() !== model.granted.toSorted().join())
          throw new Error(`granted ${granted.join()}, not ${model.granted.join()}`);
        if (table.waits !== model.waits.length) throw new Error('waits differ');
        for (const client of CLIENTS)
          for (const owner of OWNERS)
            for (const kind of Object.values(LOCK_KIND))
              for (const file of FILES)
                for (let byte = 0; byte < BYTES; byte += 1) {
                  const start = BigInt(byte);
                  const at = { client, owner, kind, file, start, end: start, pid: 1 };
                  for (const type of Object.values(LOCK_TYPE)) {
                    if (table.has({ ...at, type }) !== (model.at(at, byte) === type))
                      throw new Error(`byte ${byte} differs`);
                  }
                }
      }
      for (const client of CLIENTS) table.free(client);
      if (table.locks + table.waits + table.files > 0) throw new Error('something is left');
    }),
    { numRuns: RUNS },
  );
  t.end();
});
