/** The optional package fuse-native: loading it, and what to do when it cannot be. */
import type Fuse from 'fuse-native';

/** The driver cannot be had here; the message is one line for people. */
export class NativeDriverError extends Error {
  override readonly name = 'NativeDriverError';
}

/** @throws NativeDriverError when the package, its addon or libfuse 2 is missing */
export async function loadNativePackage(): Promise<typeof Fuse> {
  try {
    return (await import('fuse-native')).default;
  } catch (error) {
    throw new NativeDriverError(explainLoading(error), { cause: error });
  }
}

const OTHERWISE = 'or use driver=kernel';

/** One line about an error of loading: what is missing, and what to do. */
export function explainLoading(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = message.split('\n')[0] ?? '';
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') {
    return `driver=fuse-native needs the package fuse-native, which is not installed: npm install fuse-native, ${OTHERWISE}`;
  }
  if (reason.includes('libfuse')) {
    return `driver=fuse-native needs libfuse 2, which cannot be loaded (${reason}): install the package libfuse2, ${OTHERWISE}`;
  }
  if (reason.includes('native build')) {
    return `the package fuse-native has no addon for this machine: npm rebuild fuse-native (with a C compiler), ${OTHERWISE}`;
  }
  return `the package fuse-native cannot be loaded (${reason}): install it again, ${OTHERWISE}`;
}
