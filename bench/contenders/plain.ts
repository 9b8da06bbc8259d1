import type { Contender } from './contender.ts';

/** The files themselves: everything else is held against them. */
export const plain: Contender = {
  name: 'plain',
  title: 'the files themselves',
  requirements: [],
  open: ({ source }) => Promise.resolve({ mount: () => Promise.resolve(source), hasClientCache: false }),
};
