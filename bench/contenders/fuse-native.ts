import { fileURLToPath } from 'node:url';
import { requireFromPackage } from '../package-root.ts';
import type { Contender } from './contender.ts';

const PROGRAM = fileURLToPath(new URL('../fuse-native-baseline.js', import.meta.url));

/** The smallest pass-through with the fuse-native package: what Node.js does without our own driver. */
export const fuseNative: Contender = {
  name: 'fuse-native',
  title: 'fuse-native pass-through',
  requirements: [
    {
      what: 'fuse-native',
      isPresent: () => {
        try {
          requireFromPackage('fuse-native');
          return true;
        } catch {
          return false;
        }
      },
      install: 'apt-get install libfuse2 && npm install --no-save fuse-native',
    },
  ],
  open: ({ source, company }) =>
    Promise.resolve({
      hasClientCache: true,
      mount: async (point) => {
        await company.mount([process.execPath, PROGRAM, source, point], point);
        return point;
      },
    }),
};
