/** driver=fuse-native answers as the directory itself, within the limits that native-exceptions.ts lists. */
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { noFuseNative } from '../support/fuse-native.ts';
import { NATIVE_EXCEPTIONS } from './native-exceptions.ts';
import { readOperationsSuite, type Backend } from './read-suite.ts';

const exceptions = NATIVE_EXCEPTIONS;
const BACKENDS: readonly Backend[] = [
  {
    name: 'fuse-native, near',
    source: () => 'tree',
    options: 'driver=fuse-native',
    route: 'near',
    dataPath: 'mapped',
    exceptions,
  },
  {
    name: 'fuse-native, network',
    source: ({ port }) => `nfs://127.0.0.1:${port}/tree`,
    options: 'driver=fuse-native,noac',
    route: 'network',
    dataPath: 'wire',
    exceptions,
  },
];

t.test('fuse-native answers as the directory itself', { skip: cannotMountHere || noFuseNative }, (t) =>
  readOperationsSuite(t, BACKENDS),
);
