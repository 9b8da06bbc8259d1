/** Captured messages of the MOUNT program. */
import t from 'tap';
import { MOUNT_PROGRAM } from '../../src/nfs3/mount.ts';
import { checkGolden } from './golden.ts';
import { plain } from './plain.ts';

checkGolden(t, 'mount3.json', MOUNT_PROGRAM, ({ procedureName, message }, body) => {
  const value = plain(body);
  if (message === 'call')
    return procedureName === 'MNT' || procedureName === 'UMNT' ? { dirpath: value } : value;
  if (procedureName === 'EXPORT') return { exports: value };
  if (procedureName === 'DUMP') return { mountlist: value };
  return value;
});
