/** What the tests of identity share: who tries what, on the exported directory itself and on mounts of it. */
import { fileURLToPath } from 'node:url';
import { plainNode, runTool } from '../support/mounts.ts';
import type { ServerProcess } from '../support/server.ts';

const ATTEMPTS = fileURLToPath(new URL('./attempts.mjs', import.meta.url));

export interface Person {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

export type Attempt = readonly ['read' | 'list' | 'stat' | 'run', string];
export type Outcomes = Readonly<Record<string, string | number>>;

/** What comes of each attempt of each person, in this order, in a process of its own. */
export async function attemptAll(
  directory: string,
  who: readonly Person[],
  attempts: readonly Attempt[],
): Promise<Outcomes> {
  const asked = JSON.stringify({ directory, who, attempts });
  const { status, signal, stdout, stderr } = await runTool(...plainNode(ATTEMPTS, asked));
  if (status !== 0) throw new Error(`attempts in ${directory}: ${signal ?? status}\n${stderr}`);
  return JSON.parse(stdout.toString()) as Outcomes;
}

/** A way in which an export is reached. */
export interface Way {
  readonly name: string;
  readonly source: (server: ServerProcess) => string;
  readonly options: string;
}

export const WAYS: readonly Way[] = [
  { name: 'near, passthrough', source: () => 'tree', options: 'route=near' },
  { name: 'near, wire', source: () => 'tree', options: 'route=near,datapath=wire' },
  { name: 'network', source: ({ port }) => `nfs://127.0.0.1:${port}/tree`, options: 'route=network' },
];
