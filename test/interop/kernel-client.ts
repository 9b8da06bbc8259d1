/**
 * The Linux kernel's own NFSv3 client, for the interoperability tests: a whole kernel as a process (user-mode-linux)
 * that sees this machine's files read-only as its root, mounts what a server in its network exports, and runs steps.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GUEST_ADDRESS, SERVER_ADDRESS, TAP_DEVICE } from './network-namespace.ts';

type Milliseconds = number;

/** A guest boots within a second; what it does after that takes a few. */
const GUEST_LIMIT: Milliseconds = 120_000;
const GUEST_MEMORY = '192M';
const MODULES = '/usr/lib/uml/modules';
const CLIENT_MODULE = 'kernel/fs/nfs/nfsv3.ko';
const INIT = fileURLToPath(new URL('./kernel-client.init.sh', import.meta.url));

const PROGRAMS = [
  { package: 'user-mode-linux', program: 'linux.uml' },
  { package: 'kmod', program: 'insmod' },
  { package: 'iproute2', program: 'ip' },
  { package: 'ethtool', program: 'ethtool' },
  { package: 'util-linux', program: 'setpriv' },
  { package: 'bash', program: 'bash' },
] as const;

/** For tap's `skip`: false when a guest kernel can run here, else the reason and its remedy. */
export function skipWithoutKernelClient(): string | false {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`;
  const has = (program: string) =>
    spawnSync('sh', ['-c', `command -v ${program}`], { env: { ...process.env, PATH: path } }).status === 0;
  const missing = PROGRAMS.filter(({ program }) => !has(program)).map((one) => one.package);
  if (missing.length > 0) return `needs a kernel to run as a guest: apt-get install ${missing.join(' ')}`;
  if (process.getuid?.() !== 0) return 'needs root, for a network namespace with a tap device';
  const tap = spawnSync('unshare', ['--net', 'ip', 'tuntap', 'add', 'dev', TAP_DEVICE, 'mode', 'tap'], {
    encoding: 'utf8',
  });
  if (tap.status !== 0) {
    return `a network namespace with a tap device cannot be had here (${tap.stderr.trim()}): needs CAP_NET_ADMIN and /dev/net/tun`;
  }
  return false;
}

/** The files of the NFSv3 client's modules, each behind what it depends on. */
function clientModules(): string[] {
  const [version = ''] = readdirSync(MODULES);
  const directory = join(MODULES, version);
  const line = readFileSync(join(directory, 'modules.dep'), 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${CLIENT_MODULE}:`));
  if (line === undefined) throw new Error(`${directory} has no ${CLIENT_MODULE}`);
  const [module = '', dependencies = ''] = line.split(':');
  // modules.dep lists what is needed first last.
  return [module, ...dependencies.trim().split(' ')].reverse().map((file) => join(directory, file));
}

export interface GuestAnswer {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface GuestOptions {
  /** An empty directory for this run. */
  readonly work: string;
  /** The network namespace with the tap device. */
  readonly network: string;
  /** Where the server listens at SERVER_ADDRESS. */
  readonly port: number;
  /** Shell scripts by name, run in this order, each in a shell of its own; see kernel-client.init.sh. */
  readonly steps: Readonly<Record<string, string>>;
}

/*
 * The first process of a process namespace, so that the processes in which the guest's programs run end with it. It
 * ends when the guest does, or when its standard input closes: on the death of the test.
 */
const SCRIPT = `
cat <&0 >/dev/null &
linux.uml "$@" </dev/null &
wait -n
`;

/**
 * Boots the guest, has it run the steps, and returns their answers by name when it has switched itself off.
 *
 * @throws Error with the end of its console when it does not do so within 120 s, or did not get through its steps
 */
export async function runKernelClient(options: GuestOptions): Promise<ReadonlyMap<string, GuestAnswer>> {
  const { work, network, port } = options;
  const [steps, answers] = [join(work, 'steps'), join(work, 'answers')];
  mkdirSync(steps);
  mkdirSync(answers);
  const names = Object.entries(options.steps).map(([name, script], index) => {
    const file = `${String(index).padStart(2, '0')}-${name}`;
    writeFileSync(join(steps, file), script);
    return [name, file] as const;
  });
  const guest = spawn(
    'nsenter',
    [
      [`--net=${network}`, 'unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
      ['bash', '-c', SCRIPT, 'guest'],
      [`mem=${GUEST_MEMORY}`, `uml_dir=${work}`, 'umid=guest', 'con=null', 'con0=null,fd:1', 'ssl=null'],
      ['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', 'init=/bin/sh'],
      [`eth0=tuntap,${TAP_DEVICE},02:00:00:00:00:02`],
      [`NM_WORK=${work}`, `NM_MODULES=${clientModules().join(':')}`],
      [`NM_ADDRESS=${GUEST_ADDRESS}`, `NM_SERVER=${SERVER_ADDRESS}`, `NM_PORT=${port}`],
      ['--', INIT],
    ].flat(),
    { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, TMPDIR: work } },
  );
  guest.stdin.on('error', () => undefined);
  let console = '';
  for (const stream of [guest.stdout, guest.stderr]) {
    stream.setEncoding('latin1').on('data', (text: string) => (console += text));
  }
  const watchdog = setTimeout(() => guest.kill('SIGKILL'), GUEST_LIMIT);
  await once(guest, 'close');
  clearTimeout(watchdog);

  const answer = (file: string): GuestAnswer => {
    const of = (what: string) => join(answers, `${file}.${what}`);
    if (!existsSync(of('status'))) {
      throw new Error(`the guest did not finish ${file}:\n${console.split('\n').slice(-40).join('\n')}`);
    }
    return {
      status: Number(readFileSync(of('status'), 'utf8')),
      stdout: readFileSync(of('out')),
      stderr: readFileSync(of('err'), 'utf8'),
    };
  };
  const boot = answer('boot');
  if (boot.status !== 0)
    throw new Error(`the guest has no NFS client or network: ${boot.stderr}\n${console}`);
  return new Map(names.map(([name, file]) => [name, answer(file)]));
}
