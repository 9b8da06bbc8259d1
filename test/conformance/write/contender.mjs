/**
 * One of several processes at the same files, see contention.mjs: a task is one JSON document a line, {enter: directory} or
 * {what: name}, and so is its answer. Its argument is its number.
 */
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { attempt, withFile } from './facts.mjs';
import { withSharedMap } from './system-calls.mjs';

const ROUNDS = 20;
const PROCESSES = 4;
const BLOCK = 4_096;
const { O_WRONLY, O_APPEND, O_CREAT, O_SYNC } = fs.constants;
const number = process.argv[2];

const rounds = (action) => Array.from({ length: ROUNDS }, (_, round) => attempt(() => action(round)));

const append = (lines, flags) =>
  withFile('appended', O_WRONLY | O_APPEND | O_CREAT | flags, (fd) => {
    for (let round = 0; round < lines; round += 1)
      fs.writeSync(fd, `process ${number}, line ${round}, ${'x'.repeat(round)}\n`);
  });

const tasks = {
  append: () => append(100, 0),
  'append-sync': () => append(10, O_SYNC),
  create: () => rounds((round) => withFile(`file-${round}`, 'wx', () => 'made')),
  mkdir: () => rounds((round) => fs.mkdirSync(`directory-${round}`)),
  link: () => {
    fs.writeFileSync(`own-${number}`, '');
    return rounds((round) => fs.linkSync(`own-${number}`, `lock-${round}`));
  },
  take: () => rounds((round) => fs.renameSync(`file-${round}`, `taken-${number}-${round}`)),
  unlink: () => rounds((round) => fs.unlinkSync(`file-${round}`)),
  blocks: () =>
    withFile('blocks', 'r+', (fd) => {
      // Odd sizes, so that neighbours share pages.
      const bytes = 1_111;
      for (let round = 0; round < 100; round += 1)
        fs.writeSync(
          fd,
          new Uint8Array(bytes).fill(Number(number) + 1),
          0,
          bytes,
          (round * PROCESSES + Number(number)) * bytes,
        );
    }),
  map: () =>
    withFile('blocks', 'r+', (fd) =>
      withSharedMap(fd, PROCESSES * 16 * BLOCK, 0, (bytes, sync) => {
        for (let block = Number(number); block < PROCESSES * 16; block += PROCESSES)
          bytes.fill(Number(number) + 1, block * BLOCK, (block + 1) * BLOCK);
        sync();
      }),
    ),
  replace: () =>
    rounds((round) => {
      fs.writeFileSync(`next-${number}`, 'whole\n'.repeat(1_000 + round));
      fs.renameSync(`next-${number}`, 'target');
      return /^(whole\n){1000,}$/.test(fs.readFileSync('target', 'latin1')) ? 'whole' : 'torn';
    }),
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { enter, what } = JSON.parse(line);
  const answer = enter === undefined ? tasks[what]() : process.chdir(enter);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
});
