/** The gateways on this machine, by the file system each serves. */
import { z } from 'zod';
import { collectStatus, runtimeDirectory } from '../observe/status-socket.ts';

const runningMount = z.object({
  device: z.string(),
  pid: z.number(),
  options: z.array(z.string()),
});
export type RunningMount = z.infer<typeof runningMount>;

const endingMount = z.object({ pid: z.number(), dirtyBytes: z.number() });

/** Those that answer, by device (MAJ:MIN), which unlike a path names one mount in every namespace. */
export async function runningMounts(): Promise<ReadonlyMap<string, RunningMount>> {
  const { statuses } = await collectStatus(runtimeDirectory());
  return new Map(
    statuses.flatMap((status) => {
      const { success, data } = runningMount.safeParse(status);
      return success ? [[data.device, data] as const] : [];
    }),
  );
}

/** Whether a gateway has bytes that its server has not. */
export async function holdsWrittenBytes(pid: number): Promise<boolean> {
  const { statuses } = await collectStatus(runtimeDirectory());
  return statuses.some((status) => {
    const { success, data } = endingMount.safeParse(status);
    return success && data.pid === pid && data.dirtyBytes > 0;
  });
}
