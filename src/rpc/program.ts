import type { Codec } from '../xdr/codec.ts';

/** One remote procedure: everything the dispatcher, the caller and the retry rules need to know about it. */
export interface Procedure<A, R> {
  readonly number: number;
  readonly args: Codec<A>;
  readonly result: Codec<R>;
  /** Whether a second execution of the same call leaves the same state and gives the same answer. */
  readonly idempotent: boolean;
}

export type Procedures = Readonly<Record<string, Procedure<unknown, unknown>>>;

/** One version of a remote program: RFC 5531 section 8. Keys of `procedures` are the specification's names. */
export interface Program<P extends Procedures = Procedures> {
  readonly name: string;
  readonly number: number;
  readonly version: number;
  readonly procedures: P;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the pattern that lets TypeScript infer A and R
export type ArgsOf<T> = T extends Procedure<infer A, any> ? A : never;
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
export type ResultOf<T> = T extends Procedure<any, infer R> ? R : never;

/** One function for each procedure of a program. */
export type Handlers<P extends Procedures, Context> = {
  readonly [K in keyof P]: (args: ArgsOf<P[K]>, context: Context) => ResultOf<P[K]> | Promise<ResultOf<P[K]>>;
};

export function procedure<A, R>(
  number: number,
  args: Codec<A>,
  result: Codec<R>,
  options: { readonly idempotent: boolean } = { idempotent: true },
): Procedure<A, R> {
  return { number, args, result, idempotent: options.idempotent };
}
