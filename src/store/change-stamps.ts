/** Time stamps that tell one change from the next, also where the kernel's clock does not. */
import { release } from 'node:os';
import { utimensFd } from '../system/attributes.ts';
import { ErrnoError } from '../system/errno.ts';
import { fstatfs, type FileStatus } from '../system/files.ts';
import { becomeServer } from '../system/identity.ts';
import type { ExportTree } from './export-tree.ts';
import { COARSE_TICK_NS } from './limits.ts';
import type { StoreNode } from './store.ts';

/** Since Linux 6.13 a change that comes after somebody looked at the time stamps gets another one (multigrain, FS_MGTIME). */
const MULTIGRAIN_SINCE = [6, 13] as const;
/** The file systems that have them, by include/uapi/linux/magic.h: ext4, xfs, btrfs, tmpfs. */
const MULTIGRAIN: ReadonlySet<bigint> = new Set([0xef53n, 0x58465342n, 0x9123683en, 0x01021994n]);
/** What is added is less than a millisecond, in nanoseconds. */
const STEPS_NS = 1_000_000n;

function kernelIsMultigrain(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const [sinceMajor, sinceMinor] = MULTIGRAIN_SINCE;
  return major > sinceMajor || (major === sinceMajor && minor >= sinceMinor);
}

/**
 * Elsewhere a file that is changed twice within one tick of the clock looks as if it had changed once: whoever looked in
 * between believes his copy. So the stamp of a change that is as young as that is moved by a few nanoseconds when others are
 * let in.
 */
export class ChangeStamps {
  readonly #nowNs: () => bigint;
  readonly #isMultigrain: (tree: ExportTree) => boolean;
  #steps = 0n;

  /**
   * @param isMultigrain whether the kernel does that by itself; default: as its version and the file system say
   * @param nowNs the time, in nanoseconds since 1970
   */
  constructor(
    isMultigrain: (tree: ExportTree) => boolean = multigrainTrees(),
    nowNs: () => bigint = () => BigInt(Date.now()) * 1_000_000n,
  ) {
    this.#isMultigrain = isMultigrain;
    this.#nowNs = nowNs;
  }

  /** Sees to it that the next change of a file, and this one, cannot be taken for the same. */
  tellApart(node: StoreNode, { mtimeNs }: FileStatus): void {
    if (this.#isMultigrain(node.export)) return;
    const ageNs = this.#nowNs() - mtimeNs;
    if (ageNs > COARSE_TICK_NS || ageNs < -COARSE_TICK_NS) return;
    // Each time another number: a write of the same tick sets it back.
    this.#steps = (this.#steps + 1n) % STEPS_NS;
    becomeServer();
    try {
      utimensFd(node.fd, undefined, mtimeNs + this.#steps);
    } catch (error) {
      // What cannot be written to was not written either.
      if (!(error instanceof ErrnoError)) throw error;
    }
  }
}

function multigrainTrees(): (tree: ExportTree) => boolean {
  const known = new WeakMap<ExportTree, boolean>();
  const isNew = kernelIsMultigrain();
  return (tree) => {
    let is = known.get(tree);
    if (is === undefined) {
      is = isNew && MULTIGRAIN.has(fstatfs(tree.rootFd).type);
      known.set(tree, is);
    }
    return is;
  };
}
