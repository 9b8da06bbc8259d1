/** Files whose name is gone, memory maps, places in sparse files, and copies within the kernel. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { attempt, content, kindOf, list, pread, sha256, text, withFile } from './facts.mjs';
import * as calls from './system-calls.mjs';

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_APPEND } = fs.constants;
const GIB = 2 ** 30;
const PAGE = 4_096;

const unlinked = {
  'unlinked, then written and read': () =>
    withFile('a', 'w+', (fd) => {
      fs.writeSync(fd, 'before');
      fs.unlinkSync('a');
      fs.writeSync(fd, ' after');
      const seen = [
        pread(fd, 20, 0),
        fs.fstatSync(fd).nlink,
        fs.fstatSync(fd).size,
        attempt(() => text('a')),
      ];
      calls.ftruncate(fd, 3);
      seen.push(pread(fd, 20, 0), fs.fstatSync(fd).size);
      fs.fchmodSync(fd, 0o600);
      fs.futimesSync(fd, 1, 2);
      seen.push(
        (fs.fstatSync(fd).mode & 0o777).toString(8),
        fs.fstatSync(fd).mtimeMs,
        attempt(() => fs.fsyncSync(fd)),
      );
      return seen;
    }),
  'unlinked, and no name is left to see': () =>
    withFile('a', 'w', () => {
      fs.unlinkSync('a');
      return [list(), attempt(() => fs.lstatSync('a'))];
    }),
  'unlinked, and its directory removed': () => {
    fs.mkdirSync('d');
    return withFile('d/a', 'w+', (fd) => {
      fs.writeSync(fd, 'text');
      fs.unlinkSync('d/a');
      const removed = attempt(() => fs.rmdirSync('d'));
      fs.writeSync(fd, ' more');
      return [removed, pread(fd, 20, 0), list()];
    });
  },
  'unlinked, closed, and its directory removed': () => {
    fs.mkdirSync('d');
    withFile('d/a', 'w+', () => fs.unlinkSync('d/a'));
    return [attempt(() => fs.rmdirSync('d')), list()];
  },
  'unlinked, and its name made again': () =>
    withFile('a', 'w+', (fd) => {
      fs.writeSync(fd, 'old');
      fs.unlinkSync('a');
      fs.writeFileSync('a', 'new');
      fs.writeSync(fd, ' still');
      const seen = [pread(fd, 20, 0), text('a')];
      fs.unlinkSync('a');
      fs.mkdirSync('a');
      seen.push(pread(fd, 20, 0), kindOf('a').type);
      return seen;
    }),
  'unlinked while two have it open': () =>
    withFile('a', 'w', (writing) =>
      withFile('a', 'r', (reading) => {
        fs.unlinkSync('a');
        fs.writeSync(writing, 'to the other');
        return [pread(reading, 20, 0), fs.fstatSync(reading).nlink];
      }),
    ),
  'unlinked while another name is left': () => {
    fs.writeFileSync('a', 'text');
    fs.linkSync('a', 'b');
    return withFile('a', 'r+', (fd) => {
      fs.unlinkSync('a');
      fs.writeSync(fd, 'TE');
      return [text('b'), fs.fstatSync(fd).nlink, list()];
    });
  },
  'unlinked, opened again by its descriptor': () =>
    withFile('a', 'w+', (fd) => {
      fs.writeSync(fd, 'text');
      fs.unlinkSync('a');
      return attempt(() => withFile(`/proc/self/fd/${fd}`, 'r', (again) => pread(again, 10, 0)));
    }),
  'unlinked and opened for reading only': () => {
    fs.writeFileSync('a', content(300_000));
    return withFile('a', 'r', (fd) => {
      fs.unlinkSync('a');
      return [sha256(fs.readFileSync(fd)), fs.fstatSync(fd).size];
    });
  },
  'twenty unlinked files at once': () => {
    const open = Array.from({ length: 20 }, (_, index) => fs.openSync(`a${index}`, 'w+'));
    for (const index of open.keys()) fs.unlinkSync(`a${index}`);
    for (const [index, fd] of open.entries()) fs.writeSync(fd, `file ${index}`);
    const seen = open.map((fd) => pread(fd, 20, 0));
    for (const fd of open) fs.closeSync(fd);
    return [seen, list()];
  },
  'a removed directory that is open': () => {
    fs.mkdirSync('d');
    return withFile('d', O_RDONLY, (fd) => {
      fs.rmdirSync('d');
      return [attempt(() => fs.fstatSync(fd).nlink), attempt(() => fs.readdirSync(`/proc/self/fd/${fd}`))];
    });
  },
};

const maps = {
  'a shared map writes': () => {
    fs.writeFileSync('a', 'x'.repeat(3 * PAGE));
    withFile('a', 'r+', (fd) =>
      calls.withSharedMap(fd, 2 * PAGE, PAGE, (bytes, sync) => {
        bytes.write('mapped', 0);
        bytes.write('last', 2 * PAGE - 4);
        sync();
      }),
    );
    return [sha256(fs.readFileSync('a')), fs.statSync('a').size];
  },
  'a shared map writes without msync': () => {
    fs.writeFileSync('a', 'x'.repeat(PAGE));
    withFile('a', 'r+', (fd) =>
      calls.withSharedMap(fd, PAGE, 0, (bytes) => {
        bytes.write('mapped', 100);
      }),
    );
    return sha256(fs.readFileSync('a'));
  },
  'a shared map, read and written beside it': () => {
    fs.writeFileSync('a', 'x'.repeat(PAGE));
    return withFile('a', 'r+', (fd) =>
      calls.withSharedMap(fd, PAGE, 0, (bytes) => {
        bytes.write('mapped', 0);
        const seen = [pread(fd, 10, 0)];
        fs.writeSync(fd, 'written', 20);
        seen.push(bytes.toString('latin1', 18, 30));
        return seen;
      }),
    );
  },
  'a shared map outlives its descriptor': () => {
    fs.writeFileSync('a', 'x'.repeat(PAGE));
    const fd = fs.openSync('a', 'r+');
    calls.withSharedMap(fd, PAGE, 0, (bytes) => {
      fs.closeSync(fd);
      bytes.write('after close', 0);
    });
    return text('a').slice(0, 20);
  },
  'a shared map of an unlinked file': () => {
    fs.writeFileSync('a', 'x'.repeat(PAGE));
    return withFile('a', 'r+', (fd) =>
      calls.withSharedMap(fd, PAGE, 0, (bytes, sync) => {
        fs.unlinkSync('a');
        bytes.write('mapped', 0);
        sync();
        return pread(fd, 10, 0);
      }),
    );
  },
  'a shared map of a file that is open for reading': () => {
    fs.writeFileSync('a', 'text');
    return [
      attempt(() => withFile('a', 'r', (fd) => calls.withSharedMap(fd, PAGE, 0, () => 0))),
      withFile('a', 'r', (fd) => calls.withReadMap(fd, 4, 0, (bytes) => bytes.toString())),
    ];
  },
  'a map sees what was written': () => {
    fs.writeFileSync('a', 'first');
    return withFile('a', 'r', (fd) =>
      calls.withReadMap(fd, 5, 0, (bytes) => {
        const seen = [bytes.toString()];
        withFile('a', 'r+', (other) => fs.writeSync(other, 'SECND'));
        seen.push(bytes.toString());
        return seen;
      }),
    );
  },
  'a map behind what was truncated and grew': () => {
    fs.writeFileSync('a', 'x'.repeat(PAGE));
    withFile('a', 'r+', (fd) =>
      calls.withSharedMap(fd, PAGE, 0, (bytes) => {
        bytes.write('mapped', 2_000);
        calls.ftruncate(fd, 2_003);
        calls.ftruncate(fd, PAGE);
      }),
    );
    return text('a').slice(1_998, 2_010);
  },
};

/** A file with data at 1 MiB and at 5 GiB, its size 6 GiB. */
function makeSparse() {
  withFile('a', 'w', (fd) => {
    fs.writeSync(fd, 'x'.repeat(PAGE), 2 ** 20);
    fs.writeSync(fd, 'x'.repeat(PAGE), 5 * GIB);
    calls.ftruncate(fd, 6 * GIB);
    fs.fsyncSync(fd);
  });
}

