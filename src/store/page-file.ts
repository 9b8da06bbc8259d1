/** A file as somebody sees it who copies its pages to elsewhere and must know when the copies are old. */
import { statFd, type FileStatus } from '../system/files.ts';
import { becomeServer } from '../system/identity.ts';
import { isOpenForWriting } from '../system/leases.ts';
import type { ChangeWatch } from './file-changes.ts';
import { readInto, type PageSource } from './open-file.ts';
import type { StoreNode } from './store.ts';

export interface PageFile {
  /** The same for the same file, whoever opened it. */
  readonly key: string;
  status(): FileStatus;
  /**
   * Whether somebody may be changing it through a mapping at any moment, which neither ctime nor inotify(7) shows.
   * False where the file system cannot tell.
   */
  isBeingWritten(): boolean;
  /** Bytes read: fewer than `target` holds only at the end of the file. */
  read(offset: bigint, target: Uint8Array): Promise<number>;
  /** As FileChanges.watch. */
  watch(onChange: () => void): ChangeWatch | undefined;
}

/** The file behind a source that is held: it may be used until the source is released. */
export function pageFileOf({ file }: PageSource, { store, handle }: StoreNode): PageFile {
  const key = changeKey(handle);
  return {
    key,
    status: () => statFd(file.fd),
    isBeingWritten: () => {
      // Leases are for the owner and for root.
      becomeServer();
      return isOpenForWriting(file.fd) === true;
    },
    read: (offset, target) => readInto(file, offset, target),
    watch: (onChange) => store.changes.watch(key, file.fd, onChange),
  };
}

/** What a file is called in a store's `changes`. */
export function changeKey(handle: Buffer): string {
  return handle.toString('latin1');
}
