/** Tells when files change that somebody keeps copies of: by inotify(7), and by their attributes whenever these are looked at. */
import fs from 'node:fs';
import { statFd, type FileStatus } from '../system/files.ts';
import { becomeServer } from '../system/identity.ts';
import { WATCHED_FILES_MAX } from './limits.ts';

/** What changes with a file's content: its size, and ctime, which every write moves. */
export type FileVersion = Pick<FileStatus, 'ctimeNs' | 'size'>;

export function isSameVersion(a: FileVersion, b: FileVersion): boolean {
  return a.ctimeNs === b.ctimeNs && a.size === b.size;
}

interface WatchedFile {
  readonly watcher: fs.FSWatcher;
  readonly listeners: Set<() => void>;
  /** As it was seen last. */
  version: FileVersion;
}

export interface ChangeWatch {
  stop(): void;
}

export class FileChanges {
  readonly #files = new Map<string, WatchedFile>();

  /** Files watched now. */
  get size(): number {
    return this.#files.size;
  }

  /**
   * Calls `onChange` for every change of a file from now on, soon after it: writes, truncation, and changes of its
   * attributes. What is stored through a mapping shows only in its ctime. The descriptor may be closed afterwards.
   *
   * @param key names the file, the same for all who watch it
   * @returns undefined when it cannot be watched: too many are, or the kernel refuses
   */
  watch(key: string, fd: number, onChange: () => void): ChangeWatch | undefined {
    const file = this.#files.get(key) ?? this.#begin(key, fd);
    if (file === undefined) return undefined;
    // Each watch has a function of its own, so that one may be stopped without the others.
    const listener = (): void => {
      onChange();
    };
    file.listeners.add(listener);
    return {
      stop: () => {
        if (!file.listeners.delete(listener) || file.listeners.size > 0) return;
        this.#end(key, file);
      },
    };
  }

  /** Somebody looked at a file's attributes: another version than before is a change. */
  saw(key: () => string, status: FileVersion): void {
    if (this.#files.size === 0) return;
    const file = this.#files.get(key());
    if (file === undefined) return;
    const before = file.version;
    file.version = { ctimeNs: status.ctimeNs, size: status.size };
    if (!isSameVersion(before, status)) tell(file);
  }

  /** A file was changed by us: its version need not show it, where the clock of its times is coarse. */
  changed(key: string): void {
    const file = this.#files.get(key);
    if (file !== undefined) tell(file);
  }

  close(): void {
    for (const [key, file] of [...this.#files]) this.#end(key, file);
  }

  #begin(key: string, fd: number): WatchedFile | undefined {
    if (this.#files.size >= WATCHED_FILES_MAX) return undefined;
    let watcher: fs.FSWatcher;
    try {
      // The kernel lets watch only what one may read, and the server may.
      becomeServer();
      watcher = fs.watch(`/proc/self/fd/${fd}`, { persistent: false });
    } catch {
      return undefined;
    }
    // As it is once it is watched: what changed before is for whoever watches to see, what changes later is told.
    const { ctimeNs, size } = statFd(fd);
    const file: WatchedFile = { watcher, listeners: new Set(), version: { ctimeNs, size } };
    watcher.on('change', () => {
      tell(file);
    });
    // Nothing more would be heard of it, so whoever listens is to look anew.
    watcher.on('error', () => {
      tell(file);
      this.#end(key, file);
    });
    this.#files.set(key, file);
    return file;
  }

  #end(key: string, file: WatchedFile): void {
    if (this.#files.get(key) === file) this.#files.delete(key);
    file.listeners.clear();
    file.watcher.close();
  }
}

function tell(file: WatchedFile): void {
  for (const listener of [...file.listeners]) listener();
}
