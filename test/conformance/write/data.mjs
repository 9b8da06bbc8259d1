/** WRITE, TRUNCATE, FTRUNCATE and FSYNC: where bytes go, and every error they name. */
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import { attempt, content, kindOf, pread, sha256, text, withFile } from './facts.mjs';
import {
  ftruncate,
  limitFileSize,
  O_PATH,
  OFFSET_MAX,
  pwrite,
  truncate,
  withAlignedMemory,
} from './system-calls.mjs';

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_SYNC, O_DSYNC, O_DIRECT } = fs.constants;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const NOT_A_FD = 9_999;

/** Write and fsync as one: a write that is gathered may say what went wrong only when it is stored. */
const stored = (name, flags, write) =>
  attempt(() =>
    withFile(name, flags, (fd) => {
      const value = write(fd);
      fs.fsyncSync(fd);
      return value;
    }),
  );

/** A small generator of numbers, the same on every run. */
function* numbers(seed) {
  for (let state = seed; ;) {
    state = (state * 1103515245 + 12345) % 2147483648;
    yield state;
  }
}

const asIs = (name) => [fs.statSync(name).size, sha256(fs.readFileSync(name))];

const truncations = {
  'truncate up and down': () => {
    fs.writeFileSync('a', content(100_000));
    return [99_999, 65_536, 65_537, 200_000, 4_097, 4_096, 4_095, 1, 0, 10, 0].map((size) => {
      truncate('a', size);
      return asIs('a');
    });
  },
  'ftruncate up and down': () => {
    fs.writeFileSync('a', content(100_000));
    return withFile('a', 'r+', (fd) =>
      [99_999, 65_536, 65_537, 200_000, 4_097, 4_096, 4_095, 1, 0, 10, 0].map((size) => {
        ftruncate(fd, size);
        return [fs.fstatSync(fd).size, ...asIs('a')];
      }),
    );
  },
  'what was cut does not come back': () => {
    fs.writeFileSync('a', 'x'.repeat(10_000));
    return withFile('a', 'r+', (fd) => {
      ftruncate(fd, 5_000);
      ftruncate(fd, 10_000);
      const afterTwo = sha256(fs.readFileSync('a'));
      ftruncate(fd, 4_000);
      fs.writeSync(fd, 'end', 9_000);
      return [afterTwo, asIs('a')];
    });
  },
  'writes, truncations and writes without fsync': () =>
    withFile('a', 'w+', (fd) => {
      fs.writeSync(fd, content(50_000), 0, 50_000, 0);
      ftruncate(fd, 10_000);
      fs.writeSync(fd, 'beyond', 20_000);
      ftruncate(fd, 20_003);
      fs.writeSync(fd, 'again', 9_999);
      return [fs.fstatSync(fd).size, sha256(fs.readFileSync('a'))];
    }),
  'truncate to the same size': () => {
    fs.writeFileSync('a', 'text');
    return [truncate('a', 4), text('a')];
  },
  'truncate through a link': () => {
    fs.writeFileSync('a', 'text');
    fs.symlinkSync('a', 'b');
    return [truncate('b', 2), text('a'), kindOf('b')];
  },
  'truncate: errors': () => {
    fs.writeFileSync('file', 'text');
    fs.mkdirSync('directory');
    fs.symlinkSync('loop', 'loop');
    return {
      missing: attempt(() => truncate('missing', 0)),
      empty: attempt(() => truncate('', 0)),
      directory: attempt(() => truncate('directory', 0)),
      negative: attempt(() => truncate('file', -1)),
      loop: attempt(() => truncate('loop', 0)),
      below: attempt(() => truncate('file/name', 0)),
      long: attempt(() => truncate('n'.repeat(256), 0)),
      left: text('file'),
    };
  },
  'truncate: too large': () => {
    fs.writeFileSync('file', 'text');
    return [2n ** 62n, OFFSET_MAX].map((size) => [
      attempt(() => truncate('file', size)),
      text('file').length,
    ]);
  },
  'ftruncate: errors': () => {
    fs.writeFileSync('file', 'text');
    return {
      forReading: attempt(() => withFile('file', 'r', (fd) => ftruncate(fd, 0))),
      negative: attempt(() => withFile('file', 'r+', (fd) => ftruncate(fd, -1))),
      path: attempt(() => withFile('file', O_PATH, (fd) => ftruncate(fd, 0))),
      directory: attempt(() => withFile('.', 'r', (fd) => ftruncate(fd, 0))),
      closed: attempt(() => ftruncate(NOT_A_FD, 0)),
      left: text('file'),
    };
  },
};

