/** The part of the package fuse-native (2.2) that is used here; it comes without types. */
declare module 'fuse-native' {
  /** Errors are negative errno values. */
  export type Reply<T = void> = (error: number, value?: T) => void;

  /** As fs.Stats, cut to 32 bits but for size and blocks; times are milliseconds. */
  export interface NativeStat {
    readonly mode: number;
    readonly ino: number;
    readonly uid?: number;
    readonly gid?: number;
    readonly size?: number;
    readonly nlink?: number;
    readonly rdev?: number;
    readonly blksize?: number;
    readonly blocks?: number;
    readonly atime: number;
    readonly mtime: number;
    readonly ctime: number;
  }

  /** All of 32 bits. */
  export interface NativeStatfs {
    readonly bsize: number;
    readonly frsize: number;
    readonly blocks: number;
    readonly bfree: number;
    readonly bavail: number;
    readonly files: number;
    readonly ffree: number;
    readonly favail: number;
    readonly namemax: number;
  }

  export interface NativeOperations {
    getattr(path: string, reply: Reply<NativeStat>): void;
    /** Only says that there is one: getattr is called in its place, see _op_fgetattr. */
    fgetattr(path: string, fd: number, reply: Reply<NativeStat>): void;
    readlink(path: string, reply: Reply<string>): void;
    open(path: string, flags: number, reply: Reply<number>): void;
    /** Replies with the number of bytes put into `buffer` in the place of an error. */
    read(path: string, fd: number, buffer: Buffer, bytes: number, at: number, reply: Reply): void;
    access(path: string, mask: number, reply: Reply): void;
    /** @param mode with the umask applied; how the file is opened is not told */
    create(path: string, mode: number, reply: Reply<number>): void;
    /** Replies with the number of bytes taken in the place of an error; `buffer` is gone after that. */
    write(path: string, fd: number, buffer: Buffer, bytes: number, at: number, reply: Reply): void;
    flush(path: string, fd: number, reply: Reply): void;
    fsync(path: string, dataOnly: number, fd: number, reply: Reply): void;
    fsyncdir(path: string, dataOnly: number, fd: number, reply: Reply): void;
    truncate(path: string, sizeBytes: number, reply: Reply): void;
    ftruncate(path: string, fd: number, sizeBytes: number, reply: Reply): void;
    chmod(path: string, mode: number, reply: Reply): void;
    /** 0xffffffff: leave it. */
    chown(path: string, uid: number, gid: number, reply: Reply): void;
    /** Milliseconds; see _makeHandlerArray. */
    utimens(path: string, atimeMs: number, mtimeMs: number, reply: Reply): void;
    mknod(path: string, mode: number, device: number, reply: Reply): void;
    mkdir(path: string, mode: number, reply: Reply): void;
    symlink(target: string, path: string, reply: Reply): void;
    link(path: string, newPath: string, reply: Reply): void;
    unlink(path: string, reply: Reply): void;
    rmdir(path: string, reply: Reply): void;
    rename(path: string, newPath: string, reply: Reply): void;
    release(path: string, fd: number, reply: Reply): void;
    opendir(path: string, flags: number, reply: Reply<number>): void;
    readdir(
      path: string,
      reply: (error: number, names?: readonly string[], stats?: readonly NativeStat[]) => void,
    ): void;
    statfs(path: string, reply: Reply<NativeStatfs>): void;
    getxattr(path: string, name: string, position: number, reply: Reply<Buffer>): void;
    listxattr(path: string, reply: Reply<readonly string[]>): void;
  }

  /** Takes a request of libfuse's thread, whose own notes are in `thread`. */
  export type NativeHandler = (thread: Buffer, opcode: number, ...args: unknown[]) => void;

  /** What an operation hands back to the waiting thread. */
  export type Signal<T> = (result: number, value: T) => void;

  export default class Fuse {
    /** Called by `close`; replaceable. */
    static unmount(mountPoint: string, done: (error: Error | null) => void): void;
    constructor(
      mountPoint: string,
      operations: NativeOperations,
      options: { readonly fsname: string; readonly timeout: false },
    );
    mount(done: (error: Error | null) => void): void;
    close(done: (error: Error | null) => void): void;
    /** Handlers by opcode. */
    _makeHandlerArray(): (NativeHandler | undefined)[];
    // The steps between libfuse and the operations, which pass less on than they get.
    protected _op_getattr(signal: Signal<Uint32Array>, path: string): void;
    protected _op_fgetattr(signal: Signal<Uint32Array>, path: string, fd: number): void;
    protected _op_getxattr(signal: Signal<ArrayBufferLike>, path: string, name: string, room: Buffer): void;
    protected _op_listxattr(signal: Signal<ArrayBufferLike>, path: string, room: Buffer): void;
  }
}
