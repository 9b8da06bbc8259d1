/** Looks at what was written where it lies, not through who wrote it. */
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { pageOrder } from '../../src/cli/bench/page-order.ts';
import { fillPiece, makePiece, PAGE_BYTES } from './content.ts';
import { FILE_NAME, type WriteTask } from './tasks.ts';

/**
 * @param directory the task's, on the server's disk
 * @param unpacked what the archive was made of
 * @throws Error when it holds anything else than the task says
 */
export function checkWritten(task: WriteTask, directory: string, unpacked: string): void {
  if (task.workload === 'untar') {
    const { status, stdout, stderr } = spawnSync('diff', ['-r', unpacked, directory], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`what tar unpacked differs: ${`${stdout}${stderr}`.split('\n')[0]}`);
    return;
  }
  const pages = task.bytes / PAGE_BYTES;
  const wanted =
    task.workload === 'random-write' ? new Set(pageOrder(pages, task.pages, task.seed)) : undefined;
  const fd = openSync(`${directory}/${FILE_NAME}`, 'r');
  try {
    const { size } = fstatSync(fd);
    if (size !== task.bytes) throw new Error(`${task.bytes} bytes were written, ${size} are there`);
    const [expected, found, hole] = [
      makePiece(PAGE_BYTES),
      Buffer.alloc(PAGE_BYTES),
      Buffer.alloc(PAGE_BYTES),
    ];
    for (let page = 0; page < pages; page += 1) {
      readSync(fd, found, 0, PAGE_BYTES, page * PAGE_BYTES);
      fillPiece(expected, page, task.seed);
      const isWritten = wanted?.has(page) ?? true;
      if (!found.equals(isWritten ? expected : hole)) throw new Error(`page ${page} is not what was written`);
    }
  } finally {
    closeSync(fd);
  }
}
