export function randomNumbers(seed: number): (below: number) => number;
export function recordBytes(record: string, length: number): Buffer;
export const BLOCK_BYTES: number;
export const BLOCKS: number;
export const RANGE_FILES: readonly string[];
export function blockBytes(seed: number, file: number, block: number): Buffer;
