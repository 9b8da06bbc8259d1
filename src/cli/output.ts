import Table from 'cli-table3';

/** Where a command writes: results to `out`, remarks to `err`. */
export interface CliStreams {
  out: { write(text: string): unknown };
  err: { write(text: string): unknown };
}

export const processStreams: CliStreams = { out: process.stdout, err: process.stderr };

const NO_BORDER = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/**
 * Prints rows in aligned columns under a heading, without borders, colours or trailing spaces.
 * Control characters in a cell are shown as escapes.
 */
export function printTable(
  streams: CliStreams,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const table = new Table({
    chars: NO_BORDER,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 0 },
  });
  table.push([...head], ...rows.map((row) => row.map(visible)));
  const lines = table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
  streams.out.write(`${lines.join('\n')}\n`);
}

/** Prints one JSON document, indented. 64-bit integers become decimal strings, which lose nothing. */
export function printJson(streams: CliStreams, value: unknown): void {
  const text = JSON.stringify(
    value,
    (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item),
    2,
  );
  streams.out.write(`${text}\n`);
}

/** Prints a remark for people: one line on stderr. */
export function printRemark(streams: CliStreams, line: string): void {
  streams.err.write(`nearmount: ${visible(line)}\n`);
}

/** Text that cannot steer a terminal: control characters become \xNN. */
export function visible(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}
