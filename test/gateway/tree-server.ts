/** An NFS server in this process with a tree in memory, whose replies a test can bend, and a gateway on it. */
import { ServerLink } from '../../src/client/link.ts';
import type { FgdpPeer } from '../../src/client/session.ts';
import { DEFAULT_ATTRIBUTE_TIMES, type AttributeTimes } from '../../src/gateway/attribute-times.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import type { CallContext, NodeId } from '../../src/gateway/operations.ts';
import type { SillyJournal } from '../../src/gateway/silly-names.ts';
import { CREATEMODE3 } from '../../src/nfs3/nfs.ts';
import { NFS3_OK, NFSSTAT3, type nfs3error } from '../../src/nfs3/status.ts';
import { FTYPE3, TIME_HOW, type fattr3, type sattr3 } from '../../src/nfs3/types.ts';
import { ATTRIBUTES, scriptedSession, type Script, type Scripted } from '../client/scripted-server.ts';

export interface Node {
  readonly handle: Buffer;
  attributes: fattr3;
  readonly children: Map<string, Node> | undefined;
  target: Buffer | undefined;
  verifier: string | undefined;
}

type Named = 'CREATE' | 'MKDIR' | 'SYMLINK' | 'MKNOD';

const WRITE_NOTHING = { before: null, after: null };
const EVERYTHING = 0x3f;
/** Longer than any test here, in milliseconds. */
const STAY_MS = 60_000;

export class TreeServer {
  readonly root: Node;
  /** Bends the next replies: answers before anything is done. */
  readonly refusals: Partial<Record<keyof Script, nfs3error>> = {};
  /** Bends what a server may leave out. */
  leavesOut: { handle?: boolean; attributes?: boolean; wcc?: boolean } = {};
  /** Rights that ACCESS answers. */
  rights = EVERYTHING;
  /** Called before a procedure is carried out: somebody else may be first. */
  before: Partial<Record<keyof Script, () => unknown>> = {};
  readonly nodes = new Map<string, Node>();
  /** Whose the files are that are made, whoever asks. */
  owner = 0;
  /** Attributes that were set, as they were asked for. */
  readonly settings: sattr3[] = [];
  #clock = 100;
  #next = 1;

  constructor() {
    this.root = this.#node(FTYPE3.NF3DIR, 0o755, 'root');
  }

  #node(type: fattr3['type'], mode: number, handle = `handle ${this.#next}`): Node {
    this.#next += 1;
    const node: Node = {
      handle: Buffer.from(handle),
      attributes: { ...ATTRIBUTES, type, mode, size: 0n, fileid: BigInt(this.#next) },
      children: type === FTYPE3.NF3DIR ? new Map() : undefined,
      target: undefined,
      verifier: undefined,
    };
    this.nodes.set(handle, node);
    this.touch(node);
    return node;
  }

  /** Moves mtime and ctime. */
  touch(node: Node): void {
    this.#clock += 1;
    const now = { seconds: this.#clock, nseconds: 0 };
    node.attributes = { ...node.attributes, mtime: now, ctime: now };
  }

  /** Somebody else makes a file. */
  add(directory: Node, name: string, type: fattr3['type'] = FTYPE3.NF3REG): Node {
    const node = this.#node(type, 0o644);
    directory.children!.set(name, node);
    this.touch(directory);
    return node;
  }

  at(path: string): Node | undefined {
    return path.split('/').reduce<Node | undefined>((node, name) => node?.children?.get(name), this.root);
  }

  names(directory = this.root): string[] {
    return [...directory.children!.keys()].sort();
  }

  #find(handle: Uint8Array): Node | undefined {
    return this.nodes.get(Buffer.from(handle).toString());
  }

  #linked(node: Node, by: number): void {
    this.touch(node);
    const nlink = node.attributes.nlink + by;
    node.attributes = { ...node.attributes, nlink };
    if (nlink === 0) this.nodes.delete(node.handle.toString());
  }

