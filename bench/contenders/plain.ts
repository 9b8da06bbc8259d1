import type { Contender } from './contender.ts';
import { WRITE_WORKLOADS } from '../writing/tasks.ts';

/** The files themselves: everything else is held against them. */
export const plain: Contender = {
  name: 'plain',
  title: 'the files themselves',
  requirements: [],
  writes: WRITE_WORKLOADS,
  open: ({ source }) => Promise.resolve({ mount: () => Promise.resolve(source), hasClientCache: false }),
};
