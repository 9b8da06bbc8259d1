/** Whether driver=fuse-native can be tried here. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** For tap's `skip`: why it cannot, and what to install, or false. */
export const noFuseNative: string | false = whyNoFuseNative();

function whyNoFuseNative(): string | false {
  // In a process of its own, because it loads an addon.
  const { status, stderr } = spawnSync(process.execPath, ['-e', 'require("fuse-native")'], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '' },
    encoding: 'utf8',
  });
  if (status === 0) return false;
  const why = /^Error: .*$/m.exec(stderr)?.[0] ?? 'it cannot be loaded';
  return `needs the optional package fuse-native and libfuse2 (${why}): apt-get install libfuse2, npm install fuse-native`;
}
