/**
 * Changes files in a directory and prints what came of it as JSON, one entry a case: the same program is run on a plain
 * directory and on mounts, and every difference is a failure. Arguments: an empty directory, names of groups of cases
 * with commas between them, the same directory without a mount in between, and optionally uid:gid:group,group to act as.
 *
 * Each case works in a directory of its own. First all cases are prepared, then the clock moves on, then all are run,
 * so that every change of a time shows.
 */
import fs from 'node:fs';
import { attributes } from './write/attributes.mjs';
import { changes } from './write/changes.mjs';
import { contention, endContenders } from './write/contention.mjs';
import { data } from './write/data.mjs';
import { names } from './write/names.mjs';
import { openFiles } from './write/open-files.mjs';
import { permissions } from './write/permissions.mjs';
import { manyLinks, marked, noInodes, noSpace, overQuota, readOnly } from './write/refusals.mjs';
import { renames } from './write/renames.mjs';
import { errnoNames } from './write/system-calls.mjs';
import { xattrs } from './write/xattrs.mjs';

/** Longer than the tick of the clock that file systems take their times from (at most 10 ms, at 100 Hz). */
const TICK_MS = 25;

const GROUPS = {
  names,
  renames,
  data,
  openFiles,
  attributes,
  changes,
  contention,
  permissions,
  readOnly,
  noSpace,
  noInodes,
  overQuota,
  marked,
  manyLinks,
  xattrs,
};
/** Prepared by root even where another user runs them, and not through the mount: there is much of it. */
const PREPARED_BY_ROOT = new Set(['permissions']);

const [directory, chosen, behind, who = `${process.geteuid()}:${process.getegid()}:`] = process.argv.slice(2);
const [uid = 0, gid = 0] = who.split(':').map(Number);
const others = who
  .split(':')[2]
  .split(',')
  .filter((each) => each !== '')
  .map(Number);
/** Who runs the cases; `group` is the last of the groups, which rules about members are tried with. */
const caller = { uid, gid, group: others.at(-1) ?? gid };

function become() {
  if (uid === process.geteuid()) return;
  process.setgroups(others);
  process.setgid(gid);
  process.setuid(uid);
}

async function outcome(action) {
  try {
    return { value: (await action()) ?? null };
  } catch (error) {
    if (error.errno === undefined) throw error;
    return { error: errnoNames.get(-error.errno) ?? String(error.errno) };
  }
}

process.umask(0o022);
process.chdir(behind);
const topBehind = process.cwd();
process.chdir(directory);
const top = process.cwd();
const cases = chosen.split(',').flatMap((group) =>
  Object.entries(GROUPS[group]).map(([name, given], index) => ({
    name,
    at: given.inPlace ? top : `${top}/${group}-${index}`,
    preparedAt: `${PREPARED_BY_ROOT.has(group) ? topBehind : top}/${group}-${index}`,
    byRoot: PREPARED_BY_ROOT.has(group),
    ...(typeof given === 'function' ? { run: given } : given),
  })),
);

const results = {};
const prepared = new Map();
async function prepare(each) {
  if (each.prepare === undefined) return;
  process.chdir(each.preparedAt);
  const made = await outcome(() => each.prepare(caller));
  if (made.error === undefined) prepared.set(each.name, made.value);
  else results[each.name] = { error: `${made.error} while it was prepared` };
}

for (const { at, preparedAt, byRoot } of cases) {
  if (at === top) continue;
  fs.mkdirSync(preparedAt);
  if (!byRoot) fs.chownSync(preparedAt, uid, gid);
}
for (const each of cases) if (each.byRoot) await prepare(each);
become();
for (const each of cases) if (!each.byRoot) await prepare(each);
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TICK_MS);
for (const { name, at, run } of cases) {
  if (results[name] !== undefined) continue;
  process.chdir(at);
  results[name] = await outcome(() => run(prepared.get(name), caller));
}
endContenders();
process.stdout.write(JSON.stringify(results));
