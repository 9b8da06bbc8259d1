// As root, becomes one user after the other and tries things with files; prints what came of each as JSON.
// Argument: {"directory", "who": [{"uid", "gid", "groups"}], "attempts": [["read"|"list"|"stat"|"run", path]]}
import { spawnSync } from 'node:child_process';
import { lstatSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const { directory, who, attempts } = JSON.parse(process.argv[2]);
const SHOWN_BYTES = 64;

const DOES = {
  read: (path) => readFileSync(path, 'latin1').slice(0, SHOWN_BYTES),
  list: (path) => readdirSync(path).sort().join(' '),
  stat: (path) => lstatSync(path).mode.toString(8),
  run: (path) => {
    const { status, error } = spawnSync(path, [], { encoding: 'utf8' });
    if (error) throw error;
    return status;
  },
};

const results = {};
for (const { uid, gid, groups = [] } of who) {
  process.setgroups(groups);
  process.setegid(gid);
  process.seteuid(uid);
  for (const [what, path] of attempts) {
    let answer;
    try {
      answer = DOES[what](join(directory, path));
    } catch (error) {
      answer = error.code ?? String(error);
    }
    results[`${uid}:${gid}:${groups.join()} ${what} ${path}`] = answer;
  }
  process.seteuid(0);
  process.setegid(0);
}
console.log(JSON.stringify(results));
