import { constants } from 'node:os';
import t from 'tap';
import { errnoOfStatus, statusOfErrno } from '../../src/nfs3/errno.ts';
import { NFSSTAT3, type nfs3error } from '../../src/nfs3/status.ts';

const errors = Object.entries(NFSSTAT3).filter(
  (entry): entry is [string, nfs3error] => entry[1] !== NFSSTAT3.NFS3_OK,
);
const { errno } = constants;

t.test('every status has an errno of Linux', async (t) => {
  const known = new Set<number>(Object.values(errno));
  t.equal(errors.length, 28);
  for (const [name, status] of errors) {
    // Node's list of errno names leaves EREMOTE out.
    t.ok(known.has(errnoOfStatus(status)) || errnoOfStatus(status) === 66, name);
  }
});

t.test('a status named like an errno is that errno', async (t) => {
  const special: Record<string, number> = {
    NFS3ERR_ACCES: errno.EACCES,
    NFS3ERR_REMOTE: 66,
    NFS3ERR_BADHANDLE: errno.ESTALE,
    NFS3ERR_NOT_SYNC: errno.EIO,
    NFS3ERR_BAD_COOKIE: errno.ESTALE,
    NFS3ERR_NOTSUPP: errno.EOPNOTSUPP,
    NFS3ERR_TOOSMALL: errno.EIO,
    NFS3ERR_SERVERFAULT: errno.EIO,
    NFS3ERR_BADTYPE: errno.EINVAL,
    NFS3ERR_JUKEBOX: errno.EAGAIN,
  };
  for (const [name, status] of errors) {
    const same = (errno as Record<string, number>)[name.replace('NFS3ERR_', 'E')];
    t.equal(errnoOfStatus(status), special[name] ?? same, name);
  }
});

t.test('there and back again, where a local file system can give the errno', async (t) => {
  const merged = new Set([
    'NFS3ERR_BADHANDLE', // as STALE
    'NFS3ERR_NOT_SYNC', // as IO, with the next two
    'NFS3ERR_TOOSMALL',
    'NFS3ERR_SERVERFAULT',
    'NFS3ERR_BAD_COOKIE', // as STALE
    'NFS3ERR_BADTYPE', // as INVAL
    'NFS3ERR_REMOTE', // no local file system says so
  ]);
  for (const [name, status] of errors) {
    if (!merged.has(name)) t.equal(statusOfErrno(errnoOfStatus(status)), status, name);
  }
  t.equal(statusOfErrno(66), undefined);
});

t.test('errnos without a status of their own', async (t) => {
  t.equal(statusOfErrno(errno.ENOMEM), NFSSTAT3.NFS3ERR_JUKEBOX);
  t.equal(statusOfErrno(errno.EMFILE), NFSSTAT3.NFS3ERR_JUKEBOX);
  t.equal(statusOfErrno(errno.ENFILE), NFSSTAT3.NFS3ERR_JUKEBOX);
  t.equal(statusOfErrno(errno.EBUSY), NFSSTAT3.NFS3ERR_JUKEBOX);
  t.equal(statusOfErrno(errno.ETXTBSY), NFSSTAT3.NFS3ERR_ACCES);
  t.equal(statusOfErrno(errno.ELOOP), NFSSTAT3.NFS3ERR_INVAL);
  t.equal(statusOfErrno(errno.EILSEQ), NFSSTAT3.NFS3ERR_INVAL);
  t.equal(statusOfErrno(0), undefined);
  t.equal(statusOfErrno(errno.EBADF), undefined, 'a fault of the server, not of the caller');
  t.equal(statusOfErrno(-errno.EIO), undefined);
});

t.test('a disk that fails in any way is an I/O error', (t) => {
  const { EIO, ENODATA, ETIME, ENOLINK, EBADMSG, ETIMEDOUT } = errno;
  // Node's list leaves EBADE, ESHUTDOWN and EREMOTEIO out.
  for (const number of [EIO, ENODATA, ETIME, ENOLINK, EBADMSG, ETIMEDOUT, 52, 108, 121]) {
    t.equal(statusOfErrno(number), NFSSTAT3.NFS3ERR_IO, String(number));
  }
  t.end();
});
