/** The smallest pass-through with fuse-native: asynchronous fs calls behind each request. Arguments: source, mount point. */
import { close, lstat, open, read, readdir } from 'node:fs';
import { requireFromPackage } from './package-root.ts';

const EIO = 5;
const O_RDONLY = 0;

type Answer<T> = (status: number, result?: T) => void;
interface Native {
  mount(done: (error: Error | null) => void): void;
  unmount(done: (error: Error | null) => void): void;
}
type NativeClass = new (point: string, operations: object, options: object) => Native;

const [source = '', point = ''] = process.argv.slice(2);
const Fuse = requireFromPackage('fuse-native') as NativeClass;

/** Negative errno, as the package wants it. */
function failure(error: NodeJS.ErrnoException): number {
  return error.errno ?? -EIO;
}

/** Answers with what a callback of fs was given. */
function passing<T>(answer: Answer<T>): (error: NodeJS.ErrnoException | null, result: T) => void {
  return (error, result) => (error === null ? answer(0, result) : answer(failure(error)));
}

const operations = {
  getattr: (path: string, answer: Answer<object>) => lstat(source + path, passing(answer)),
  readdir: (path: string, answer: Answer<string[]>) => readdir(source + path, passing(answer)),
  open: (path: string, _flags: number, answer: Answer<number>) =>
    open(source + path, O_RDONLY, passing(answer)),
  release: (_path: string, fd: number, answer: (status: number) => void) =>
    close(fd, (error) => answer(error === null ? 0 : failure(error))),
  // Here the answer's only value is the number of bytes, or the negative errno.
  read: (
    _path: string,
    fd: number,
    buffer: Buffer,
    length: number,
    position: number,
    answer: (lengthOrError: number) => void,
  ) =>
    read(fd, buffer, 0, length, position, (error, bytesRead) =>
      answer(error === null ? bytesRead : failure(error)),
    ),
};

const mounted = new Fuse(point, operations, { force: true, fsname: 'nearmount-bench,big_writes' });
mounted.mount((error) => {
  if (error !== null) throw error;
});
process.once('SIGTERM', () => mounted.unmount(() => process.exit()));
