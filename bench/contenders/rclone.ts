import { program, type Contender } from './contender.ts';

/** rclone's FUSE mount of a local directory, without a cache of files. */
export const rclone: Contender = {
  name: 'rclone',
  title: 'rclone mount',
  requirements: [program('rclone', 'rclone'), program('fusermount3', 'fuse3')],
  // Without a cache of files it writes from beginning to end and in no other order.
  writes: ['write', 'write-fsync', 'untar'],
  open: ({ source, company }) =>
    Promise.resolve({
      hasClientCache: true,
      mount: async (point) => {
        const own = ['--config', '/dev/null', '--cache-dir', `${company.directory}/cache`];
        await company.mount(['rclone', 'mount', '--vfs-cache-mode', 'off', ...own, source, point], point);
        return point;
      },
    }),
};
