/** fio writes blocks that carry their own checksums and reads them back, at random, by several ways at once. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { sized } from '../trees/size.ts';
import { onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const MIB = 1024 * 1024;
/** Of no power of two: blocks share pages. */
const ODD_BLOCK = 5_000;
const ODD_SIZE = ODD_BLOCK * sized(1_600, 100_000);
const SIZE = sized(8 * MIB, 512 * MIB);

const ALWAYS = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--fallocate=none', `--size=${SIZE}`];
const KINDS: Readonly<Record<string, readonly string[]>> = {
  randwrite: ['--rw=randwrite', '--bs=4k', '--ioengine=psync', '--end_fsync=1'],
  'randwrite across pages': ['--rw=randwrite', `--bs=${ODD_BLOCK}`, `--size=${ODD_SIZE}`, '--ioengine=psync'],
  randrw: ['--rw=randrw', '--bs=4k', '--ioengine=psync', '--fsync=100'],
  'write with O_DIRECT': ['--rw=write', '--bs=1M', '--ioengine=psync', '--direct=1'],
  'randwrite with O_DIRECT': ['--rw=randwrite', '--bs=64k', '--ioengine=psync', '--direct=1'],
  'two files in two threads': ['--rw=randrw', '--bs=16k', '--numjobs=2', '--thread', '--ioengine=psync'],
};

onMounts(t, 'fio', skipWithoutPrograms({ fio: 'fio' }), async (t, { point, disk, plain }) => {
  for (const [title, words] of Object.entries(KINDS)) {
    const name = title.replaceAll(' ', '-');
    // Its state files go where it runs.
    await run(t, plain, [
      'fio',
      `--name=${name}`,
      `--directory=${point}`,
      '--randseed=7',
      ...ALWAYS,
      ...words,
    ]);
    t.equal(
      statSync(join(disk, `${name}.0.0`)).size,
      words.includes(`--size=${ODD_SIZE}`) ? ODD_SIZE : SIZE,
      title,
    );
    // Read again on the server: what it checks there is what came by the mount.
    const again = ['fio', `--name=${name}`, `--directory=${disk}`, '--randseed=7', ...ALWAYS, ...words];
    await run(t, plain, [...again, '--verify_only=1', '--verify_state_save=0']);
  }
});
