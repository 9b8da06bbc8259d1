/** Every route and data path answers as the directory itself. */
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { readOperationsSuite, type Backend } from './read-suite.ts';

const BACKENDS: readonly Backend[] = [
  { name: 'near, passthrough', source: () => 'tree', options: 'ro', route: 'near', dataPath: 'passthrough' },
  {
    name: 'near, mapped',
    source: () => 'tree',
    options: 'datapath=mapped',
    route: 'near',
    dataPath: 'mapped',
  },
  { name: 'near, shared pages', source: () => 'pages', options: 'ro', route: 'near', dataPath: 'mapped' },
  { name: 'near, wire', source: () => 'tree', options: 'datapath=wire', route: 'near', dataPath: 'wire' },
  { name: 'near, without grants', source: () => 'records', options: 'ro', route: 'near', dataPath: 'wire' },
  {
    name: 'network, by the table',
    source: () => 'tree',
    options: 'route=network',
    route: 'network',
    dataPath: 'wire',
  },
  {
    name: 'network, nfs://, small READs, noac',
    source: ({ port }) => `nfs://127.0.0.1:${port}/tree`,
    options: 'rsize=65536,noac',
    route: 'network',
    dataPath: 'wire',
  },
];

t.test('every route answers as the directory itself', { skip: cannotMountHere }, (t) =>
  readOperationsSuite(t, BACKENDS),
);