const places = {
  ...Object.fromEntries(
    [
      ['SEEK_DATA', calls.SEEK_DATA],
      ['SEEK_HOLE', calls.SEEK_HOLE],
    ].flatMap(([name, whence]) =>
      [0, 2 ** 20, 2 ** 20 + 1, 2 ** 21, 5 * GIB, 5 * GIB + PAGE].map((offset) => [
        `${name} from ${offset}`,
        {
          prepare: makeSparse,
          run: () => withFile('a', 'r', (fd) => attempt(() => calls.lseek(fd, offset, whence))),
        },
      ]),
    ),
  ),
  'lseek: errors': {
    prepare: makeSparse,
    run: () =>
      withFile('a', 'r', (fd) => ({
        dataAtEnd: attempt(() => calls.lseek(fd, 6 * GIB, calls.SEEK_DATA)),
        holeAtEnd: attempt(() => calls.lseek(fd, 6 * GIB, calls.SEEK_HOLE)),
        dataBehind: attempt(() => calls.lseek(fd, 7 * GIB, calls.SEEK_DATA)),
        dataBefore: attempt(() => calls.lseek(fd, -1, calls.SEEK_DATA)),
        end: attempt(() => calls.lseek(fd, 5, calls.SEEK_END)),
        before: attempt(() => calls.lseek(fd, -7 * GIB, calls.SEEK_END)),
        unknown: attempt(() => calls.lseek(fd, 0, 99)),
      })),
  },
  'SEEK_END after own writes': () =>
    withFile('a', 'w', (fd) => {
      fs.writeSync(fd, 'text', 96);
      const seen = [calls.lseek(fd, 0, calls.SEEK_END)];
      fs.appendFileSync('a', 'more');
      seen.push(calls.lseek(fd, 0, calls.SEEK_END));
      return seen;
    }),
};

