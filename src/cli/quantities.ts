/** Numbers in options: sizes with K, M, G or T, and whole numbers with limits. */
import { CliError } from './errors.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** Reads bytes such as 4096, 64M or 1G. Throws CliError (usage) outside of the limits. */
export function parseSize(
  option: string,
  minimumBytes: number,
  maximumBytes: number,
): (text: string) => number {
  return (text) => {
    const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
    const bytes = match === null ? NaN : Number(match[1]) * (UNITS[match[2] ?? ''] ?? NaN);
    if (bytes >= minimumBytes && bytes <= maximumBytes) return bytes;
    const range = `${shortSize(minimumBytes)} to ${shortSize(maximumBytes)}`;
    throw new CliError(`${option} ${text}: bytes from ${range} are allowed, such as 64M or 1G`, 2);
  };
}

/** Reads a whole number of at most nine digits. Throws CliError (usage) outside of the limits. */
export function wholeNumber(option: string, minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (number >= minimum && number <= maximum) return number;
    throw new CliError(`${option} ${text}: a whole number from ${minimum} to ${maximum} is allowed`, 2);
  };
}

/** The size with the largest unit that divides it: 16M. */
export function shortSize(bytes: number): string {
  const [name, unit] = Object.entries(UNITS).findLast(([, each]) => bytes >= each && bytes % each === 0) ?? [
    '',
    1,
  ];
  return `${bytes / unit}${name}`;
}