const appends = {
  O_APPEND: () => {
    fs.writeFileSync('a', 'start');
    return withFile('a', O_RDWR | O_APPEND, (fd) => {
      fs.writeSync(fd, ' one');
      fs.writeSync(fd, ' two', 0); // pwrite(2) appends as well on Linux
      const seen = [pread(fd, 100, 0)];
      ftruncate(fd, 3);
      fs.writeSync(fd, '|');
      seen.push(pread(fd, 100, 0));
      return seen;
    });
  },
  'O_APPEND through two descriptors': () =>
    withFile('a', 'a', (one) =>
      withFile('a', 'a', (two) => {
        for (let round = 0; round < 20; round += 1) fs.writeSync(round % 2 === 0 ? one : two, `${round} `);
        return text('a');
      }),
    ),
  'O_APPEND beside a writer at offsets': () =>
    withFile('a', 'w', (at) =>
      withFile('a', 'a', (end) => {
        for (let round = 0; round < 10; round += 1) {
          fs.writeSync(end, 'append');
          fs.writeSync(at, '#', round * 6);
          if (round === 5) fs.writeSync(at, 'beyond', 100);
        }
        return [text('a'), fs.fstatSync(end).size];
      }),
    ),
};

const synchronous = {
  ...Object.fromEntries(
    [
      ['O_SYNC', O_SYNC],
      ['O_DSYNC', O_DSYNC],
      ['O_SYNC with O_APPEND', O_SYNC | O_APPEND],
    ].map(([name, flag]) => [
      name,
      () =>
        withFile('a', O_WRONLY | O_CREAT | flag, (fd) => {
          const seen = [];
          for (const part of ['one', content(100_000), 'three']) {
            fs.writeSync(fd, part);
            seen.push(asIs('a'));
          }
          return seen;
        }),
    ]),
  ),
  O_DIRECT: () =>
    withAlignedMemory(64 * 1024, (memory) => {
      memory.set(content(memory.length));
      return withFile('a', O_RDWR | O_CREAT | O_DIRECT, (fd) => {
        const seen = [fs.writeSync(fd, memory, 0, 65_536, 0), fs.writeSync(fd, memory, 0, 4_096, 131_072)];
        seen.push(fs.writeSync(fd, memory, 8_192, 4_096, 4_096), asIs('a'));
        memory.fill(0);
        seen.push(fs.readSync(fd, memory, 0, 65_536, 0), sha256(memory));
        seen.push(fs.readSync(fd, memory, 0, 65_536, 131_072), fs.readSync(fd, memory, 0, 4_096, 139_264));
        return seen;
      });
    }),
  'O_DIRECT beside buffered writes': () =>
    withAlignedMemory(8_192, (memory) => {
      fs.writeFileSync('a', content(32_768));
      return withFile('a', 'r+', (buffered) =>
        withFile('a', O_RDWR | O_DIRECT, (direct) => {
          fs.writeSync(buffered, 'buffered', 4_100);
          fs.readSync(direct, memory, 0, 8_192, 0);
          const seen = [sha256(memory)];
          memory.fill(0x61);
          fs.writeSync(direct, memory, 0, 8_192, 8_192);
          seen.push(pread(buffered, 10, 8_190), asIs('a'));
          return seen;
        }),
      );
    }),
  'fsync and fdatasync': () => {
    fs.writeFileSync('a', 'text');
    fs.mkdirSync('d');
    return {
      writing: attempt(() =>
        withFile('a', 'r+', (fd) => {
          fs.writeSync(fd, 'TEXT');
          fs.fdatasyncSync(fd);
          fs.writeSync(fd, 'more');
          return fs.fsyncSync(fd);
        }),
      ),
      forReading: attempt(() => withFile('a', 'r', (fd) => fs.fsyncSync(fd))),
      dataForReading: attempt(() => withFile('a', 'r', (fd) => fs.fdatasyncSync(fd))),
      directory: attempt(() => withFile('d', 'r', (fd) => fs.fsyncSync(fd))),
      directoryData: attempt(() => withFile('d', 'r', (fd) => fs.fdatasyncSync(fd))),
      path: attempt(() => withFile('a', O_PATH, (fd) => fs.fsyncSync(fd))),
      closed: attempt(() => fs.fsyncSync(NOT_A_FD)),
      left: text('a'),
    };
  },
  'fsync by another descriptor': () =>
    withFile('a', 'w', (writing) => {
      fs.writeSync(writing, 'text');
      return withFile('a', 'r', (reading) => [fs.fsyncSync(reading) ?? 'done', pread(reading, 10, 0)]);
    }),
  'fsync of a removed file': () =>
    withFile('a', 'w', (fd) => {
      fs.writeSync(fd, 'text');
      fs.unlinkSync('a');
      return attempt(() => fs.fsyncSync(fd));
    }),
  'fsync of a removed directory': () => {
    fs.mkdirSync('d');
    return withFile('d', 'r', (fd) => {
      fs.rmdirSync('d');
      return attempt(() => fs.fsyncSync(fd));
    });
  },
};

