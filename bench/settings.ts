/** What the benchmark is told, handed from its outer to its inner process. */
import { z } from 'zod';

export const settingsDocument = z.object({
  rounds: z.number(),
  seconds: z.number(),
  quick: z.boolean(),
  largeBytes: z.number(),
  randomBytes: z.number(),
  smallFiles: z.number(),
  treeFiles: z.number(),
  writeBytes: z.number(),
  /** Names of contenders; all when empty. */
  only: z.array(z.string()),
  workDirectory: z.string(),
  /** Absolute paths of what is written. */
  json: z.string().optional(),
  markdown: z.string().optional(),
});
export type BenchSettings = z.infer<typeof settingsDocument>;
