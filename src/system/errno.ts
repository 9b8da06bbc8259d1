import os from 'node:os';

/**
 * Linux error names and numbers as x86-64, arm64 and every other asm-generic architecture use them
 * (include/uapi/asm-generic/errno-base.h, errno.h). Aliases (EWOULDBLOCK, EDEADLOCK, ENOTSUP) are left out.
 */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  ENOTBLK: 15,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  EDOM: 33,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENOMSG: 42,
  EIDRM: 43,
  ECHRNG: 44,
  EL2NSYNC: 45,
  EL3HLT: 46,
  EL3RST: 47,
  ELNRNG: 48,
  EUNATCH: 49,
  ENOCSI: 50,
  EL2HLT: 51,
  EBADE: 52,
  EBADR: 53,
  EXFULL: 54,
  ENOANO: 55,
  EBADRQC: 56,
  EBADSLT: 57,
  EBFONT: 59,
  ENOSTR: 60,
  ENODATA: 61,
  ETIME: 62,
  ENOSR: 63,
  ENONET: 64,
  ENOPKG: 65,
  EREMOTE: 66,
  ENOLINK: 67,
  EADV: 68,
  ESRMNT: 69,
  ECOMM: 70,
  EPROTO: 71,
  EMULTIHOP: 72,
  EDOTDOT: 73,
  EBADMSG: 74,
  EOVERFLOW: 75,
  ENOTUNIQ: 76,
  EBADFD: 77,
  EREMCHG: 78,
  ELIBACC: 79,
  ELIBBAD: 80,
  ELIBSCN: 81,
  ELIBMAX: 82,
  ELIBEXEC: 83,
  EILSEQ: 84,
  ERESTART: 85,
  ESTRPIPE: 86,
  EUSERS: 87,
  ENOTSOCK: 88,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  ESOCKTNOSUPPORT: 94,
  EOPNOTSUPP: 95,
  EPFNOSUPPORT: 96,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ENETRESET: 102,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETOOMANYREFS: 109,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EUCLEAN: 117,
  ENOTNAM: 118,
  ENAVAIL: 119,
  EISNAM: 120,
  EREMOTEIO: 121,
  EDQUOT: 122,
  ENOMEDIUM: 123,
  EMEDIUMTYPE: 124,
  ECANCELED: 125,
  ENOKEY: 126,
  EKEYEXPIRED: 127,
  EKEYREVOKED: 128,
  EKEYREJECTED: 129,
  EOWNERDEAD: 130,
  ENOTRECOVERABLE: 131,
  ERFKILL: 132,
  EHWPOISON: 133,
} as const;

export type ErrnoCode = keyof typeof ERRNO;

const codesByNumber: readonly (ErrnoCode | undefined)[] = (() => {
  const table: (ErrnoCode | undefined)[] = [];
  for (const [code, errno] of Object.entries(ERRNO)) table[errno] = code as ErrnoCode;
  return table;
})();

/** The name of a positive errno. A number Linux does not define becomes EIO. */
export function errnoCodeOf(errno: number): ErrnoCode {
  return codesByNumber[errno] ?? 'EIO';
}

/** A system call that failed. `errno` is positive, `code` its name, `syscall` the call that reported it. */
export class ErrnoError extends Error {
  readonly code: ErrnoCode;
  readonly errno: number;
  readonly syscall: string;

  /** `error` is a positive errno or its name; `detail` tells a person more. */
  constructor(error: ErrnoCode | number, syscall: string, detail?: string) {
    const errno = typeof error === 'number' ? error : ERRNO[error];
    const code = errnoCodeOf(errno);
    super(detail === undefined ? `${code}: ${syscall}` : `${code}: ${syscall}: ${detail}`);
    this.name = 'ErrnoError';
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/**
 * The positive errno of an ErrnoError or of a system error thrown by Node itself (whose errno is negative).
 * Undefined for every other value: those are defects, not answers of the kernel.
 */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof ErrnoError) return error.errno;
  if (!(error instanceof Error)) return undefined;
  const { errno, code } = error as NodeJS.ErrnoException;
  if (typeof errno === 'number') {
    const positive = Math.abs(errno);
    return codesByNumber[positive] === undefined ? undefined : positive;
  }
  if (typeof code !== 'string') return undefined;
  // Node leaves the number out of a few errors; its own table then knows the name.
  return Object.hasOwn(ERRNO, code) ? ERRNO[code as ErrnoCode] : os.constants.errno[code as 'EIO'];
}
