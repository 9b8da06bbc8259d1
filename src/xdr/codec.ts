/**
 * RFC 4506 codec combinators. A declaration such as
 *
 *     export const LOOKUP3args = struct('LOOKUP3args', { what: diropargs3 });
 *     export type LOOKUP3args = Infer<typeof LOOKUP3args>;
 *
 * gives the TypeScript type, the encoder and the decoder of a wire structure. 64-bit integers are bigint.
 */
import { XdrError } from './error.ts';
import {
  checked,
  fixedBytes,
  fixedI32,
  fixedI64,
  fixedStruct,
  fixedU32,
  fixedU64,
  type FixedField,
} from './fixed.ts';
import { XdrReader } from './reader.ts';
import { XdrWriter } from './writer.ts';

export interface Codec<T> {
  /** The name in the specification; appears in errors. */
  readonly name: string;
  encode(writer: XdrWriter, value: T): void;
  /** Throws XdrError; never reads past the record, never allocates more than the bytes that are left. */
  decode(reader: XdrReader): T;
  /** Set where every value has the same size: structures of such fields are compiled by binary-parser. */
  readonly fixed?: FixedField<T>;
}

export type Infer<C> = C extends Codec<infer T> ? T : never;

/** Decodes a whole record: every byte must belong to the declaration. */
export function decodeAll<T>(codec: Codec<T>, chunks: readonly Uint8Array[]): T {
  const reader = new XdrReader(chunks);
  try {
    const value = codec.decode(reader);
    reader.expectEnd();
    return value;
  } catch (error) {
    throw located(error, codec.name);
  }
}

/** Encodes one value into chunks; opaque data from 2 KiB up is kept by reference. */
export function encodeAll<T>(codec: Codec<T>, value: T): Uint8Array[] {
  const writer = new XdrWriter();
  try {
    codec.encode(writer, value);
  } catch (error) {
    throw located(error, codec.name);
  }
  return writer.finish();
}

function located(error: unknown, step: string): unknown {
  return error instanceof XdrError ? error.within(step) : error;
}

export const u32: Codec<number> = {
  name: 'u32',
  encode: (writer, value) => {
    writer.u32(value);
  },
  decode: (reader) => reader.u32(),
  fixed: fixedU32,
};

export const i32: Codec<number> = {
  name: 'i32',
  encode: (writer, value) => {
    writer.i32(value);
  },
  decode: (reader) => reader.u32() | 0,
  fixed: fixedI32,
};

export const u64: Codec<bigint> = {
  name: 'u64',
  encode: (writer, value) => {
    writer.u64(value);
  },
  decode: (reader) => reader.u64(),
  fixed: fixedU64,
};

export const i64: Codec<bigint> = {
  name: 'i64',
  encode: (writer, value) => {
    writer.i64(value);
  },
  decode: (reader) => BigInt.asIntN(64, reader.u64()),
  fixed: fixedI64,
};

/** RFC 4506 section 4.4: 0 or 1, anything else is an error. */
export const bool: Codec<boolean> = {
  name: 'bool',
  encode: (writer, value) => {
    writer.u32(value ? 1 : 0);
  },
  decode: (reader) => {
    const value = reader.u32();
    if (value > 1) throw new XdrError('BAD_VALUE', `bool holds ${value}`);
    return value === 1;
  },
};

/** Nothing on the wire. */
export const nothing: Codec<void> = {
  name: 'void',
  encode: () => undefined,
  decode: () => undefined,
};

/** An enum: only the declared values pass. */
export function enumeration<const V extends Readonly<Record<string, number>>>(
  name: string,
  values: V,
): Codec<V[keyof V]> {
  type Value = V[keyof V];
  const known = new Set<number>(Object.values(values));
  const check = (value: number): Value => {
    if (!known.has(value)) throw new XdrError('BAD_VALUE', `${value} is not a ${name}`);
    return value as Value;
  };
  return {
    name,
    encode: (writer, value) => {
      writer.i32(check(value));
    },
    decode: (reader) => check(reader.u32() | 0),
    fixed: checked(fixedI32, check),
  };
}

