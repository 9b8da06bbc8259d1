import { mkdirSync } from 'node:fs';
import { mountFileSystem } from '../../src/system/mounts.ts';
import { isListening } from '../company.ts';
import { program, type Contender } from './contender.ts';

const PORT = 24007;
/** GlusterFS takes no loopback address for a brick: one of those kept for documentation (RFC 5737). */
const ADDRESS = '192.0.2.1';
const VOLUME = 'bench';

/** A volume of one brick. The brick is a copy of the tree, because GlusterFS marks what lies in one. */
export const glusterfs: Contender = {
  name: 'glusterfs',
  title: 'GlusterFS',
  requirements: [
    program('glusterd', 'glusterfs-server'),
    program('gluster', 'glusterfs-server'),
    program('glusterfs', 'glusterfs-client'),
    program('ip', 'iproute2'),
  ],
  open: async ({ source, company }) => {
    for (const target of ['/var/lib/glusterd', '/var/log/glusterfs']) {
      mountFileSystem({ source: 'nearmount-bench', target, type: 'tmpfs' });
    }
    mkdirSync('/var/log/glusterfs/bricks');
    const brick = `${company.directory}/brick`;
    await company.run(['cp', '-a', source, brick]);
    await company.run(['ip', 'address', 'add', `${ADDRESS}/32`, 'dev', 'lo']);
    await company.serve(['glusterd', '-N'], () => isListening(PORT));
    const volume = ['gluster', '--mode=script', 'volume'];
    await company.run([...volume, 'create', VOLUME, `${ADDRESS}:${brick}`, 'force']);
    await company.run([...volume, 'start', VOLUME]);
    return {
      hasClientCache: true,
      mount: async (point) => {
        const words = ['glusterfs', '-N', `--volfile-server=${ADDRESS}`, `--volfile-id=${VOLUME}`, point];
        await company.mount(words, point);
        return point;
      },
    };
  },
};
