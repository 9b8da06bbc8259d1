export function randomNumbers(seed: number): (below: number) => number;
export function recordBytes(record: string, length: number): Buffer;
