import { freePorts, missingPeers, startGanesha } from '../../test/interop/peers.ts';
import { NEARMOUNT } from '../package-root.ts';
import type { Contender } from './contender.ts';

/** Our gateway on somebody else's NFSv3 server: every workload, and the server in C. */
export const ganesha: Contender = {
  name: 'ganesha',
  title: 'network, on nfs-ganesha',
  requirements: [
    {
      what: 'nfs-ganesha',
      isPresent: () => missingPeers(['ganesha']).length === 0,
      install: 'apt-get install nfs-ganesha nfs-ganesha-vfs rpcbind',
    },
  ],
  expects: { route: 'network', dataPath: 'wire' },
  open: async ({ source, company }) => {
    const [nfsPort = 0, mountPort = 0] = await freePorts(2);
    const server = await startGanesha({ directory: source, nfsPort, mountPort, env: company.environment() });
    company.endWith(server.stop);
    const url = `nfs://127.0.0.1:${nfsPort}${source}?mountport=${mountPort}`;
    return {
      hasClientCache: true,
      mount: async (point) => {
        const words = ['mount', url, point, '--foreground', '--log-level', 'warn'];
        await company.mount([...NEARMOUNT, ...words], point);
        return point;
      },
    };
  },
};
