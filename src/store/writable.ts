import { ErrnoError } from '../system/errno.ts';
import type { StoreNode } from './store.ts';

/** ErrnoError EROFS for what lies in a read-only export: to be asked before anything else about the file or the caller. */
export function requireWritable(node: StoreNode): void {
  if (node.export.options.readOnly) throw new ErrnoError('EROFS', 'write', 'the export is read-only');
}
