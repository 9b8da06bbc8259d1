/**
 * Flags of the runtime for gateways and servers; main.ts has them in its first line, too.
 *
 * Receive memory counts towards the old space, whose first size is small: without the first the collector runs for each
 * 16 MiB received, and takes more time than everything else (measured: 3.7 s of CPU for 1 GiB by wire against 1.7 s, the
 * same memory).
 *
 * V8 optimizes a function when it has used up its budget, which is 66 KiB of bytecode by default. Gateways
 * and servers do the same few things again and again: with less they are fast sooner (measured: tar of small files took 0.90 to
 * 0.92 of the time within the first 7,000 files, and as long as before from then on).
 *
 * What it has to optimize at first, a second of work in each process, it would do with four threads, which take the
 * processors away from those who wait (measured: the first 500 of those files took 0.83 of the time with one thread, and
 * large reads and writes as long as before).
 */
export const RUNTIME_FLAGS = [
  '--initial-old-space-size=128',
  '--interrupt-budget=20000',
  '--v8-pool-size=1',
] as const;
