/** What the drivers have in common, and the one place where one is chosen. */
import type { Operations } from '../gateway/operations.ts';
import { KernelDriver } from './kernel-driver.ts';
import { mountFuse } from './mount.ts';

/** `kernel` speaks on /dev/fuse itself; `fuse-native` goes through libfuse 2, and has limits (docs/operations.md). */
export const DRIVER_KINDS = ['kernel', 'fuse-native'] as const;
export type DriverKind = (typeof DRIVER_KINDS)[number];

export interface DriverLog {
  /** An operation threw, or a request made no sense: a fault of ours or of the kernel's. */
  readonly onFault: (message: string, error: unknown) => void;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** A file system that is mounted. */
export interface FuseDriver {
  /** Requests that wait for their answer. */
  readonly requestsPending: number;
  /** Serves until the file system is unmounted or `stop` is called; called once. */
  run(): Promise<void>;
  /** Ends `run`; what waits is answered with an error by the kernel. */
  stop(): void;
}

export interface MountRequest {
  /** What mount(8) and /proc/mounts show. */
  readonly source: string;
  /** Absolute, an existing directory. */
  readonly mountPoint: string;
  /** Whether the kernel refuses every change (EROFS) without asking. */
  readonly readOnly: boolean;
}

/**
 * Mounts and returns the driver, whose `run` is to be called at once.
 *
 * @throws ErrnoError of open(2) on /dev/fuse or of mount(2), FusermountError, NativeDriverError; nothing is mounted then
 */
export async function mountWithDriver(
  kind: DriverKind,
  request: MountRequest,
  operations: Operations,
  log: DriverLog,
): Promise<FuseDriver> {
  switch (kind) {
    case 'kernel':
      return new KernelDriver(await mountFuse(request), operations, log);
    case 'fuse-native': {
      // Loaded only when it is wanted: its package and libfuse 2 may both be missing.
      const { mountNative } = await import('./native-driver.ts');
      return mountNative(request, operations, log);
    }
  }
}
