// binary-parser ships declarations that its package exports do not reach; this is the part used here.
declare module 'binary-parser' {
  export class Parser {
    create(constructorFn: new () => unknown): this;
    endianness(order: 'big' | 'little'): this;
    uint16(name: string): this;
    uint32(name: string): this;
    int32(name: string): this;
    uint64(name: string): this;
    int64(name: string): this;
    buffer(name: string, options: { length: number }): this;
    nest(name: string, options: { type: Parser; formatter?: (value: unknown) => unknown }): this;
    parse(bytes: Uint8Array): unknown;
  }
}
