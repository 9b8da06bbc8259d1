/**
 * Works on one directory by several mounts of it. Arguments: `rounds` or `ranges`, seed, operations, further ones, mounts.
 *
 * `rounds`: writes, cuts, renames and removes files by one mount and reads them by another, one after the other; who opens
 * after a close sees what was written. Prints each difference, and in the end what there is.
 *
 * `ranges`: writes those blocks of all files that are its own, of `of` writers, the one numbered `index`, by one mount.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { BLOCKS, BLOCK_BYTES, RANGE_FILES, blockBytes, randomNumbers, recordBytes } from './records.mjs';

const SLOTS = ['a', 'b', 'c', 'd', 'e'];
/** So small that what is written meets, so large that it takes several pages and requests. */
const PLACES = [0, 1, 4_095, 4_096, 10_000, 65_536, 131_072, 300_000];
const BYTES_MAX = 150_000;
const SMALL_BYTES_MAX = 200;
const WRITES_MAX = 4;
const DIFFERENCES_MAX = 5;
/** How often to look for a file that is kept, and how long it may be, in milliseconds: somebody may be about to open it. */
const KEPT_LOOK_MS = 20;
const KEPT_LIMIT_MS = 10_000;
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
const say = (message) => fs.writeSync(1, `${JSON.stringify(message)}\n`);

