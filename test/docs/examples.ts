/**
 * The examples of a document: blocks marked `console`, in which `server$`, `guest$` and `user$` are shells that stay
 * open, and the lines that follow a command are what it prints. A document is read strictly, so that no block can
 * be left out by a slip of the pen.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { within } from '../support/mounts.ts';

/** How the bytes of an example's files move: the first two over a near route, the last over the network. */
export type DataPath = 'passthrough' | 'mapped' | 'wire';
const DATA_PATHS: readonly DataPath[] = ['passthrough', 'mapped', 'wire'];
export type Actor = 'server' | 'guest' | 'user';

export interface Step {
  readonly actor: Actor;
  readonly command: string;
  /** What it prints, stdout and stderr, each line with its end. */
  readonly output: string;
}

export interface Example {
  /** The heading it stands under, and its line. */
  readonly title: string;
  readonly line: number;
  readonly paths: readonly DataPath[];
  /** Whether files are opened for writing, which is by wire also where reading is not. */
  readonly writing: boolean;
  /** Mount options it needs. */
  readonly options: string;
  readonly steps: readonly Step[];
}

const FENCE = /^ *```(.*)$/;
const PROMPT = /^(server|guest|user)\$ (.*)$/;
const INFO = /^console((?: (?:passthrough|mapped|wire))+)( writing)?(?: -o (\S+))?$/;

/**
 * The examples of a document, in their order.
 *
 * @throws Error naming the line of a block that is not one, or names no data path
 */
export function readExamples(text: string): Example[] {
  const examples: Example[] = [];
  let title = '';
  let open: { line: number; info: string; lines: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = FENCE.exec(line);
    if (open === undefined) {
      if (fence !== null) open = { line: index + 1, info: fence[1] ?? '', lines: [] };
      else if (line.startsWith('#')) title = line.replace(/^#+ /, '');
    } else if (fence === null) {
      open.lines.push(line);
    } else {
      examples.push(readBlock(title, open));
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`line ${open.line}: the block does not end`);
  return examples;
}

function readBlock(title: string, block: { line: number; info: string; lines: readonly string[] }): Example {
  const fail = (problem: string): never => {
    throw new Error(`line ${block.line}, "${title}": ${problem}`);
  };
  const info = INFO.exec(block.info);
  if (info === null)
    return fail(`"${block.info}" is not "console passthrough|mapped|wire ... [writing] [-o OPTIONS]"`);
  const paths = DATA_PATHS.filter((path) => info[1]?.split(' ').includes(path));
  const steps: { actor: Actor; command: string; output: string }[] = [];
  for (const line of block.lines) {
    const prompt = PROMPT.exec(line);
    const last = steps.at(-1);
    if (prompt !== null) {
      steps.push({ actor: prompt[1] as Actor, command: prompt[2] ?? '', output: '' });
    } else if (last === undefined) {
      fail(`it does not begin with a prompt: ${line}`);
    } else if (line.startsWith('> ') && last.output === '') {
      last.command += `\n${line.slice(2)}`;
    } else {
      last.output += `${line}\n`;
    }
  }
  if (!steps.some(({ output }) => output !== '')) fail('it shows no output');
  const writing = info[2] !== undefined;
  return { title, line: block.line, paths, writing, options: info[3] ?? '', steps };
}

/** A user's command, with what happens on a mount that does not answer. */
const COMMAND_LIMIT_MS = 30_000;

export interface Shell {
  /** Runs a command and returns what it printed. */
  readonly run: (command: string) => Promise<string>;
  readonly close: () => Promise<void>;
}

/**
 * A shell in `directory` that stays open: files it opens and programs it starts live on from command to command.
 *
 * @param enter the program and arguments that run it, such as setpriv; may be empty
 */
export async function startShell(
  enter: readonly string[],
  directory: string,
  env: NodeJS.ProcessEnv,
): Promise<Shell> {
  const [program, ...args] = ['env', ...enter, 'bash', '--norc', '--noprofile'];
  const child = spawn(program, args, {
    cwd: '/',
    // In a group of its own, so that what it started ends with it.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', LC_ALL: 'C', ...env },
  });
  child.stdin.on('error', () => undefined);
  let output = '';
  let onOutput = (): void => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      onOutput();
    });
  }
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const run = async (command: string): Promise<string> => {
    const mark = randomUUID();
    output = '';
    const printed = new Promise<string>((resolve, reject) => {
      onOutput = () => {
        const end = output.indexOf(`${mark}\n`);
        if (end >= 0) resolve(output.slice(0, end));
      };
      void ended.then(() => reject(new Error(`the shell ended at: ${command}\n${output}`)));
    });
    child.stdin.write(`{ ${command}\n} 2>&1\necho ${mark}\n`);
    return within(printed, COMMAND_LIMIT_MS, () => `no end of: ${command}\n${output}`);
  };
  const close = async () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // ended by itself
    }
    await within(ended, COMMAND_LIMIT_MS, () => 'a shell cannot be killed');
  };
  // Awaited: the first command may be one that stops the server.
  const complaint = await run(`cd '${directory}'`);
  if (complaint !== '') throw new Error(complaint);
  return { run, close };
}