const offsets = {
  'bytes past 4 GiB': () =>
    withFile('a', 'w+', (fd) => {
      fs.writeSync(fd, 'start');
      fs.writeSync(fd, 'across', 4 * GIB - 3);
      fs.writeSync(fd, 'behind', 5 * GIB);
      const seen = [
        [0, 5],
        [5, 5],
        [4 * GIB - 5, 10],
        [4 * GIB, 10],
        [5 * GIB - 2, 20],
      ];
      return [
        fs.fstatSync(fd).size,
        seen.map(([offset, bytes]) => pread(fd, bytes, offset)),
        fs.fstatSync(fd).blocks < 1_000,
      ];
    }),
  'truncate past 4 GiB': () => {
    fs.writeFileSync('a', 'text');
    return [6 * GIB, 4 * GIB, 4 * GIB - 1, 4].map((size) => {
      truncate('a', size);
      return [fs.statSync('a').size, fs.statSync('a').blocks < 100];
    });
  },
  'the largest file that is stored': () => stored('a', 'w', (fd) => pwrite(fd, 'x', 2n ** 43n)),
  ...Object.fromEntries(
    [2n ** 45n, 2n ** 62n, OFFSET_MAX - 4_096n, OFFSET_MAX - 1n, OFFSET_MAX].map((offset) => [
      `a write at ${offset}`,
      () => {
        fs.writeFileSync('a', 'text');
        const result = stored('a', 'r+', (fd) => pwrite(fd, 'x', offset));
        return [result, fs.statSync('a').size, text('a')];
      },
    ]),
  ),
  'a write at a negative offset': () => stored('a', 'w', (fd) => pwrite(fd, 'x', -1)),
  'a write across the last offset': () => stored('a', 'w', (fd) => pwrite(fd, 'xyz', OFFSET_MAX - 1n)),
  "a write above the process' limit": () => {
    process.on('SIGXFSZ', () => {});
    limitFileSize(10_000);
    try {
      return {
        below: stored('a', 'w', (fd) => pwrite(fd, 'x', 9_999)),
        above: stored('a', 'r+', (fd) => pwrite(fd, 'x', 10_000)),
        across: stored('a', 'r+', (fd) => pwrite(fd, 'xyz', 9_999)),
        truncate: attempt(() => truncate('a', 10_001)),
        size: fs.statSync('a').size,
      };
    } finally {
      limitFileSize(undefined);
    }
  },
};

