/**
 * Structures of fixed size: one declaration gives the type, the encoder and a decoder compiled by
 * binary-parser. XDR structures without variable parts use it big-endian, the kernel's FUSE structures
 * little-endian.
 */
import { Parser } from 'binary-parser';
import { XdrError } from './error.ts';

export type Endianness = 'big' | 'little';

/** One field of fixed size: how binary-parser reads it, and how it is written. */
export interface FixedField<T> {
  readonly sizeBytes: number;
  /**
   * Adds the field to a parser under `name`; `endianness` is already the parser's default. `path` is what errors
   * call the field, with the structures around it; default `name`.
   */
  addTo(parser: Parser, name: string, endianness: Endianness, path?: string): void;
  write(view: DataView, offset: number, value: T, littleEndian: boolean): void;
}

export type FixedValue<F> = { [K in keyof F]: F[K] extends FixedField<infer T> ? T : never };

/** A structure of fixed size. */
export interface FixedStruct<T> extends FixedField<T> {
  readonly name: string;
  /** Decodes the first `sizeBytes` bytes of `bytes`; throws TRUNCATED when there are fewer. */
  decode(bytes: Uint8Array): T;
  /** The same for a structure inside another: errors do not begin with its name. */
  decodeFields(bytes: Uint8Array): T;
  /** Writes at `offset`; the caller has made room for `sizeBytes`. */
  encodeInto(bytes: Uint8Array, offset: number, value: T): void;
  encode(value: T): Buffer;
}

function integer(
  sizeBytes: number,
  minimum: number,
  maximum: number,
  add: (parser: Parser, name: string) => void,
  set: (view: DataView, offset: number, value: number, littleEndian: boolean) => void,
): FixedField<number> {
  return {
    sizeBytes,
    addTo: (parser, name) => {
      add(parser, name);
    },
    write: (view, offset, value, littleEndian) => {
      if (!Number.isInteger(value) || value < minimum || value > maximum) {
        throw new XdrError('RANGE', `${value} is outside ${minimum}..${maximum}`);
      }
      set(view, offset, value, littleEndian);
    },
  };
}

function wide(
  minimum: bigint,
  maximum: bigint,
  add: (parser: Parser, name: string) => void,
  set: (view: DataView, offset: number, value: bigint, littleEndian: boolean) => void,
): FixedField<bigint> {
  return {
    sizeBytes: 8,
    addTo: (parser, name) => {
      add(parser, name);
    },
    write: (view, offset, value, littleEndian) => {
      if (value < minimum || value > maximum) {
        throw new XdrError('RANGE', `${value} is outside ${minimum}..${maximum}`);
      }
      set(view, offset, value, littleEndian);
    },
  };
}

export const fixedU16 = integer(
  2,
  0,
  0xffff,
  (parser, name) => parser.uint16(name),
  (view, offset, value, little) => {
    view.setUint16(offset, value, little);
  },
);
export const fixedU32 = integer(
  4,
  0,
  0xffffffff,
  (parser, name) => parser.uint32(name),
  (view, offset, value, little) => {
    view.setUint32(offset, value, little);
  },
);
export const fixedI32 = integer(
  4,
  -0x80000000,
  0x7fffffff,
  (parser, name) => parser.int32(name),
  (view, offset, value, little) => {
    view.setInt32(offset, value, little);
  },
);
export const fixedU64 = wide(
  0n,
  0xffffffffffffffffn,
  (parser, name) => parser.uint64(name),
  (view, offset, value, little) => {
    view.setBigUint64(offset, value, little);
  },
);
export const fixedI64 = wide(
  -0x8000000000000000n,
  0x7fffffffffffffffn,
  (parser, name) => parser.int64(name),
  (view, offset, value, little) => {
    view.setBigInt64(offset, value, little);
  },
);

