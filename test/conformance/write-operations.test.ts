/** Changes over the network come out as in the directory itself. */
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { FULL_SIZE } from '../trees/size.ts';
import { writeOnOurServer, type Backend } from './write-on-our-server.ts';
import { SHORT_RUNS, WRITE_RUNS } from './write-suite.ts';

const BACKENDS: readonly Backend[] = [
  {
    name: 'network',
    source: ({ port }) => `nfs://127.0.0.1:${port}/tree`,
    options: 'rw',
    runs: WRITE_RUNS,
  },
];

/** What differs little from the others, with NEARMOUNT_TEST_FULL_SIZE=1. */
const MORE: readonly Backend[] = [
  {
    name: 'network, small WRITEs, noac',
    source: ({ port }) => `nfs://127.0.0.1:${port}/tree`,
    options: 'rw,rsize=8192,wsize=4096,noac',
    runs: SHORT_RUNS,
  },
];

t.test('the network writes as the directory itself', { skip: cannotMountHere }, (t) =>
  writeOnOurServer(t, FULL_SIZE ? [...BACKENDS, ...MORE] : BACKENDS),
);
