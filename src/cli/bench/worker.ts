/**
 * The measuring process: does one task from standard input and prints the result. A process of its own, because a call on
 * a mount that hangs cannot be given up, and because what a gateway or a bench does must not be in the reader's time.
 */
import { checksumFiles, surveyTree } from './survey.ts';
import { task as taskDocument } from './tasks.ts';
import { runTimed } from './workloads.ts';

const pieces: Buffer[] = [];
for await (const piece of process.stdin) pieces.push(piece as Buffer);
const task = taskDocument.parse(JSON.parse(Buffer.concat(pieces).toString()));

const result =
  'survey' in task ? surveyTree(task) : 'checksum' in task ? checksumFiles(task) : runTimed(task);
process.stdout.write(JSON.stringify(result));
