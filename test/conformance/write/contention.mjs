/** Several processes at one file or directory at once: what comes out in the end does not depend on their order. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { kindOf, list, sha256, text } from './facts.mjs';

const CONTENDER = fileURLToPath(new URL('./contender.mjs', import.meta.url));
const PROCESSES = 4;

/** Started with the first case that needs them. */
let contenders;

function startContender(_, index) {
  const child = spawn(process.execPath, [CONTENDER, String(index)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  /** @returns the answer to one task */
  const ask = async (task) => {
    child.stdin.write(`${JSON.stringify(task)}\n`);
    const { value, done } = await answers.next();
    if (done) throw new Error(`contender ${index} ended at ${JSON.stringify(task)}`);
    return JSON.parse(value);
  };
  return { ask, end: () => child.stdin.end() };
}

/** Runs `what` in several processes at once, in this one's directory; their answers by their numbers. */
async function contend(what) {
  contenders ??= Array.from({ length: PROCESSES }, startContender);
  const each = (task) => Promise.all(contenders.map(({ ask }) => ask(task)));
  await each({ enter: process.cwd() });
  return each({ what });
}

/** This process can end only after them. */
export function endContenders() {
  for (const { end } of contenders ?? []) end();
}

const counts = (values) =>
  Object.fromEntries(
    [...new Set(values)].sort().map((value) => [value, values.filter((each) => each === value).length]),
  );

export const contention = {
  'O_APPEND from several processes loses and mixes nothing': async () => {
    await contend('append');
    const lines = text('appended').split('\n');
    return [lines.length, sha256(lines.sort().join())];
  },
  'O_APPEND with O_SYNC from several processes': async () => {
    await contend('append-sync');
    const lines = text('appended').split('\n');
    return [lines.length, sha256(lines.sort().join())];
  },
  'O_EXCL: one process makes each file': async () => {
    const wins = (await contend('create')).flat();
    return [counts(wins), wins.length, list().length];
  },
  'mkdir: one process makes each directory': async () => {
    const wins = (await contend('mkdir')).flat();
    return [counts(wins), wins.length, kindOf('.').nlink];
  },
  'link: one process makes each lock': async () => [counts((await contend('link')).flat()), list().length],
  'rename: one process takes each file': async () => {
    for (let index = 0; index < 20; index += 1) fs.writeFileSync(`file-${index}`, '');
    return [counts((await contend('take')).flat()), list().length];
  },
  'unlink: one process removes each file': async () => {
    for (let index = 0; index < 20; index += 1) fs.writeFileSync(`file-${index}`, '');
    return [counts((await contend('unlink')).flat()), list().length];
  },
  'several processes write their blocks of one file': async () => {
    fs.writeFileSync('blocks', '');
    await contend('blocks');
    return [fs.statSync('blocks').size, sha256(fs.readFileSync('blocks'))];
  },
  'several processes write their blocks of one file through maps': async () => {
    fs.writeFileSync('blocks', new Uint8Array(PROCESSES * 16 * 4096));
    await contend('map');
    return [fs.statSync('blocks').size, sha256(fs.readFileSync('blocks'))];
  },
  'a name that is always there while others rename onto it': async () => {
    fs.writeFileSync('target', 'whole\n'.repeat(1_000));
    return [counts((await contend('replace')).flat()), list().length];
  },
};
