/**
 * Writes records and has each acknowledged: by fsync, fdatasync, close, or an open with O_SYNC or O_DSYNC.
 * Arguments: directory, seed.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { randomNumbers, recordBytes } from './records.mjs';
import { runSteps } from './writer-loop.mjs';

const [directory, seed] = process.argv.slice(2);
const random = randomNumbers(Number(seed));

/** On no page's border, so that neighbours share pages. */
const SLOT_BYTES = 5_000;
const SLOTS = 80;
const BATCH_MAX = 6;
const APPEND_BYTES_MAX = 20_000;
/** Where appending begins again with nothing. */
const LOG_BYTES_MAX = 400_000;
/** Many WRITEs at a time. */
const LARGE_BYTES = 2 * 1024 * 1024;
const LARGE_PLACES = 3;
const WAYS = ['fsync', 'fdatasync', 'close', 'O_SYNC', 'O_DSYNC'];
const FLAGS = { O_SYNC: fs.constants.O_SYNC, O_DSYNC: fs.constants.O_DSYNC };

let version = 0;
let logBytes = 0;
const record = (offset, bytes) => ({ offset, bytes, record: `${seed}.${(version += 1)}` });
const way = () => WAYS[random(WAYS.length)];

function next() {
  const choice = random(20);
  if (choice === 0) {
    const offset = random(LARGE_PLACES) * LARGE_BYTES + random(SLOT_BYTES);
    return { file: 'large', way: way(), writes: [record(offset, LARGE_BYTES)] };
  }
  if (choice < 8) {
    if (logBytes > LOG_BYTES_MAX) {
      logBytes = 0;
      return { file: 'log', way: 'fsync', truncate: 0, writes: [] };
    }
    const bytes = 1 + random(APPEND_BYTES_MAX);
    const write = record(logBytes, bytes);
    logBytes += bytes;
    return { file: 'log', way: way(), append: true, writes: [write] };
  }
  const slots = new Set(Array.from({ length: 1 + random(BATCH_MAX) }, () => random(SLOTS)));
  const writes = [...slots].map((slot) => record(slot * SLOT_BYTES, 1 + random(SLOT_BYTES)));
  return { file: 'slots', way: way(), writes };
}

/** Files that stay open from step to step, beside those that are opened for one. */
const kept = new Map();

function open(file, append, way) {
  const { O_RDWR, O_CREAT, O_APPEND } = fs.constants;
  const flags = O_RDWR | O_CREAT | (append ? O_APPEND : 0) | (FLAGS[way] ?? 0);
  return fs.openSync(join(directory, file), flags, 0o644);
}

function keep(file, append) {
  const name = `${file} ${append}`;
  if (!kept.has(name)) kept.set(name, open(file, append));
  return kept.get(name);
}

function act({ file, way, append = false, truncate, writes }) {
  const stays = way === 'fsync' || way === 'fdatasync';
  const fd = stays ? keep(file, append) : open(file, append, way);
  if (truncate !== undefined) fs.ftruncateSync(fd, truncate);
  for (const { offset, bytes, record } of writes) {
    const content = recordBytes(record, bytes);
    for (let at = 0; at < bytes;) {
      at += fs.writeSync(fd, content, at, bytes - at, append ? null : offset + at);
    }
  }
  if (way === 'fsync') fs.fsyncSync(fd);
  if (way === 'fdatasync') fs.fdatasyncSync(fd);
  if (!stays) fs.closeSync(fd);
}

runSteps({ next, act });
