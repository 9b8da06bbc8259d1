/**
 * Makes, renames, links and removes names, each of which can succeed only once: a call that takes effect a second time
 * fails with EEXIST or ENOENT, or hits a name that was given again meanwhile, for there are few. Arguments: directory,
 * seed. The state it keeps is the one it wants; whether the tree is like that is the ledger's to say.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { randomNumbers } from './records.mjs';
import { runSteps } from './writer-loop.mjs';

const [directory, seed] = process.argv.slice(2);
const random = randomNumbers(Number(seed));

const NAMES_EACH = 6;
const NAMES = ['a', 'b'].flatMap((parent) =>
  Array.from({ length: NAMES_EACH }, (_none, index) => `${parent}/${index}`),
);
/** By name: its kind, and of a file its id. */
const state = new Map();
let ids = 0;

const pick = (list) => list[random(list.length)];
const free = () => NAMES.filter((name) => !state.has(name));
const named = (...kinds) => NAMES.filter((name) => kinds.includes(state.get(name)?.kind));

/** Each gives a step and has `state` follow it, or undefined where nothing is there to do it with. */
const choices = {
  create: () => made('create', { kind: 'file', id: `${seed}.${(ids += 1)}` }),
  mkdir: () => made('mkdir', { kind: 'directory' }),
  symlink: () => made('symlink', { kind: 'symlink', target: `to/${(ids += 1)}` }),
  mknod: () => made('mknod', { kind: 'fifo' }),
  link: () => {
    const [from, to] = [pick(named('file')), pick(free())];
    if (from === undefined || to === undefined) return undefined;
    state.set(to, state.get(from));
    return { op: 'link', from, to };
  },
  rename: () => {
    const from = pick([...state.keys()]);
    const to = pick(free());
    return from === undefined || to === undefined ? undefined : moved(from, to);
  },
  replace: () => {
    const from = pick(named('file', 'symlink'));
    // Two names of one file: rename(2) does nothing then, and says it did.
    const to = pick(named('file', 'symlink').filter((name) => state.get(name).id !== state.get(from).id));
    return from === undefined || to === undefined || from === to ? undefined : moved(from, to);
  },
  'replace directory': () => {
    const from = pick(named('directory'));
    const to = pick(named('directory').filter((name) => name !== from));
    return from === undefined || to === undefined ? undefined : moved(from, to);
  },
  remove: () => gone('remove', named('file', 'symlink', 'fifo')),
  rmdir: () => gone('rmdir', named('directory')),
};

function made(op, entry) {
  const name = pick(free());
  if (name === undefined) return undefined;
  state.set(name, entry);
  return { op, name, entry };
}

function moved(from, to) {
  state.set(to, state.get(from));
  state.delete(from);
  return { op: 'rename', from, to };
}

function gone(op, names) {
  const name = pick(names);
  if (name === undefined) return undefined;
  state.delete(name);
  return { op, name };
}

function next() {
  for (;;) {
    const chosen = choices[pick(Object.keys(choices))]();
    if (chosen !== undefined) return chosen;
  }
}

const path = (name) => join(directory, name);
const actions = {
  create: ({ name, entry }) => {
    const fd = fs.openSync(path(name), 'wx', 0o640);
    fs.writeSync(fd, entry.id);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  },
  mkdir: ({ name }) => fs.mkdirSync(path(name), 0o750),
  symlink: ({ name, entry }) => fs.symlinkSync(entry.target, path(name)),
  mknod: ({ name }) => {
    const { status, stderr } = spawnSync('mkfifo', [path(name)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  },
  link: ({ from, to }) => fs.linkSync(path(from), path(to)),
  rename: ({ from, to }) => fs.renameSync(path(from), path(to)),
  remove: ({ name }) => fs.unlinkSync(path(name)),
  rmdir: ({ name }) => fs.rmdirSync(path(name)),
};

runSteps({ next, act: (step) => actions[step.op](step) });