/** Fixed-length opaque data; `lengthBytes` a multiple of four keeps a structure of fixed size. */
export function opaqueFixed(name: string, lengthBytes: number): Codec<Uint8Array> {
  const codec: Codec<Uint8Array> = {
    name,
    encode: (writer, value) => {
      if (value.length !== lengthBytes) {
        throw new XdrError('RANGE', `${value.length} bytes where ${lengthBytes} are declared`);
      }
      writer.bytes(value);
      writer.pad(lengthBytes);
    },
    decode: (reader) => {
      const value = reader.take(lengthBytes);
      reader.skipPadding(lengthBytes);
      return value;
    },
  };
  return (lengthBytes & 3) === 0 ? { ...codec, fixed: fixedBytes(lengthBytes) } : codec;
}

function boundedLength(reader: XdrReader, maxBytes: number): number {
  const length = reader.u32();
  if (length > maxBytes) throw new XdrError('TOO_LONG', `${length} bytes, at most ${maxBytes} allowed`);
  reader.require(length);
  return length;
}

function checkLength(length: number, maxBytes: number): void {
  if (length > maxBytes) throw new XdrError('TOO_LONG', `${length} bytes, at most ${maxBytes} allowed`);
}

/** Variable-length opaque data or a string of bytes (RFC 4506 sections 4.10, 4.11), decoded as a view. */
export function opaque(name: string, maxBytes: number): Codec<Uint8Array> {
  return {
    name,
    encode: (writer, value) => {
      checkLength(value.length, maxBytes);
      writer.u32(value.length);
      writer.bytes(value);
      writer.pad(value.length);
    },
    decode: (reader) => {
      const length = boundedLength(reader, maxBytes);
      const value = reader.take(length);
      reader.skipPadding(length);
      return value;
    },
  };
}

/** Bulk data: variable-length opaque that stays in the pieces it arrived in, so it is never joined. */
export function opaquePieces(name: string, maxBytes: number): Codec<readonly Uint8Array[]> {
  return {
    name,
    encode: (writer, pieces) => {
      let length = 0;
      for (const piece of pieces) length += piece.length;
      checkLength(length, maxBytes);
      writer.u32(length);
      for (const piece of pieces) writer.bytes(piece);
      writer.pad(length);
    },
    decode: (reader) => {
      const length = boundedLength(reader, maxBytes);
      const pieces = reader.takeChunks(length);
      reader.skipPadding(length);
      return pieces;
    },
  };
}

type StructFields = Record<string, Codec<unknown>>;
export type StructValue<F> = { [K in keyof F]: Infer<F[K]> };

/** A structure: fields in wire order. Compiled by binary-parser where every field has a fixed size. */
export function struct<F extends StructFields>(name: string, fields: F): Codec<StructValue<F>> {
  type Value = StructValue<F>;
  const entries = Object.entries(fields) as unknown as readonly (readonly [string, Codec<unknown>])[];
  const encode = (writer: XdrWriter, value: Value): void => {
    for (const [field, codec] of entries) {
      try {
        codec.encode(writer, value[field as keyof Value]);
      } catch (error) {
        throw located(error, field);
      }
    }
  };
  const fixedFields: Record<string, FixedField<unknown>> = {};
  for (const [field, codec] of entries) {
    if (codec.fixed === undefined) return variableStruct(name, entries, encode);
    fixedFields[field] = codec.fixed;
  }
  const compiled = fixedStruct(name, 'big', fixedFields);
  return {
    name,
    encode,
    decode: (reader) => compiled.decodeFields(reader.take(compiled.sizeBytes)) as Value,
    fixed: compiled,
  };
}

function variableStruct<T>(
  name: string,
  entries: readonly (readonly [string, Codec<unknown>])[],
  encode: (writer: XdrWriter, value: T) => void,
): Codec<T> {
  return {
    name,
    encode,
    decode: (reader) => {
      const value: Record<string, unknown> = {};
      for (const [field, codec] of entries) {
        try {
          value[field] = codec.decode(reader);
        } catch (error) {
          throw located(error, field);
        }
      }
      return value as T;
    },
  };
}

/** Optional data (RFC 4506 section 4.19): null where absent. */
export function optional<T>(codec: Codec<T>): Codec<T | null> {
  return {
    name: `${codec.name}?`,
    encode: (writer, value) => {
      bool.encode(writer, value !== null);
      if (value !== null) codec.encode(writer, value);
    },
    decode: (reader) => (bool.decode(reader) ? codec.decode(reader) : null),
  };
}