  /** Does something in a directory, with its weak cache consistency data. */
  #change(
    procedure: keyof Script,
    handle: Uint8Array,
    act: (directory: Node) => nfs3error | 0,
  ): {
    status: nfs3error | 0;
    wcc: { before: null | Pick<fattr3, 'size' | 'mtime' | 'ctime'>; after: null | fattr3 };
  } {
    const refusal = this.refusals[procedure];
    if (refusal !== undefined) return { status: refusal, wcc: WRITE_NOTHING };
    const directory = this.#find(handle);
    if (directory === undefined) return { status: NFSSTAT3.NFS3ERR_STALE, wcc: WRITE_NOTHING };
    this.before[procedure]?.();
    const { size, mtime, ctime } = directory.attributes;
    const status = act(directory);
    if (this.leavesOut.wcc === true) return { status, wcc: WRITE_NOTHING };
    return { status, wcc: { before: { size, mtime, ctime }, after: directory.attributes } };
  }

  #make(
    procedure: Named,
    where: { dir: { data: Uint8Array }; name: Uint8Array },
    type: fattr3['type'],
    sattr: sattr3 | undefined,
    finish: (node: Node) => void = () => undefined,
  ) {
    const name = Buffer.from(where.name).toString('latin1');
    let made: Node | undefined;
    const { status, wcc } = this.#change(procedure, where.dir.data, (directory) => {
      if (directory.children!.has(name)) return NFSSTAT3.NFS3ERR_EXIST;
      made = this.add(directory, name, type);
      made.attributes = { ...made.attributes, mode: sattr?.mode ?? 0, uid: this.owner };
      finish(made);
      return NFS3_OK;
    });
    if (status !== NFS3_OK || made === undefined) {
      return { status: status as nfs3error, wcc };
    }
    return {
      status,
      obj: this.leavesOut.handle === true ? null : { data: made.handle },
      obj_attributes: this.leavesOut.attributes === true ? null : made.attributes,
      wcc,
    };
  }

  #remove(procedure: 'REMOVE' | 'RMDIR', where: { dir: { data: Uint8Array }; name: Uint8Array }) {
    const name = Buffer.from(where.name).toString('latin1');
    return this.#change(procedure, where.dir.data, (directory) => {
      const node = directory.children!.get(name);
      if (node === undefined) return NFSSTAT3.NFS3ERR_NOENT;
      if ((node.children?.size ?? 0) > 0) return NFSSTAT3.NFS3ERR_NOTEMPTY;
      directory.children!.delete(name);
      this.touch(directory);
      this.#linked(node, -1);
      return NFS3_OK;
    });
  }

  readonly script: Script = {
    GETATTR: ({ object }) => {
      const node = this.#find(object.data);
      if (node === undefined) return { status: NFSSTAT3.NFS3ERR_STALE };
      return { status: NFS3_OK, obj_attributes: node.attributes };
    },
    LOOKUP: ({ what }) => {
      const directory = this.#find(what.dir.data);
      const node = directory?.children?.get(Buffer.from(what.name).toString('latin1'));
      const dir_attributes = directory?.attributes ?? null;
      if (node === undefined) return { status: NFSSTAT3.NFS3ERR_NOENT, dir_attributes };
      return {
        status: NFS3_OK,
        object: { data: node.handle },
        obj_attributes: node.attributes,
        dir_attributes,
      };
    },
    ACCESS: ({ object, access }) => {
      const node = this.#find(object.data);
      if (node === undefined) return { status: NFSSTAT3.NFS3ERR_STALE, obj_attributes: null };
      return { status: NFS3_OK, obj_attributes: node.attributes, access: access & this.rights };
    },
    READLINK: ({ symlink }) => {
      const data = this.#find(symlink.data)?.target ?? Buffer.alloc(0);
      return { status: NFS3_OK, symlink_attributes: null, data };
    },
    READ: ({ file }) => {
      const node = this.#find(file.data);
      if (node === undefined) return { status: NFSSTAT3.NFS3ERR_STALE, file_attributes: null };
      return { status: NFS3_OK, file_attributes: node.attributes, count: 0, eof: true, data: [] };
    },
    SETATTR: ({ object, new_attributes, guard }) => {
      const { status, wcc } = this.#change('SETATTR', object.data, (node) => {
        if (guard !== null) return NFSSTAT3.NFS3ERR_NOT_SYNC;
        this.settings.push(new_attributes);
        this.touch(node);
        const { attributes } = node;
        const { mode, uid, gid, size, atime, mtime } = new_attributes;
        node.attributes = {
          ...attributes,
          mode: mode ?? attributes.mode,
          uid: uid ?? attributes.uid,
          gid: gid ?? attributes.gid,
          size: size ?? attributes.size,
          atime: atime.set_it === TIME_HOW.SET_TO_CLIENT_TIME ? atime.time : attributes.atime,
          mtime: mtime.set_it === TIME_HOW.SET_TO_CLIENT_TIME ? mtime.time : attributes.mtime,
        };
        return NFS3_OK;
      });
      return { status, wcc } as { status: 0; wcc: typeof wcc };
    },
    WRITE: ({ file, offset, count, stable }) => {
      const { status, wcc } = this.#change('WRITE', file.data, (node) => {
        const end = offset + BigInt(count);
        if (end > node.attributes.size) node.attributes = { ...node.attributes, size: end };
        this.touch(node);
        return NFS3_OK;
      });
      return { status, wcc, count, committed: stable, verf: Buffer.alloc(8) } as never;
    },
    COMMIT: ({ file }) => {
      const { status, wcc } = this.#change('COMMIT', file.data, () => NFS3_OK);
      return { status, wcc, verf: Buffer.alloc(8) } as never;
    },
    CREATE: ({ where, how }) => {
      if (how.mode === CREATEMODE3.EXCLUSIVE) {
        const verifier = Buffer.from(how.verf).toString('hex');
        const there = this.#find(where.dir.data)?.children?.get(Buffer.from(where.name).toString());
        if (there?.verifier === verifier && this.refusals.CREATE === undefined) {
          const done = { obj: { data: there.handle }, obj_attributes: there.attributes };
          return { status: NFS3_OK, ...done, wcc: WRITE_NOTHING };
        }
        return this.#make('CREATE', where, FTYPE3.NF3REG, undefined, (node) => {
          node.verifier = verifier;
        });
      }
      return this.#make('CREATE', where, FTYPE3.NF3REG, how.obj_attributes);
    },
    MKDIR: ({ where, attributes }) => this.#make('MKDIR', where, FTYPE3.NF3DIR, attributes),
    SYMLINK: ({ where, symlink_attributes, symlink_data }) =>
      this.#make('SYMLINK', where, FTYPE3.NF3LNK, symlink_attributes, (node) => {
        node.target = Buffer.from(symlink_data);
      }),
    MKNOD: ({ where, what }) =>
      this.#make(
        'MKNOD',
        where,
        what.type,
        'dev_attributes' in what ? what.dev_attributes : undefined,
        (node) => {
          if ('spec' in what) node.attributes = { ...node.attributes, rdev: what.spec };
        },
      ),
    REMOVE: ({ object }) => this.#remove('REMOVE', object) as never,
    RMDIR: ({ object }) => this.#remove('RMDIR', object) as never,
    LINK: ({ file, link }) => {
      const node = this.#find(file.data);
      const { status, wcc } = this.#change('LINK', link.dir.data, (directory) => {
        const name = Buffer.from(link.name).toString('latin1');
        if (node === undefined) return NFSSTAT3.NFS3ERR_STALE;
        if (directory.children!.has(name)) return NFSSTAT3.NFS3ERR_EXIST;
        directory.children!.set(name, node);
        this.touch(directory);
        this.#linked(node, 1);
        return NFS3_OK;
      });
      return { status, file_attributes: node?.attributes ?? null, linkdir_wcc: wcc } as never;
    },
    RENAME: ({ from, to }) => {
      const [name, newName] = [from.name, to.name].map((each) => Buffer.from(each).toString('latin1')) as [
        string,
        string,
      ];
      const target = this.#find(to.dir.data)!;
      const { size, mtime, ctime } = target.attributes;
      const { status, wcc } = this.#change('RENAME', from.dir.data, (source) => {
        const node = source.children!.get(name);
        if (node === undefined) return NFSSTAT3.NFS3ERR_NOENT;
        const replaced = target.children!.get(newName);
        if (replaced === node) return NFS3_OK;
        source.children!.delete(name);
        target.children!.set(newName, node);
        this.touch(source);
        if (target !== source) this.touch(target);
        this.touch(node);
        if (replaced !== undefined) this.#linked(replaced, -1);
        return NFS3_OK;
      });
      const whole = wcc.after !== null;
      const todir_wcc = whole ? { before: { size, mtime, ctime }, after: target.attributes } : wcc;
      return { status, fromdir_wcc: wcc, todir_wcc } as never;
    },
    READDIRPLUS: ({ dir, cookie }) => {
      const directory = this.#find(dir.data)!;
      const entries = [...directory.children!]
        .map(([name, node], index) => ({
          fileid: node.attributes.fileid,
          name: Buffer.from(name, 'latin1'),
          cookie: BigInt(index + 1),
          name_attributes: node.attributes,
          name_handle: { data: node.handle },
        }))
        .slice(Number(cookie));
      return {
        status: NFS3_OK,
        dir_attributes: directory.attributes,
        cookieverf: Buffer.alloc(8),
        entries,
        eof: true,
      };
    },
  };
}

