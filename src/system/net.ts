import { closeFd } from './files.ts';
import { lastError, libc } from './libc.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;

/** Brings up "lo" of the process's network namespace; a fresh namespace has it down. Needs CAP_NET_ADMIN there. */
export function setLoopbackUp(): void {
  const fd = libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) throw lastError('socket');
  try {
    // struct ifreq of netdevice(7): the name, then here the flags as u16.
    const request = Buffer.alloc(IFREQ_BYTES);
    request.write('lo');
    if (libc.ioctl(fd, SIOCGIFFLAGS, request) < 0) throw lastError('ioctl', 'SIOCGIFFLAGS');
    request.writeUInt16LE(request.readUInt16LE(IFNAMSIZ) | IFF_UP, IFNAMSIZ);
    if (libc.ioctl(fd, SIOCSIFFLAGS, request) < 0) throw lastError('ioctl', 'SIOCSIFFLAGS');
  } finally {
    closeFd(fd);
  }
}
