/** What others change in exported trees, as the kernel tells it: fanotify(7) on the whole file system of each. */
import { ErrnoError } from '../system/errno.ts';
import {
  FAN_ATTRIB,
  FAN_CLOSE_WRITE,
  FAN_CREATE,
  FAN_DELETE,
  FAN_MODIFY,
  FAN_MOVED_FROM,
  FAN_MOVED_TO,
  FAN_ONDIR,
  FAN_Q_OVERFLOW,
  Fanotify,
  type FanotifyEvent,
  type FileId,
} from '../system/fanotify.ts';
import { O_DIRECTORY, O_RDONLY } from '../system/constants.ts';
import { closeFd, fstatfs, openat } from '../system/files.ts';
import type { KernelHandle } from '../system/handles.ts';
import { becomeServer } from '../system/identity.ts';
import { watchReadable, type Watch } from '../system/watch.ts';
import type { ExportTree } from './export-tree.ts';
import { fileKeyOfParts, fitsFileHandle } from './file-handle.ts';
import { CHANGES_GATHERED_MS } from './limits.ts';

const NAME_EVENTS = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
const FILE_EVENTS = FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE;
const EVENTS = NAME_EVENTS | FILE_EVENTS | FAN_ONDIR;

/** The name by which the kernel tells of a directory itself. */
const ITSELF = Buffer.from('.');

/** Told within one turn of everything that was read at once. Files are named by their keys: file-handle.ts. */
export interface TreeListener {
  /** Content or attributes of a file or directory, or it was deleted. It may be of no interest, or of no export at all. */
  changed(tree: ExportTree, fileKey: string): void;
  /** A name was made, removed, or leads to another file. The name is good until the listener returns. */
  nameChanged(tree: ExportTree, directoryKey: string, name: Buffer): void;
  /** Changes were missed, in any of the trees. */
  lost(reason: string): void;
}

interface WatchedTree {
  /** Of the root, our own: the tree may be closed before it is let go of here. */
  readonly fd: number;
  readonly fsid: bigint;
  /** How often add was called for it. */
  uses: number;
}

/**
 * Changes that this process makes are left out: they are known here, and told by Store.ownChanges. What is stored through a
 * mapping shows when the file is closed. Needs CAP_SYS_ADMIN; without trees it costs nothing.
 */
export class TreeWatch {
  readonly #listener: TreeListener;
  readonly #trees = new Map<ExportTree, WatchedTree>();
  #fanotify: Fanotify | undefined;
  #watch: Watch | undefined;
  #pause: NodeJS.Timeout | undefined;

  constructor(listener: TreeListener) {
    this.#listener = listener;
  }

  /** Trees watched now. */
  get size(): number {
    return this.#trees.size;
  }

  /**
   * Watches a tree until remove was called as often.
   *
   * @returns why it cannot be watched, for people; undefined where it is
   */
  add(tree: ExportTree): string | undefined {
    const known = this.#trees.get(tree);
    if (known !== undefined) {
      known.uses += 1;
      return undefined;
    }
    if (tree.handles !== 'kernel')
      return `the file system of export ${tree.name} has no file handles of its own`;
    const { fsid } = fstatfs(tree.rootFd);
    if (fsid === 0n) return `the file system of export ${tree.name} has no id`;
    becomeServer();
    const fd = openat(tree.rootFd, '.', O_RDONLY | O_DIRECTORY);
    try {
      this.#fanotify ??= new Fanotify();
      this.#fanotify.mark(fd, EVENTS);
    } catch (error) {
      closeFd(fd);
      if (this.#trees.size === 0) this.#end();
      if (!(error instanceof ErrnoError)) throw error;
      if (error.code === 'EPERM')
        return 'the server lacks CAP_SYS_ADMIN, without which it hears of no changes';
      return `changes in export ${tree.name} cannot be watched (${error.message})`;
    }
    this.#trees.set(tree, { fd, fsid, uses: 1 });
    if (this.#pause === undefined) this.#listen();
    return undefined;
  }

  remove(tree: ExportTree): void {
    const watched = this.#trees.get(tree);
    if (watched === undefined) return;
    watched.uses -= 1;
    if (watched.uses > 0) return;
    this.#trees.delete(tree);
    if (this.#trees.size === 0) this.#end();
    else if (![...this.#trees.values()].some(({ fsid }) => fsid === watched.fsid)) this.#unmark(watched.fd);
    closeFd(watched.fd);
  }

  close(): void {
    for (const { fd } of this.#trees.values()) closeFd(fd);
    this.#trees.clear();
    this.#end();
  }

  #unmark(fd: number): void {
    try {
      this.#fanotify?.unmark(fd, EVENTS);
    } catch (error) {
      // Then events of no interest go on to come.
      if (!(error instanceof ErrnoError)) throw error;
    }
  }

  #end(): void {
    this.#watch?.stop();
    this.#watch = undefined;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#fanotify?.close();
    this.#fanotify = undefined;
  }

  /** The first change is told at once. What follows waits a little: a busy writer would wake the server up for each of its calls. */
  #listen(): void {
    if (this.#watch !== undefined || this.#fanotify === undefined) return;
    this.#watch = watchReadable(this.#fanotify.fd, () => {
      this.#watch?.stop();
      this.#watch = undefined;
      this.#readAll();
      if (this.#fanotify === undefined) return;
      this.#pause = setTimeout(() => {
        this.#pause = undefined;
        this.#listen();
      }, CHANGES_GATHERED_MS);
    });
  }

  #readAll(): void {
    try {
      for (;;) {
        const events = this.#fanotify?.read() ?? [];
        if (events.length === 0) return;
        for (const event of events) this.#tell(event);
      }
    } catch (error) {
      // What was to be told is not known any more.
      this.#listener.lost(`the queue of changes cannot be read (${String(error)})`);
    }
  }

  #tell({ mask, pid, object, directory, name }: FanotifyEvent): void {
    if ((mask & FAN_Q_OVERFLOW) !== 0) {
      this.#listener.lost('more changed at once than the kernel keeps (fs.fanotify.max_queued_events)');
      return;
    }
    if (pid === process.pid) return;
    if ((mask & NAME_EVENTS) !== 0 && directory !== undefined && name !== undefined) {
      this.#inTrees(directory, (tree, key) => {
        this.#listener.nameChanged(tree, key, name);
      });
    }
    // A change of a name moves its file's ctime, too.
    const isItself = object === undefined && name?.equals(ITSELF) === true;
    const changed = isItself ? directory : object;
    if (changed === undefined) return;
    this.#inTrees(changed, (tree, key) => {
      this.#listener.changed(tree, key);
    });
  }

  /** The key that a file has, or would have, in each export of its file system. */
  #inTrees({ fsid, handle }: FileId, tell: (tree: ExportTree, fileKey: string) => void): void {
    if (!fitsFileHandle(handle)) return;
    for (const [tree, watched] of this.#trees) {
      if (watched.fsid === fsid) tell(tree, keyIn(tree, handle));
    }
  }
}

function keyIn(tree: ExportTree, { type, bytes }: KernelHandle): string {
  return fileKeyOfParts(type, tree.id, bytes);
}
