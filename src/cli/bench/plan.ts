/** Which files of a tree are read for which workload. */
import { SMALL_FILE_BYTES_MAX, SMALL_FILES_MAX } from './limits.ts';
import type { Survey, Workload } from './tasks.ts';

/** statfs(2): FUSE, NFS, CIFS, SMB2, 9p, Ceph, AFS. Their pages here are copies of a server's. */
const CLIENT_FILE_SYSTEMS = new Set([
  0x65735546, 0x6969, 0xff534d42, 0xfe534d42, 0x01021997, 0x00c36400, 0x5346414f,
]);

/** Whether dropping a file's pages from this machine's cache leaves the server's cache as it is. */
export function isClientFileSystem(magic: number): boolean {
  return CLIENT_FILE_SYSTEMS.has(magic >>> 0);
}

/** One workload with its files; where and for how long is added by who runs it. */
export interface PlannedWork {
  readonly workload: Workload;
  /** For people: what is read. */
  readonly subject: string;
  readonly work:
    | { readonly workload: 'sequential'; readonly file: string; readonly bytesMax: number }
    | { readonly workload: 'pread' | 'mmap'; readonly file: string; readonly readsMax: number }
    | { readonly workload: 'small-files' | 'stat'; readonly files: readonly string[] }
    | { readonly workload: 'list'; readonly directory: string };
}

const PAGE_BYTES = 4096;

/** Leaves a workload out for which the tree has no file. */
export function planReads(
  { files, entries, complete }: Survey,
  { bytesMax, readsMax }: { readonly bytesMax: number; readonly readsMax: number },
): readonly PlannedWork[] {
  const plan: PlannedWork[] = [];
  const largest = files.reduce<Survey['files'][number] | undefined>(
    (most, file) => (file.sizeBytes > (most?.sizeBytes ?? 0) ? file : most),
    undefined,
  );
  if (largest !== undefined) {
    const file = largest.name;
    const name = Buffer.from(file, 'latin1').toString();
    plan.push({
      workload: 'sequential',
      subject: `${name}, ${mebibytes(Math.min(bytesMax, largest.sizeBytes))} MiB`,
      work: { workload: 'sequential', file, bytesMax },
    });
    const pages = Math.floor(largest.sizeBytes / PAGE_BYTES);
    for (const workload of pages === 0 ? [] : (['pread', 'mmap'] as const)) {
      plan.push({
        workload,
        subject: `${name}, up to ${Math.min(pages, readsMax)} pages`,
        work: { workload, file, readsMax },
      });
    }
  }
  const small = files.filter(({ sizeBytes }) => sizeBytes <= SMALL_FILE_BYTES_MAX).slice(0, SMALL_FILES_MAX);
  if (small.length > 0) {
    plan.push({
      workload: 'small-files',
      subject: `${small.length} files, ${mebibytes(small.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))} MiB`,
      work: { workload: 'small-files', files: small.map(({ name }) => name) },
    });
  }
  if (files.length > 0) {
    plan.push({
      workload: 'stat',
      subject: `${files.length} files`,
      work: { workload: 'stat', files: files.map(({ name }) => name) },
    });
  }
  plan.push({
    workload: 'list',
    subject: `${entries} entries${complete ? '' : ' or more'}`,
    work: { workload: 'list', directory: '' },
  });
  return plan;
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
