/**
 * Mounts of users who are not root, in a mount namespace of their own: there /dev/fuse is a device node that everybody may
 * open, as udev makes it, whatever it is outside. Needs root for the namespace and the node.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  MAIN,
  cannotMountHere,
  notForOtherUsers,
  runTool,
  within,
  type Ending,
  type Teardown,
  type ToolResult,
} from './mounts.ts';

/** Who is not root: `nobody` of every distribution. */
export const USER_ID = 65_534;
/** Watchdog: far above what anything here takes. */
const LIMIT_MS = 30_000;
/** How often something is looked at again while a test waits for it. */
const INTERVAL_MS = 50;

/** For tap's `skip`: why users cannot mount here, or false. */
export const noUserMounts: string | false = cannotMountHere || notForOtherUsers || whyNoUserMounts();
/** For tap's `skip`: why there are no user namespaces here, or false. */
export const noUserNamespaces: string | false = cannotMountHere || notForOtherUsers || whyNoUserNamespaces();

function whyNoUserMounts(): string | false {
  for (const [program, from] of [
    ['fusermount3', 'fuse3'],
    ['setpriv', 'util-linux'],
    ['nsenter', 'util-linux'],
  ] as const) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) {
      return `needs ${program}: apt-get install ${from}`;
    }
  }
  return false;
}

function whyNoUserNamespaces(): string | false {
  const id = String(USER_ID);
  const { status, stderr } = spawnSync(
    'setpriv',
    ['--reuid', id, '--regid', id, '--clear-groups', 'unshare', '-U', '-r', '-m', 'true'],
    { encoding: 'utf8' },
  );
  return status === 0 ? false : `users may make no user namespaces here: ${stderr.trim()}`;
}

export type Who = 'root' | 'user';

/** A program that runs on. */
export interface Running {
  readonly pid: number;
  readonly log: () => string;
  readonly ended: Promise<Ending>;
  /** Waits until its log has it. */
  readonly says: (what: string) => Promise<void>;
  /** Sends a signal and waits until it is gone. */
  readonly kill: (signal: NodeJS.Signals) => Promise<Ending>;
}

export interface UserPlace {
  /** The user's own directory, and HOME. */
  readonly home: string;
  /** An empty directory of the user's to mount at. */
  readonly point: string;
  /** Runs a program inside to its end. */
  readonly run: (who: Who, program: string, ...args: string[]) => Promise<ToolResult>;
  /** Runs the built command line inside to its end. */
  readonly nearmount: (who: Who, ...args: string[]) => Promise<ToolResult>;
  /** Starts a program inside; it is killed with the test. */
  readonly start: (who: Who, program: string, ...args: string[]) => Running;
  /** Runs again until it is as wanted. */
  readonly until: (isSo: () => Promise<boolean>, what: string) => Promise<void>;
  /** Whether something is mounted at `point`; asks /proc, not the mount. */
  readonly isMounted: () => Promise<boolean>;
}

const PREPARE = `
  mount -t tmpfs -o mode=755,size=1m device "$0" &&
  mknod -m 666 "$0/fuse" c 10 229 && mount --bind "$0/fuse" /dev/fuse && echo ready && exec cat`;

/** Makes the namespace below `top`; it and what is mounted in it are gone with the test. */
export async function openUserPlace(t: Teardown, top: string): Promise<UserPlace> {
  const devices = join(top, 'devices');
  const home = join(top, 'home');
  const point = join(home, 'mnt');
  mkdirSync(devices);
  for (const directory of [home, point]) {
    mkdirSync(directory);
    chownSync(directory, USER_ID, USER_ID);
  }
  const holder = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', PREPARE, devices], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const children = new Set<ChildProcess>();
  t.teardown(async () => {
    for (const child of children) child.kill('SIGKILL');
    await runTool('nsenter', ['-t', String(holder.pid), '-m', 'umount', '-l', point]);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  });
  const ready = once(holder.stdout, 'data');
  await within(Promise.race([ready, once(holder, 'exit')]), LIMIT_MS, () => 'no mount namespace');
  if (holder.exitCode !== null) throw new Error('the mount namespace could not be made');

  const id = String(USER_ID);
  const inside = (who: Who, program: string, args: readonly string[]): [string, string[]] => {
    const as = who === 'root' ? [] : ['setpriv', '--reuid', id, '--regid', id, '--clear-groups'];
    const unset = ['NODE_OPTIONS', 'NEARMOUNT_RUNTIME_DIR', 'NEARMOUNT_COLOCATION', 'XDG_STATE_HOME'];
    const environment = [
      ...unset.flatMap((name) => ['-u', name]),
      ...[`HOME=${home}`, `XDG_RUNTIME_DIR=${join(home, 'run')}`],
    ];
    return ['nsenter', ['-t', String(holder.pid), '-m', ...as, 'env', ...environment, program, ...args]];
  };
  const run = (who: Who, program: string, ...args: string[]): Promise<ToolResult> =>
    runTool(...inside(who, program, args), { cwd: '/' });
  const until = async (isSo: () => Promise<boolean>, what: string): Promise<void> => {
    const end = performance.now() + LIMIT_MS;
    while (!(await isSo())) {
      if (performance.now() > end) throw new Error(`never: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    }
  };
  const start = (who: Who, program: string, ...args: string[]): Running => {
    const child = spawn(...inside(who, program, args), { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    children.add(child);
    let log = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (log += text));
    const ended = new Promise<Ending>((resolve) => {
      child.once('close', (status, signal) => {
        children.delete(child);
        resolve({ status, signal });
      });
    });
    const says = async (what: string): Promise<void> => {
      await until(async () => {
        if (log.includes(what)) return true;
        if (child.exitCode !== null) throw new Error(`${program} ended (${child.exitCode}):\n${log}`);
        return false;
      }, `${program} says ${what}`);
    };
    const kill = (signal: NodeJS.Signals): Promise<Ending> => {
      child.kill(signal);
      return within(ended, LIMIT_MS, () => `${signal} does not end ${program}:\n${log}`);
    };
    return { pid: child.pid ?? 0, log: () => log, ended, says, kill };
  };
  return {
    home,
    point,
    run,
    start,
    until,
    nearmount: (who, ...args) => run(who, process.execPath, MAIN, ...args),
    isMounted: async () =>
      (await run('root', 'grep', '-F', ` ${point} `, '/proc/self/mountinfo')).status === 0,
  };
}