/** Up to `maxItems` items behind a count (RFC 4506 section 4.13). `minItemBytes` bounds the count by the bytes left. */
export function array<T>(codec: Codec<T>, maxItems: number, minItemBytes = 4): Codec<readonly T[]> {
  return {
    name: `${codec.name}<${maxItems}>`,
    encode: (writer, items) => {
      if (items.length > maxItems)
        throw new XdrError('TOO_LONG', `${items.length} items, at most ${maxItems} allowed`);
      writer.u32(items.length);
      for (const item of items) codec.encode(writer, item);
    },
    decode: (reader) => {
      const count = reader.u32();
      if (count > maxItems) throw new XdrError('TOO_LONG', `${count} items, at most ${maxItems} allowed`);
      reader.require(count * minItemBytes);
      const items: T[] = [];
      for (let index = 0; index < count; index += 1) items.push(decodeItem(codec, reader, index));
      return items;
    },
  };
}

/** A linked list of the form `item *next` (as in READDIR and EXPORT), decoded by a loop into an array. */
export function list<T>(codec: Codec<T>, maxItems: number): Codec<readonly T[]> {
  return {
    name: `${codec.name}*`,
    encode: (writer, items) => {
      if (items.length > maxItems)
        throw new XdrError('TOO_LONG', `${items.length} items, at most ${maxItems} allowed`);
      for (const item of items) {
        bool.encode(writer, true);
        codec.encode(writer, item);
      }
      bool.encode(writer, false);
    },
    decode: (reader) => {
      const items: T[] = [];
      while (bool.decode(reader)) {
        if (items.length >= maxItems) throw new XdrError('TOO_LONG', `more than ${maxItems} items`);
        items.push(decodeItem(codec, reader, items.length));
      }
      return items;
    },
  };
}

function decodeItem<T>(codec: Codec<T>, reader: XdrReader, index: number): T {
  try {
    return codec.decode(reader);
  } catch (error) {
    throw located(error, `[${index}]`);
  }
}

type Arms = Readonly<Record<number, Codec<unknown>>>;
type ArmValue<A extends Arms, K extends number> = K extends keyof A ? Infer<A[K]> : never;
type Flat<T> = T extends object ? T : unknown;
export type UnionValue<Tag extends string, K extends number, A extends Arms, D> =
  | { [P in K & keyof A]: Readonly<Record<Tag, P>> & Flat<ArmValue<A, P>> }[K & keyof A]
  | ([D] extends [never] ? never : Readonly<Record<Tag, Exclude<K, keyof A>>> & Flat<D>);

/**
 * A discriminated union (RFC 4506 section 4.15). The discriminant and the fields of its arm lie side by side
 * in the value: `{ status: 0, ...resok }`.
 *
 * @param tag the discriminant's field name
 * @param discriminant its codec
 * @param arms one structure (or `nothing`) for each value that has its own
 * @param otherwise the default arm; without it any other value is an error
 */
export function union<const Tag extends string, K extends number, A extends Arms, D = never>(
  name: string,
  tag: Tag,
  discriminant: Codec<K>,
  arms: A,
  otherwise?: Codec<D>,
): Codec<UnionValue<Tag, K, A, D>> {
  type Value = UnionValue<Tag, K, A, D>;
  const armOf = (value: number): Codec<unknown> => {
    const arm = (arms as unknown as Readonly<Record<number, Codec<unknown> | undefined>>)[value] ?? otherwise;
    if (arm === undefined) throw new XdrError('BAD_VALUE', `${value} has no arm in ${name}`, tag);
    return arm;
  };
  return {
    name,
    encode: (writer, value) => {
      const selected = (value as Readonly<Record<Tag, K>>)[tag];
      const arm = armOf(selected);
      discriminant.encode(writer, selected);
      arm.encode(writer, value);
    },
    decode: (reader) => {
      let selected: K;
      try {
        selected = discriminant.decode(reader);
      } catch (error) {
        throw located(error, tag);
      }
      const body = armOf(selected).decode(reader);
      return { [tag]: selected, ...(body as object | undefined) } as Value;
    },
  };
}