/** Exactly `sizeBytes` bytes. Decoded as a view of the input. */
export function fixedBytes(sizeBytes: number): FixedField<Uint8Array> {
  return {
    sizeBytes,
    addTo: (parser, name) => {
      parser.buffer(name, { length: sizeBytes });
    },
    write: (view, offset, value) => {
      if (value.length !== sizeBytes)
        throw new XdrError('RANGE', `${value.length} bytes where ${sizeBytes} are declared`);
      new Uint8Array(view.buffer, view.byteOffset + offset, sizeBytes).set(value);
    },
  };
}

/** A value checked (and perhaps turned into another type) right after it was read. */
export function checked<T, R extends T>(field: FixedField<T>, check: (value: T) => R): FixedField<R> {
  return {
    sizeBytes: field.sizeBytes,
    addTo: (parser, name, endianness, path = name) => {
      const single = new Parser().endianness(endianness);
      field.addTo(single, 'value', endianness);
      parser.nest(name, {
        type: single,
        formatter: (nested: unknown) => {
          try {
            return check((nested as { value: T }).value);
          } catch (error) {
            throw error instanceof XdrError ? error.within(path) : error;
          }
        },
      });
    },
    write: (view, offset, value, little) => {
      field.write(view, offset, check(value), little);
    },
  };
}

/**
 * What binary-parser makes for a whole parse. It sets these two in every one and deletes them at the end, which would turn
 * its objects into hash tables. As they are none of its own, nothing happens; and what is nested in it is left alone.
 */
class Parsed {
  set $parent(_: unknown) {
    // See above.
  }

  set $root(_: unknown) {
    // See above.
  }
}

/**
 * Declares a structure of fixed size.
 *
 * @param name the structure's name in its specification; appears in errors
 * @param endianness byte order of every integer in it
 * @param fields in wire order, without implicit padding: declare padding as fields
 */
export function fixedStruct<F extends Record<string, FixedField<unknown>>>(
  name: string,
  endianness: Endianness,
  fields: F,
): FixedStruct<FixedValue<F>> {
  type Value = FixedValue<F>;
  const entries = Object.entries(fields) as unknown as readonly (readonly [string, FixedField<unknown>])[];
  const fieldsParser = new Parser().endianness(endianness);
  let sizeBytes = 0;
  for (const [field, type] of entries) {
    type.addTo(fieldsParser, field, endianness);
    sizeBytes += type.sizeBytes;
  }
  const parser = new Parser().create(Parsed).nest('value', { type: fieldsParser });
  const decodeFields = (bytes: Uint8Array): Value => {
    // binary-parser hands out short buffers instead of failing, so the size is checked before it runs.
    if (bytes.length < sizeBytes) {
      throw new XdrError('TRUNCATED', `needs ${sizeBytes} bytes, ${bytes.length} left`);
    }
    return (parser.parse(bytes) as { value: Value }).value;
  };
  const little = endianness === 'little';

  const write = (view: DataView, offset: number, value: Value): void => {
    let at = offset;
    for (const [field, type] of entries) {
      try {
        type.write(view, at, value[field as keyof Value], little);
      } catch (error) {
        throw error instanceof XdrError ? error.within(field) : error;
      }
      at += type.sizeBytes;
    }
  };
  const encodeInto = (bytes: Uint8Array, offset: number, value: Value): void => {
    try {
      write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset, value);
    } catch (error) {
      throw error instanceof XdrError ? error.within(name) : error;
    }
  };
  return {
    name,
    sizeBytes,
    addTo: (outer, field, _endianness, path = field) => {
      // A parser of its own, so that errors inside name the way from the outermost structure.
      const nested = new Parser().endianness(endianness);
      for (const [inner, type] of entries) type.addTo(nested, inner, endianness, `${path}.${inner}`);
      outer.nest(field, { type: nested });
    },
    write,
    decode: (bytes) => {
      try {
        return decodeFields(bytes);
      } catch (error) {
        throw error instanceof XdrError ? error.within(name) : error;
      }
    },
    decodeFields,
    encodeInto,
    encode: (value) => {
      const bytes = Buffer.alloc(sizeBytes);
      encodeInto(bytes, 0, value);
      return bytes;
    },
  };
}