export interface Mounted {
  readonly server: TreeServer;
  readonly gateway: Gateway;
  readonly link: ServerLink;
  /** Node ids whose attributes the kernel was told to ask for again. */
  readonly invalidated: NodeId[];
  readonly warnings: string[];
  /** Names of the procedures called since this was asked last. */
  readonly calls: () => string[];
  /** Ends the session; the next one is there at once. */
  readonly loseConnection: () => void;
}

interface Teardown {
  teardown: (action: () => unknown) => unknown;
}

export interface MountSettings {
  readonly server?: TreeServer;
  readonly journal?: SillyJournal;
  readonly times?: AttributeTimes;
  readonly script?: Script;
  /** Of a server that speaks FGDP; default: another. */
  readonly peer?: FgdpPeer;
}

/** A gateway on a server with an empty root; `script` takes the place of single procedures. */
export function mountTree(t: Teardown, settings: MountSettings = {}): Mounted {
  const server = settings.server ?? new TreeServer();
  const script = { ...server.script, ...settings.script };
  const sessions: Scripted[] = [];
  const open = (): Scripted => {
    const scripted = scriptedSession(script, 'network', settings.peer);
    sessions.push(scripted);
    return scripted;
  };
  const first = open();
  const link = new ServerLink(
    first.session,
    () => Promise.resolve(open().session),
    {
      hard: true,
      timeoutMs: 10_000,
      retransmissions: 1,
      pauses: { reconnectMinMs: 1, reconnectMaxMs: 1, jukeboxMs: 1 },
    },
    { onLost: () => undefined, onRestored: () => undefined, onTryFailed: () => undefined },
  );
  const invalidated: NodeId[] = [];
  const warnings: string[] = [];
  const gateway = new Gateway(
    {
      attributeTimes: settings.times ?? DEFAULT_ATTRIBUTE_TIMES,
      rsizeBytes: 65_536,
      wsizeBytes: 65_536,
      dataPath: 'wire',
    },
    {
      link,
      rootAttributes: server.root.attributes,
      routes: { why: 'a test', verdicts: [] },
      processOf: () => ({ uids: [1000], gids: [1000], groups: [], passesModes: false, maySetGroups: false }),
      sillyJournal: settings.journal,
      onWarning: (message) => {
        warnings.push(message);
      },
    },
  );
  gateway.init({
    openBacking: () => 95,
    closeBacking: () => undefined,
    invalidateAttributes: (nodeId) => {
      invalidated.push(nodeId);
    },
  });
  // The link's own pauses let a process end that has nothing else to do.
  const staying = setInterval(() => undefined, STAY_MS);
  t.teardown(() => {
    clearInterval(staying);
    link.close();
  });
  let seen = 0;
  const calls = (): string[] => {
    const all = sessions.flatMap((session) => session.calls.map(({ procedure }) => procedure));
    const fresh = all.slice(seen);
    seen = all.length;
    return fresh;
  };
  return {
    server,
    gateway,
    link,
    invalidated,
    warnings,
    calls,
    loseConnection: () => sessions.at(-1)?.die(),
  };
}

export function context(signal: AbortSignal = new AbortController().signal): CallContext {
  return { uid: 1000, gid: 1000, pid: 1, signal };
}

export const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

/** The success of an operation; throws with the errno of a failure. */
export async function ok<T>(answer: T | number | Promise<T | number>): Promise<T> {
  const outcome = await answer;
  if (typeof outcome === 'number') throw new Error(`errno ${outcome}`);
  return outcome;
}

/** Lets what was begun in the background come to its end. */
export async function quiet({ link }: Mounted): Promise<void> {
  for (let idleTurns = 0; idleTurns < 3;) {
    await new Promise(setImmediate);
    idleTurns = link.session.callsInFlight === 0 ? idleTurns + 1 : 0;
  }
}