const descriptors = {
  'write: errors of descriptors': () => {
    fs.writeFileSync('a', 'text');
    fs.mkdirSync('d');
    return {
      forReading: attempt(() => withFile('a', 'r', (fd) => fs.writeSync(fd, 'x'))),
      closed: attempt(() => fs.writeSync(NOT_A_FD, 'x')),
      path: attempt(() => withFile('a', O_PATH, (fd) => fs.writeSync(fd, 'x'))),
      directory: attempt(() => withFile('d', 'r', (fd) => fs.writeSync(fd, 'x'))),
      readForWriting: attempt(() => withFile('a', O_WRONLY, (fd) => pread(fd, 1, 0))),
      nothing: attempt(() => withFile('a', 'r+', (fd) => fs.writeSync(fd, ''))),
      left: text('a'),
    };
  },
  'written by one descriptor, read by another': () =>
    withFile('a', 'w', (writing) =>
      withFile('a', 'r', (reading) => {
        const seen = [];
        for (let round = 0; round < 20; round += 1) {
          fs.writeSync(writing, `round ${round};`, round * 5_000);
          seen.push(pread(reading, 20, round * 5_000), fs.fstatSync(reading).size, fs.statSync('a').size);
        }
        fs.writeSync(writing, 'ROUND', 5_000);
        seen.push(pread(reading, 10, 5_000), pread(reading, 10, 1_000_000));
        return seen;
      }),
    ),
  'two descriptors with positions of their own': () =>
    withFile('a', 'w', (one) =>
      withFile('a', 'r+', (two) => {
        fs.writeSync(one, 'aaaa');
        fs.writeSync(two, 'bb');
        fs.writeSync(one, 'cc');
        fs.writeSync(two, 'dddddd');
        return text('a');
      }),
    ),
  'a file grows while it is read': () =>
    withFile('a', 'w', (writing) =>
      withFile('a', 'r', (reading) => {
        const seen = [];
        const buffer = Buffer.alloc(10_000);
        for (let round = 1; round <= 12; round += 1) {
          fs.writeSync(writing, content(round * 700, `round ${round}`));
          const count = fs.readSync(reading, buffer);
          seen.push(count, sha256(buffer.subarray(0, count)), fs.readSync(reading, buffer));
        }
        return seen;
      }),
    ),
  'a file shrinks while it is read': () => {
    fs.writeFileSync('a', content(200_000));
    return withFile('a', 'r', (reading) => {
      const buffer = Buffer.alloc(100_000);
      const seen = [fs.readSync(reading, buffer)];
      truncate('a', 100_010);
      seen.push(fs.readSync(reading, buffer), fs.readSync(reading, buffer));
      return seen;
    });
  },
  'opened again after every change': () => {
    const seen = [];
    for (let round = 0; round < 10; round += 1) {
      fs.writeFileSync('a', `round ${round}`.repeat(10 - round));
      seen.push(text('a'), fs.statSync('a').size);
      fs.appendFileSync('a', '!');
      seen.push(text('a'));
    }
    return seen;
  },
  'O_TRUNC while the file is open': () => {
    fs.writeFileSync('a', 'long enough text');
    return withFile('a', 'r+', (fd) => {
      fs.writeSync(fd, 'LONG');
      withFile('a', O_WRONLY | O_TRUNC, () => 0);
      const seen = [fs.fstatSync(fd).size, pread(fd, 20, 0)];
      fs.writeSync(fd, '|');
      seen.push(fs.fstatSync(fd).size, text('a'));
      return seen;
    });
  },
  'a duplicated descriptor': () =>
    withFile('a', 'w', (fd) => {
      fs.writeSync(fd, 'one');
      const again = fs.openSync(`/proc/self/fd/${fd}`, O_RDWR);
      fs.writeSync(again, 'TWO', 3);
      fs.closeSync(again);
      fs.writeSync(fd, '.', 6);
      return text('a');
    }),
};

export const data = {
  'writes at random places': () =>
    withFile('a', 'w+', (fd) => {
      const random = numbers(7);
      for (let round = 0; round < 300; round += 1) {
        const offset = random.next().value % 3_000_000;
        const bytes = 1 + (random.next().value % 30_000);
        fs.writeSync(fd, content(bytes, String(round)), 0, bytes, offset);
        // Some are read back before they are stored.
        if (round % 50 === 0) fs.readSync(fd, Buffer.alloc(bytes), 0, bytes, offset);
      }
      return asIs('a');
    }),
  'writes of many sizes in a row': () => {
    withFile('a', 'w', (fd) => {
      for (const bytes of [1, 2, 4_095, 4_096, 4_097, 65_535, 65_537, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
        fs.writeSync(fd, content(bytes, String(bytes)));
    });
    return asIs('a');
  },
  '4,096 small writes': () => {
    withFile('a', 'w', (fd) => {
      for (let round = 0; round < 4_096; round += 1) fs.writeSync(fd, `line ${round}\n`);
    });
    return asIs('a');
  },
  'several buffers at once': () =>
    withFile('a', 'w', (fd) => {
      fs.writevSync(
        fd,
        ['one ', 'two ', 'three'].map((part) => Buffer.from(part)),
      );
      fs.writevSync(fd, [Buffer.from('ONE'), Buffer.from(' TWO')], 0);
      return text('a');
    }),
  'overwriting the middle': () => {
    fs.writeFileSync('a', content(10_000));
    return [
      withFile('a', 'r+', (fd) => [fs.writeSync(fd, 'middle', 4_094), fs.writeSync(fd, 'end', 9_999)]),
      asIs('a'),
    ];
  },
  'a hole between writes': () =>
    withFile('a', 'w+', (fd) => {
      fs.writeSync(fd, 'end', 100_000);
      fs.writeSync(fd, 'start', 0);
      return [pread(fd, 10, 0), pread(fd, 5, 50_000), asIs('a')];
    }),
  'nothing written is nothing': () => [
    withFile('a', 'w', () => 0),
    kindOf('a'),
    withFile('b', O_RDONLY | O_CREAT, () => 0),
    kindOf('b'),
  ],
  ...truncations,
  ...appends,
  ...synchronous,
  ...offsets,
  ...descriptors,
};
