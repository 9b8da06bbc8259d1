import { program, type Contender } from './contender.ts';
import { WRITE_WORKLOADS } from '../writing/tasks.ts';

/** A pass-through in C: one process, libfuse 3. */
export const bindfs: Contender = {
  name: 'bindfs',
  title: 'bindfs',
  requirements: [program('bindfs', 'bindfs')],
  writes: WRITE_WORKLOADS,
  open: ({ source, company }) =>
    Promise.resolve({
      hasClientCache: true,
      mount: async (point) => {
        await company.mount(['bindfs', '-f', source, point], point);
        return point;
      },
    }),
};
