import { lastError, libc, memoryAt } from './libc.ts';

const PROT_READ = 1;
const MAP_SHARED = 1;
/** (void *) -1 */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export interface FileMap {
  /** Must not be touched after `unmap`, nor past the end of a file that was truncated: both end the process. */
  readonly bytes: Uint8Array;
  unmap(): void;
}

/**
 * mmap(2) of the first `lengthBytes` (at least 1) of a file, shared and for reading; pages are faulted in when they are
 * touched. The descriptor may be closed before the map is.
 */
export function mapFile(fd: number, lengthBytes: number): FileMap {
  const address = libc.mmap(null, lengthBytes, PROT_READ, MAP_SHARED, fd, 0);
  if (address === MAP_FAILED) throw lastError('mmap');
  return {
    bytes: new Uint8Array(memoryAt(address, lengthBytes)),
    unmap: () => {
      if (libc.munmap(address, lengthBytes) < 0) throw lastError('munmap');
    },
  };
}
