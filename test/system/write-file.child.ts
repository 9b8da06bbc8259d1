/** Writes more than a file may have; see write-file.test.ts. */
import { spawnSync } from 'node:child_process';
import { openSync, truncateSync } from 'node:fs';
import { writeHere, writeOnPool, type Written } from '../../src/system/write-file.ts';

const path = process.argv[2] as string;
const fd = openSync(path, 'w');
/** Of this process, in bytes; the loaders of the test runner write files, before and after. */
const limit = (bytes: string) => spawnSync('prlimit', [`--pid=${process.pid}`, `--fsize=${bytes}:unlimited`]);
limit('10');
const pieces = [Buffer.alloc(7), Buffer.alloc(7)];
const tell = ({ bytes, error }: Written) => ({
  bytes,
  code: (error as NodeJS.ErrnoException | undefined)?.code,
});
const here = tell(writeHere(fd, pieces, 0n));
truncateSync(path);
const pool = tell(await writeOnPool(fd, pieces, 0));
const beyond = tell(await writeOnPool(fd, pieces, 11));
limit('unlimited');
process.stdout.write(JSON.stringify({ here, pool, beyond }));
