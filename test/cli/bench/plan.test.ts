import t from 'tap';
import { isClientFileSystem, planReads } from '../../../src/cli/bench/plan.ts';

const limits = { bytesMax: 1024 ** 3, readsMax: 1000 };

t.test('the largest file for large reads, the small ones for small', async (t) => {
  const files = [
    { name: 'a', sizeBytes: 10 },
    { name: 'big', sizeBytes: 5_000_000 },
    { name: 'c', sizeBytes: 65_537 },
  ];
  const plan = planReads({ files, entries: 4, complete: true, fileSystem: 0 }, limits);
  t.strictSame(
    plan.map(({ work }) => work),
    [
      { workload: 'sequential', file: 'big', bytesMax: 1024 ** 3 },
      { workload: 'pread', file: 'big', readsMax: 1000 },
      { workload: 'mmap', file: 'big', readsMax: 1000 },
      { workload: 'small-files', files: ['a'] },
      { workload: 'stat', files: ['a', 'big', 'c'] },
      { workload: 'list', directory: '' },
    ],
  );
});

t.test('what a tree has no file for is left out', async (t) => {
  const workloads = (files: { name: string; sizeBytes: number }[]) =>
    planReads({ files, entries: 1, complete: true, fileSystem: 0 }, limits).map(({ workload }) => workload);
  t.strictSame(workloads([]), ['list']);
  t.strictSame(workloads([{ name: 'a', sizeBytes: 0 }]), ['small-files', 'stat', 'list']);
  t.strictSame(workloads([{ name: 'a', sizeBytes: 9 }]), ['sequential', 'small-files', 'stat', 'list']);
});

t.test('kinds of file systems', async (t) => {
  t.ok(isClientFileSystem(0x65735546), 'FUSE');
  t.ok(isClientFileSystem(0x6969), 'NFS');
  t.ok(isClientFileSystem(0xff534d42 | 0), 'CIFS, also as the signed number it may come as');
  t.notOk(isClientFileSystem(0xef53), 'ext4');
});