/** Opens, reads all and closes; what fstat says of the size is checked against it. */
function readWhole(path) {
  const fd = fs.openSync(path, 'r');
  try {
    const { size } = fs.fstatSync(fd);
    const content = fs.readFileSync(fd);
    if (size !== content.length) throw new Error(`fstat says ${size} bytes, there are ${content.length}`);
    return content;
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Waits until no file is kept under another name (.nfs) by the mount that replaced or removed it: as long as it has one,
 * other mounts that believe the old name find it, as they find one that was renamed away.
 */
function untilNoneIsKept(mount) {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (
    let waited = 0;
    fs.readdirSync(mount).some((name) => name.startsWith('.nfs'));
    waited += KEPT_LOOK_MS
  ) {
    if (waited > KEPT_LIMIT_MS) throw new Error('a file that nobody has open is kept');
    Atomics.wait(pause, 0, 0, KEPT_LOOK_MS);
  }
}

function rounds([seed, operations, ...mounts]) {
  const random = randomNumbers(Number(seed));
  const pick = (list) => list[random(list.length)];
  const files = new Map();
  let differences = 0;
  let step = 0;

  /**
   * The present name of each slot. What was renamed away leads to the file under its new name on other mounts while they
   * believe the name (acdirmin), as with every NFS client: such a name does not come back.
   */
  const generations = new Map(SLOTS.map((slot) => [slot, 0]));
  const nameOf = (slot) => `${slot}${generations.get(slot)}`;
  const freshName = (slot) => {
    generations.set(slot, generations.get(slot) + 1);
    return nameOf(slot);
  };

  const write = (name, mount) => {
    let content = files.get(name) ?? Buffer.alloc(0);
    const way = files.has(name) ? pick(['r+', 'r+', 'r+', 'w', 'a']) : 'w+';
    const fd = fs.openSync(join(mount, name), way);
    if (way.startsWith('w')) content = Buffer.alloc(0);
    const done = [way];
    for (let left = random(WRITES_MAX + 1); left > 0; left -= 1) {
      if (way !== 'a' && random(6) === 0) {
        const size = pick(PLACES) + random(3);
        fs.ftruncateSync(fd, size);
        const next = Buffer.alloc(size);
        content.copy(next);
        content = next;
        done.push(`ftruncate ${size}`);
        continue;
      }
      const offset = way === 'a' ? content.length : pick(PLACES) + random(3);
      const bytes = recordBytes(
        `${seed}.${step}.${left}`,
        1 + random(random(2) ? BYTES_MAX : SMALL_BYTES_MAX),
      );
      for (let at = 0; at < bytes.length;)
        at += fs.writeSync(fd, bytes, at, bytes.length - at, way === 'a' ? null : offset + at);
      const next = Buffer.alloc(Math.max(content.length, offset + bytes.length));
      content.copy(next);
      bytes.copy(next, offset);
      content = next;
      done.push(`write ${bytes.length} at ${offset}`);
    }
    if (random(8) === 0) fs.fsyncSync(fd);
    fs.closeSync(fd);
    files.set(name, content);
    return `${name}: ${done.join(', ')}`;
  };
  const deeds = {
    write,
    truncate: (name, mount) => {
      const size = pick(PLACES) + random(3);
      fs.truncateSync(join(mount, name), size);
      const next = Buffer.alloc(size);
      files.get(name).copy(next);
      files.set(name, next);
      return `${name}: truncate ${size}`;
    },
    rename: (name, mount) => {
      const to = random(2) ? nameOf(pick(SLOTS)) : freshName(name[0]);
      fs.renameSync(join(mount, name), join(mount, to));
      const content = files.get(name);
      files.delete(name);
      files.set(to, content);
      // A second name of the slot, where another slot's file was replaced.
      if (to !== name && nameOf(name[0]) === name) freshName(name[0]);
      return `rename ${name} ${to}`;
    },
    unlink: (name, mount) => {
      fs.unlinkSync(join(mount, name));
      files.delete(name);
      return `unlink ${name}`;
    },
  };
  const weighted = [...Array(14).fill('write'), 'truncate', 'truncate', 'rename', 'rename', 'unlink'];
  const history = [];
  for (step = 1; step <= Number(operations) && differences < DIFFERENCES_MAX; step += 1) {
    const [writing, reading] = [pick(mounts), pick(mounts)];
    const name = nameOf(pick(SLOTS));
    const deed = files.has(name) ? pick(weighted) : 'write';
    let did = `${deed} ${name}`;
    let read = files.size > 0 ? pick([...files.keys()]) : undefined;
    try {
      did = deeds[deed](name, writing);
      if (deed === 'rename' || deed === 'unlink') untilNoneIsKept(writing);
      // Mostly what was just changed.
      if (random(4) > 0 && files.has(name)) read = name;
      else if (files.size > 0) read = pick([...files.keys()]);
      else read = undefined;
      history.push(`${step}: ${writing}: ${did}; ${reading}: read ${read}`);
      if (read === undefined) continue;
      const [found, wanted] = [readWhole(join(reading, read)), files.get(read)];
      if (!found.equals(wanted)) {
        const at = found.findIndex((byte, index) => byte !== wanted[index]);
        throw new Error(`${found.length} bytes, ${wanted.length} written; first difference at ${at}`);
      }
    } catch (error) {
      differences += 1;
      say({
        difference: `${step}: ${writing}: ${did}; ${reading}: read ${read}: ${error.message}`,
        history: history.slice(-8),
      });
    }
  }
  say({
    end: step - 1,
    files: Object.fromEntries([...files].map(([name, content]) => [name, digest(content)])),
  });
}

function ranges([seed, operations, index, of, mount]) {
  const random = randomNumbers(Number(seed) + Number(index));
  const fds = RANGE_FILES.map((name) => fs.openSync(join(mount, name), 'r+'));
  const own = Array.from({ length: BLOCKS }, (_, block) => block).filter(
    (block) => block % of === Number(index),
  );
  const put = (file, block) => {
    const bytes = blockBytes(seed, file, block);
    // In pieces, so that others write between them.
    for (let at = 0; at < bytes.length;) {
      const length = Math.min(bytes.length - at, 1 + random(BLOCK_BYTES));
      at += fs.writeSync(fds[file], bytes, at, length, block * BLOCK_BYTES + at);
    }
  };
  for (let count = 0; count < Number(operations); count += 1) {
    const [file, block] = [random(fds.length), own[random(own.length)]];
    put(file, block);
    if (random(20) === 0) fs.fdatasyncSync(fds[file]);
    // Its own bytes are seen by itself at any time.
    if (random(10) === 0) {
      const found = Buffer.alloc(BLOCK_BYTES);
      fs.readSync(fds[file], found, 0, BLOCK_BYTES, block * BLOCK_BYTES);
      if (!found.equals(blockBytes(seed, file, block)))
        say({ difference: `${mount}: own block ${block} of ${RANGE_FILES[file]}` });
    }
    if (random(25) === 0) {
      fs.closeSync(fds[file]);
      fds[file] = fs.openSync(join(mount, RANGE_FILES[file]), 'r+');
    }
  }
  for (let file = 0; file < fds.length; file += 1) {
    for (const block of own) put(file, block);
    fs.closeSync(fds[file]);
  }
  say({ end: Number(operations) });
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === 'rounds') rounds(rest);
if (mode === 'ranges') ranges(rest);
