import { isListening } from '../company.ts';
import { program, type Contender } from './contender.ts';
import { WRITE_WORKLOADS } from '../writing/tasks.ts';

/** Debian's place. */
const SFTP_SERVER = '/usr/lib/openssh/sftp-server';
/** Free, because the benchmark has a network namespace of its own. */
const PORT = 2222;

/** SFTP over TCP without ssh, so that no encryption is measured. */
export const sshfs: Contender = {
  name: 'sshfs',
  title: 'sshfs without encryption',
  requirements: [
    program('sshfs', 'sshfs'),
    program(SFTP_SERVER, 'openssh-sftp-server'),
    program('socat', 'socat'),
  ],
  writes: WRITE_WORKLOADS,
  open: async ({ source, company }) => {
    // sshd would turn Nagle's algorithm off too: with it every small file costs 40 ms.
    const listen = `TCP-LISTEN:${PORT},bind=127.0.0.1,reuseaddr,nodelay,fork`;
    await company.serve(['socat', listen, `EXEC:${SFTP_SERVER}`], () => isListening(PORT));
    return {
      hasClientCache: true,
      mount: async (point) => {
        const words = ['sshfs', '-f', '-o', `directport=${PORT}`, `127.0.0.1:${source}`, point];
        await company.mount(words, point);
        return point;
      },
    };
  },
};
