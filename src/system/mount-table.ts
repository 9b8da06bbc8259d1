/** The mounts of this process's namespace, from /proc/self/mountinfo: nothing here touches a mount. */
import { readFileSync } from 'node:fs';

/** A line of mountinfo (proc(5)). */
export interface MountEntry {
  readonly id: number;
  readonly parentId: number;
  /** MAJ:MIN of the file system. */
  readonly device: string;
  readonly mountPoint: string;
  /** Options of this mount: ro, nosuid and the like. */
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Options of the file system, which all its mounts share. */
  readonly superOptions: readonly string[];
}

/** All mounts, in the order in which they were made. */
export function mountTable(): readonly MountEntry[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

/** What is mounted at a path, on top; undefined when nothing is. */
export function mountAt(
  mountPoint: string,
  table: readonly MountEntry[] = mountTable(),
): MountEntry | undefined {
  return table.findLast((entry) => entry.mountPoint === mountPoint);
}

function parseLine(line: string): MountEntry {
  const fields = line.split(' ');
  // Optional fields end with a lone "-".
  const after = fields.slice(fields.indexOf('-', 6) + 1);
  const [id = '', parentId = '', device = '', , mountPoint = '', options = ''] = fields;
  const [type = '', source = '', superOptions = ''] = after;
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    mountPoint: unescape(mountPoint),
    options: options.split(','),
    type: unescape(type),
    source: unescape(source),
    superOptions: superOptions.split(','),
  };
}

/** Space, tab, newline, backslash and '#' are octal in mountinfo; all of them are ASCII. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
