/** Shared memory between processes: memfd_create(2) segments of fixed size, and mappings of them. */
import { fstatSync } from 'node:fs';
import { F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK } from './constants.ts';
import { ErrnoError } from './errno.ts';
import { closeFd } from './files.ts';
import { lastError, libc, memoryAt } from './libc.ts';
import { addSeals, createMemory, getSeals } from './memory.ts';

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_POPULATE = 0x8000;
/** (void *) -1 */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** Address ranges whose memory is given back already, until nothing in this process can point into them. */
const leftRanges = new FinalizationRegistry<{ address: bigint; lengthBytes: number }>((range) => {
  libc.munmap(range.address, range.lengthBytes);
});

/** Memory of a segment in this process. */
export class Mapping {
  readonly lengthBytes: number;
  readonly #address: bigint;
  readonly #protection: number;
  readonly #memory: ArrayBuffer;
  #mapped = true;

  private constructor(address: bigint, lengthBytes: number, protection: number) {
    this.#address = address;
    this.#protection = protection;
    this.lengthBytes = lengthBytes;
    this.#memory = memoryAt(address, lengthBytes);
    leftRanges.register(this.#memory, { address, lengthBytes });
  }

  /** mmap(2), shared and faulted in at once. The descriptor may be closed afterwards. ENOMEM, EACCES, EPERM. */
  static of(fd: number, lengthBytes: number, access: 'read' | 'write'): Mapping {
    const protection = access === 'write' ? PROT_READ | PROT_WRITE : PROT_READ;
    const address = libc.mmap(null, lengthBytes, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (address === MAP_FAILED) throw lastError('mmap');
    return new Mapping(address, lengthBytes, protection);
  }

  get isMapped(): boolean {
    return this.#mapped;
  }

  /** The memory. Writing to a mapping for reading ends the process. */
  get memory(): ArrayBuffer {
    return this.#memory;
  }

  /**
   * Gives the memory back. Views of it may still be about, and the runtime cannot take them away: private zeros are put
   * in its place, which cost no memory until they are written to, and are gone with the last view. May be called
   * again, without effect.
   */
  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE;
    if (libc.mmap(this.#address, this.lengthBytes, this.#protection, flags, -1, 0) === MAP_FAILED)
      throw lastError('mmap');
  }
}

const SEGMENT_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;

export interface OwnSegment {
  /** To be sent to others, who can only read it. The caller closes it. */
  readonly fd: number;
  /** The one mapping through which it is written. */
  readonly mapping: Mapping;
}

/**
 * A segment of zeros, all of its memory taken at once, so that no use of it can fail later (SIGBUS). Its size is
 * sealed, and so is writing but through the mapping that is returned: fcntl(2), F_SEAL_FUTURE_WRITE, Linux 5.1.
 * ENOMEM, ENOSPC: no memory; EINVAL: an older kernel.
 */
export function createSegment(name: string, lengthBytes: number): OwnSegment {
  const fd = createMemory(name);
  let mapping: Mapping | undefined;
  try {
    if (libc.fallocate(fd, 0, 0, lengthBytes) < 0) throw lastError('fallocate');
    mapping = Mapping.of(fd, lengthBytes, 'write');
    addSeals(fd, SEGMENT_SEALS);
    return { fd, mapping };
  } catch (error) {
    mapping?.unmap();
    closeFd(fd);
    throw error;
  }
}

const BLOCK_BYTES = 512;

/**
 * Maps a segment that another process made, for reading. EINVAL unless it is a file of exactly `lengthBytes` that has
 * all its memory, and seals by which it keeps it: only then can reading it not fault.
 */
export function mapSegment(fd: number, lengthBytes: number): Mapping {
  const stat = fstatSync(fd);
  const wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
  const isWhole = stat.isFile() && stat.size === lengthBytes && stat.blocks * BLOCK_BYTES >= lengthBytes;
  if (!isWhole || (getSeals(fd) & wanted) !== wanted)
    throw new ErrnoError('EINVAL', 'mmap', `no sealed segment of ${lengthBytes} bytes`);
  return Mapping.of(fd, lengthBytes, 'read');
}
