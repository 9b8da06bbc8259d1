/** Capabilities of the threads of libuv's pool, which carry out Node's asynchronous file calls. */
import { O_CLOEXEC } from './constants.ts';
import { capabilitiesWithout, type Capability } from './capabilities.ts';
import { closeFd } from './files.ts';
import { lastError, libc, onPool } from './libc.ts';
import { watchReadable } from './watch.ts';

/** uv_threadpool_size(): what libuv takes where UV_THREADPOOL_SIZE is not set, and the most it takes. */
const POOL_THREADS_DEFAULT = 4;
const POOL_THREADS_MAX = 1024;
/** koffi makes no more asynchronous calls at a time (max_async_calls). */
const THREADS_KEPT_WAITING_MAX = 63;
/** How long a thread of the pool may be busy with other things, in milliseconds, before it is given up. */
const POOL_BUSY_MS = 10_000;

/** How many threads the pool has, as far as its environment tells (uv/src/threadpool.c). */
export function poolThreads(setting = process.env.UV_THREADPOOL_SIZE): number {
  if (setting === undefined) return POOL_THREADS_DEFAULT;
  const threads = Number.parseInt(setting, 10);
  return Math.min(Math.max(Number.isNaN(threads) ? 0 : threads, 1), POOL_THREADS_MAX);
}

/** A thread of the pool that waits in write(2) until it is let go. */
interface Occupied {
  readonly letGo: () => void;
  /** Resolves once some thread waits. */
  readonly begun: Promise<void>;
  readonly ended: Promise<void>;
}

/** More than a pipe holds (16 pages), so that a write of it fills the pipe, which is seen, and then waits. */
const MORE_THAN_A_PIPE = Buffer.alloc(16 * 4096 + 1);

function occupyThread(): Occupied {
  const ends = new Int32Array(2);
  if (libc.pipe2(new Uint32Array(ends.buffer), O_CLOEXEC) < 0) throw lastError('pipe2');
  const [readEnd = -1, writeEnd = -1] = ends;
  let isLetGo = false;
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const watch = watchReadable(readEnd, () => {
    watch.stop();
    begin();
  });
  const ended = new Promise<void>((resolve) => {
    onPool.write(writeEnd, MORE_THAN_A_PIPE, MORE_THAN_A_PIPE.length, () => {
      closeFd(writeEnd);
      resolve();
    });
  });
  return {
    // Without a reader the write ends with EPIPE; SIGPIPE is ignored by Node.
    letGo: () => {
      if (isLetGo) return;
      isLetGo = true;
      watch.stop();
      begin();
      closeFd(readEnd);
    },
    begun,
    ended,
  };
}

/**
 * Takes capabilities from every thread of the pool, for good, and from no other. A thread cannot be chosen, so all
 * but one are kept waiting, the free one gives them up, and takes the place of the next.
 *
 * @returns how many threads did; fewer than poolThreads() when some were busy with other things for POOL_BUSY_MS, when the
 * pool is smaller than its environment says, or larger than THREADS_KEPT_WAITING_MAX + 1
 */
export async function dropPoolCapabilities(capabilities: readonly Capability[]): Promise<number> {
  const threads = poolThreads();
  if (threads > THREADS_KEPT_WAITING_MAX + 1) return 0;
  const waiting: Occupied[] = [];
  const all: Promise<void>[] = [];
  const occupy = (): Promise<void> => {
    const occupied = occupyThread();
    waiting.push(occupied);
    all.push(occupied.ended);
    return occupied.begun;
  };
  let dropped = 0;
  let isPast = false;
  const isLate = (): boolean => isPast;
  const { header, sets } = capabilitiesWithout(capabilities);
  const timer = setTimeout(() => {
    isPast = true;
    for (const { letGo } of waiting.splice(0)) letGo();
  }, POOL_BUSY_MS);
  try {
    for (let index = 1; index < threads && !isLate(); index += 1) await occupy();
    for (let turn = 0; turn < threads && !isLate(); turn += 1) {
      const result = await new Promise<number>((resolve) => {
        onPool.capset(header, sets, (_error, returned) => {
          resolve(returned);
        });
      });
      // Late, any thread may have been the one, and perhaps again.
      if (result < 0 || isLate()) break;
      dropped += 1;
      // The thread that is done waits from now on, and the one that has waited for longest is free.
      if (turn + 1 < threads) {
        await occupy();
        waiting.shift()?.letGo();
      }
    }
  } finally {
    clearTimeout(timer);
    for (const { letGo } of waiting.splice(0)) letGo();
    await Promise.all(all);
  }
  return dropped;
}
