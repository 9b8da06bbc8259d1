/** git on a mount: clone, fsck, status, commit, repack; objects are written by link, rename and mmap. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { patternBytes } from '../support/trees.ts';
import { onMounts, run, skipWithoutPrograms } from './writable-mount.ts';

const FILES = 500;
const COMMITS = 50;
const FILES_EACH = 25;
/** Of the files of the first commit, how many each later one changes. */
const CHANGES = 20;
const WORDS_EACH = 40;
const FIRST_TIME = 1_500_000_000;

/** A stream for git fast-import: one commit with all files, and others that change some of them. */
function history(): Buffer {
  const pieces: string[] = [];
  const data = (text: string) => `data ${Buffer.byteLength(text)}\n${text}\n`;
  for (let commit = 0; commit < COMMITS; commit += 1) {
    pieces.push(
      `commit refs/heads/main\ncommitter A U Thor <author@example.org> ${FIRST_TIME + commit} +0000\n`,
      data(`commit ${commit}`),
    );
    const count = commit === 0 ? FILES : CHANGES;
    for (let index = 0; index < count; index += 1) {
      const file = commit === 0 ? index : (commit * 37 + index * 11) % FILES;
      const words = patternBytes(WORDS_EACH * 4, commit * FILES + file + 1).toString('hex');
      const mode = file % 10 === 0 ? '100755' : '100644';
      pieces.push(`M ${mode} inline directory-${Math.floor(file / FILES_EACH)}/file-${file}.txt\n`);
      pieces.push(data(`${words.match(/.{1,64}/g)?.join('\n') ?? ''}\n`));
    }
    if (commit === 0) pieces.push('M 120000 inline symlink\n', data('directory-0/file-0.txt'));
  }
  return Buffer.from(pieces.join(''));
}

onMounts(t, 'git', skipWithoutPrograms({ git: 'git' }), async (t, { point, disk, plain }) => {
  const env = {
    ...process.env,
    HOME: plain,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_COUNT: '1',
    // Nobody's tree here is another user's.
    GIT_CONFIG_KEY_0: 'safe.directory',
    GIT_CONFIG_VALUE_0: '*',
    GIT_AUTHOR_NAME: 'A U Thor',
    GIT_AUTHOR_EMAIL: 'author@example.org',
    GIT_COMMITTER_NAME: 'A U Thor',
    GIT_COMMITTER_EMAIL: 'author@example.org',
    LC_ALL: 'C.UTF-8',
  };
  const [source, clone] = [join(plain, 'source.git'), join(point, 'clone')];
  const git = (where: string, ...words: string[]) => run(t, where, ['git', ...words], { env });
  await git(plain, 'init', '--quiet', '--bare', '--initial-branch=main', source);
  const imported = spawnSync('git', ['fast-import', '--quiet'], { cwd: source, env, input: history() });
  t.equal(imported.status, 0, imported.stderr.toString());

  await git(point, 'clone', '--quiet', `file://${source}`, 'clone');
  await git(clone, 'fsck', '--full', '--strict');
  t.equal(await git(clone, 'status', '--porcelain'), '', 'status is clean');
  t.equal(await git(clone, 'rev-list', '--count', 'HEAD'), `${COMMITS}\n`);
  t.equal((await git(clone, 'ls-files')).trim().split('\n').length, FILES + 1);

  await run(t, clone, [
    'sh',
    '-c',
    'echo new >new; echo more >>directory-1/file-25.txt; rm directory-2/file-50.txt',
  ]);
  await git(clone, 'mv', 'directory-3', 'moved');
  await git(clone, 'add', '--all');
  await git(clone, 'commit', '--quiet', '--message', 'from the mount');
  t.equal(await git(clone, 'status', '--porcelain'), '', 'clean after the commit');
  await git(clone, 'checkout', '--quiet', '--detach', 'HEAD~20');
  await git(clone, 'checkout', '--quiet', 'main');
  await git(clone, 'gc', '--quiet', '--prune=now');
  t.equal(await git(clone, 'status', '--porcelain'), '', 'clean after gc');
  await git(clone, 'fsck', '--full', '--strict');
  await git(clone, 'push', '--quiet', 'origin', 'main');
  t.equal(await git(source, 'rev-parse', 'main'), await git(clone, 'rev-parse', 'main'));

  t.comment('on the server the same repository is as whole');
  const there = join(disk, 'clone');
  await git(there, 'fsck', '--full', '--strict');
  t.equal(await git(there, 'diff', 'HEAD', '--stat'), '', 'contents are those of the commit');
  await git(plain, 'clone', '--quiet', `file://${there}`, 'again');
  t.equal(await git(join(plain, 'again'), 'rev-parse', 'HEAD'), await git(clone, 'rev-parse', 'HEAD'));
});
