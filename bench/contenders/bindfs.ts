import { program, type Contender } from './contender.ts';

/** A pass-through in C: one process, libfuse 3. */
export const bindfs: Contender = {
  name: 'bindfs',
  title: 'bindfs',
  requirements: [program('bindfs', 'bindfs')],
  open: ({ source, company }) =>
    Promise.resolve({
      hasClientCache: true,
      mount: async (point) => {
        await company.mount(['bindfs', '-f', source, point], point);
        return point;
      },
    }),
};
