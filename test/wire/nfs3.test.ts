/** Captured messages of the NFS program. */
import t from 'tap';
import { NFS_PROGRAM } from '../../src/nfs3/nfs.ts';
import { TIME_HOW } from '../../src/nfs3/types.ts';
import { checkGolden } from './golden.ts';
import { plain } from './plain.ts';

type Fields = Readonly<Record<string, unknown>>;

/** RFC 1813 names the one wcc_data of a result differently in each procedure; our declarations say `wcc`. */
const WCC_NAMES: Readonly<Record<string, string>> = {
  SETATTR: 'obj_wcc',
  WRITE: 'file_wcc',
  COMMIT: 'file_wcc',
  CREATE: 'dir_wcc',
  MKDIR: 'dir_wcc',
  SYMLINK: 'dir_wcc',
  MKNOD: 'dir_wcc',
  REMOVE: 'dir_wcc',
  RMDIR: 'dir_wcc',
};

/** Handles lie in the fixture without the structure around them, and set_atime and set_mtime without their union. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== 'object' || value === null) return value;
  const fields = value as Fields;
  const keys = Object.keys(fields);
  if (keys.length === 1 && keys[0] === 'data') return fields.data;
  if (fields.set_it === TIME_HOW.DONT_CHANGE) return null;
  if (fields.set_it === TIME_HOW.SET_TO_SERVER_TIME) return 'SET_TO_SERVER_TIME';
  if (fields.set_it === TIME_HOW.SET_TO_CLIENT_TIME) return unwrapped(fields.time);
  return Object.fromEntries(Object.entries(fields).map(([key, inner]) => [key, unwrapped(inner)]));
}

checkGolden(t, 'nfs3.json', NFS_PROGRAM, ({ procedureName, message }, body) => {
  if (body === undefined) return undefined;
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(unwrapped(plain(body)) as Fields)) {
    if (key === 'wcc') {
      out[WCC_NAMES[procedureName] ?? key] = value;
    } else if (key === 'how') {
      // tshark lists the arm's fields beside the discriminant, which it calls createmode.
      const { mode, ...arm } = value as Fields;
      Object.assign(out, { createmode: mode, ...arm });
    } else if (key === 'what' && procedureName === 'MKNOD') {
      Object.assign(out, value);
    } else if (message === 'call' && (key === 'symlink' || key === 'fsroot')) {
      out.object = value;
    } else if (key === 'guard' && value !== null) {
      out[key] = { check: 1, ctime: value };
    } else {
      out[key] = value;
    }
  }
  return out;
});
