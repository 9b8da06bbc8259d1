/** Changes on the near route come out as in the directory itself. */
import t from 'tap';
import { cannotMountHere } from '../support/mounts.ts';
import { FULL_SIZE } from '../trees/size.ts';
import { GRANTED_EXCEPTIONS } from './write-exceptions.ts';
import { writeOnOurServer, type Backend } from './write-on-our-server.ts';
import { SHORT_RUNS, XATTR_RUNS } from './write-suite.ts';

const BACKENDS: readonly Backend[] = [
  {
    name: 'near, without grants',
    source: () => 'records',
    options: 'rw',
    runs: [...SHORT_RUNS, ...XATTR_RUNS],
  },
  {
    name: 'near, with grants',
    source: () => 'tree',
    options: 'rw',
    runs: [...SHORT_RUNS, ...XATTR_RUNS],
    exceptions: GRANTED_EXCEPTIONS,
  },
];

/** What differs little from the others, with NEARMOUNT_TEST_FULL_SIZE=1. */
const MORE: readonly Backend[] = [
  { name: 'near, shared pages', source: () => 'pages', options: 'rw', runs: SHORT_RUNS },
];

t.test('the near route writes as the directory itself', { skip: cannotMountHere }, (t) =>
  writeOnOurServer(t, FULL_SIZE ? [...BACKENDS, ...MORE] : BACKENDS),
);