const allocations = {
  ...Object.fromEntries(
    [
      ['fallocate', 0],
      ['fallocate KEEP_SIZE', calls.FALLOC_FL_KEEP_SIZE],
      ['fallocate PUNCH_HOLE', calls.FALLOC_FL_KEEP_SIZE | calls.FALLOC_FL_PUNCH_HOLE],
    ].map(([name, mode]) => [
      name,
      () => {
        fs.writeFileSync('a', content(20_000));
        const result = withFile('a', 'r+', (fd) => attempt(() => calls.fallocate(fd, mode, 4_000, 30_000)));
        return [result, fs.statSync('a').size, sha256(fs.readFileSync('a'))];
      },
    ]),
  ),
  'fallocate: no length': () => withFile('a', 'w', (fd) => attempt(() => calls.fallocate(fd, 0, 0, 0))),
  'fallocate: a negative offset': () =>
    withFile('a', 'w', (fd) => attempt(() => calls.fallocate(fd, 0, -1, 1))),
  'fallocate: for reading': () =>
    withFile('a', O_RDONLY | O_CREAT, (fd) => attempt(() => calls.fallocate(fd, 0, 0, 1))),
  'fallocate: too large': () =>
    withFile('a', 'w', (fd) => [
      attempt(() => calls.fallocate(fd, 0, calls.OFFSET_MAX, 1)),
      fs.fstatSync(fd).size,
    ]),
  posix_fallocate: () => {
    fs.writeFileSync('a', content(20_000));
    const result = withFile('a', 'r+', (fd) => attempt(() => calls.posixFallocate(fd, 4_000, 30_000)));
    return [result, fs.statSync('a').size, sha256(fs.readFileSync('a'))];
  },
  'posix_fallocate inside of the file': () => {
    fs.writeFileSync('a', content(20_000));
    const result = withFile('a', 'r+', (fd) => attempt(() => calls.posixFallocate(fd, 100, 200)));
    return [result, fs.statSync('a').size, sha256(fs.readFileSync('a'))];
  },
  'posix_fallocate: errors': () =>
    withFile('a', 'w', (fd) => [
      attempt(() => calls.posixFallocate(fd, 0, 0)),
      attempt(() => calls.posixFallocate(fd, -1, 5)),
    ]),
};

const copies = {
  copy_file_range: () => {
    fs.writeFileSync('a', content(500_000));
    fs.writeFileSync('b', 'before');
    const copied = withFile('a', 'r', (from) =>
      withFile('b', 'r+', (to) => {
        let total = 0;
        for (let count = -1; count !== 0; total += count) count = calls.copyFileRange(from, to, 200_000);
        return total;
      }),
    );
    return [copied, fs.statSync('b').size, sha256(fs.readFileSync('b'))];
  },
  'copy_file_range of bytes just written': () =>
    withFile('a', 'w+', (from) =>
      withFile('b', 'w', (to) => {
        fs.writeSync(from, 'just written', 0);
        return [calls.copyFileRange(from, to, 4), text('b')];
      }),
    ),
  'copy_file_range: errors': () => {
    fs.writeFileSync('a', 'text');
    fs.mkdirSync('d');
    const copy = (from, fromFlags, to, toFlags) =>
      attempt(() =>
        withFile(from, fromFlags, (a) => withFile(to, toFlags, (b) => calls.copyFileRange(a, b, 4))),
      );
    return {
      toReading: copy('a', 'r', 'a', 'r'),
      fromWriting: copy('a', O_WRONLY, 'a', O_WRONLY),
      toAppending: copy('a', 'r', 'b', O_WRONLY | O_CREAT | O_APPEND),
      fromDirectory: copy('d', 'r', 'b', 'w'),
      overlapping: copy('a', O_RDWR, 'a', O_RDWR),
    };
  },
  'cp --reflink=auto --sparse=auto': {
    prepare: makeSparse,
    run: () => {
      calls.truncate('a', 2 ** 21);
      const { status, stderr } = spawnSync('cp', ['-p', '--reflink=auto', 'a', 'b'], { encoding: 'utf8' });
      return [status, stderr, sha256(fs.readFileSync('b')), fs.statSync('b').size];
    },
  },
  'a program that runs is not written': () => {
    fs.copyFileSync('/bin/sleep', 'prog');
    fs.chmodSync('prog', 0o755);
    const script =
      './prog 60 & pid=$!; while [ "$(readlink /proc/$pid/exe)" != "$PWD/prog" ]; do :; done; ' +
      '(echo x >> prog) 2>&1 | grep -o "Text file busy"; (: > prog) 2>&1 | grep -o "Text file busy"; kill $pid';
    const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8', timeout: 10_000 });
    return [stdout, fs.statSync('prog').size === fs.statSync('/bin/sleep').size];
  },
  'a program that is written does not run': () => {
    fs.copyFileSync('/bin/true', 'prog');
    fs.chmodSync('prog', 0o755);
    const busy = withFile('prog', 'r+', () => spawnSync('./prog').error?.code);
    return [busy, spawnSync('./prog').status];
  },
};

export const openFiles = { ...unlinked, ...maps, ...places, ...allocations, ...copies };
