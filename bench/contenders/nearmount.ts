/** Nearmount's own data paths and routes, each with a server of its own. */
import { hasContent } from '../company.ts';
import { NEARMOUNT } from '../package-root.ts';
import { WRITE_WORKLOADS, type WriteWorkload } from '../writing/tasks.ts';
import type { Contender } from './contender.ts';

interface Way {
  readonly name: string;
  readonly title: string;
  readonly grants: 'descriptors' | 'pages' | 'none';
  /** The list of -o. */
  readonly options: string;
  readonly expects: { readonly route: string; readonly dataPath: string };
  readonly writes?: readonly WriteWorkload[];
}

function nearmount({ name, title, grants, options, expects, writes }: Way): Contender {
  return {
    name,
    title,
    requirements: [],
    expects,
    ...(writes === undefined ? {} : { writes }),
    open: async ({ source, company }) => {
      const { directory } = company;
      const table = `${directory}/table.db`;
      const access = writes === undefined ? 'ro,' : '';
      const words = [
        ...['--export', `bench=${source},${access}squash=none,clients=127.0.0.0/8,grants=${grants}`],
        ...['--listen', '127.0.0.1:0', '--socket', `${directory}/s.sock`, '--state', `${directory}/state`],
        ...['--colocation', table, '--name', `bench-${name}`, '--log-level', 'warn', '--json'],
      ];
      // Its ready line is the first thing in its log; an end without one is noticed first.
      await company.serve([...NEARMOUNT, 'serve', ...words], () => hasContent(table));
      return {
        hasClientCache: true,
        mount: async (point) => {
          const mount = ['mount', 'bench', point, '--foreground', '--colocation', table, '-o', options];
          await company.mount([...NEARMOUNT, ...mount, '--log-level', 'warn'], point);
          return point;
        },
      };
    },
  };
}

export const nearPassthrough = nearmount({
  name: 'passthrough',
  title: 'near, passthrough',
  grants: 'descriptors',
  options: 'route=near,datapath=passthrough',
  expects: { route: 'near', dataPath: 'passthrough' },
  writes: WRITE_WORKLOADS,
});

export const nearMapped = nearmount({
  name: 'mapped',
  title: 'near, mapped',
  grants: 'descriptors',
  options: 'route=near,datapath=mapped',
  expects: { route: 'near', dataPath: 'mapped' },
});

export const nearSegments = nearmount({
  name: 'segments',
  title: 'near, segments (grants=pages)',
  grants: 'pages',
  options: 'route=near',
  expects: { route: 'near', dataPath: 'mapped' },
});

export const nearRecords = nearmount({
  name: 'records',
  title: 'near, records (grants=none)',
  grants: 'none',
  options: 'route=near',
  expects: { route: 'near', dataPath: 'wire' },
  writes: WRITE_WORKLOADS,
});

export const network = nearmount({
  name: 'network',
  title: 'network (TCP)',
  grants: 'none',
  options: 'route=network',
  expects: { route: 'network', dataPath: 'wire' },
  writes: WRITE_WORKLOADS,
});
