/** What went wrong while encoding or decoding; stable, safe to match on. */
export type XdrErrorCode =
  | 'TRUNCATED' // fewer bytes than the declaration needs
  | 'LEFTOVER' // bytes remain after the last field
  | 'TOO_LONG' // a variable length exceeds its declared limit
  | 'BAD_VALUE' // an enum or bool holds a value outside its set
  | 'RANGE'; // a JavaScript value does not fit its field (encoding only)

/**
 * The one error every codec throws. `field` is the dotted path to the field that failed, such as
 * `READDIR3resok.reply.entries[3].name`.
 */
export class XdrError extends Error {
  readonly code: XdrErrorCode;
  readonly detail: string;
  field: string;

  constructor(code: XdrErrorCode, detail: string, field = '') {
    super(detail);
    this.name = 'XdrError';
    this.code = code;
    this.detail = detail;
    this.field = field;
    this.#describe();
  }

  /** Prepends one path step while the error travels outward through the enclosing declarations. */
  within(step: string): this {
    this.field =
      this.field === '' ? step : this.field.startsWith('[') ? step + this.field : `${step}.${this.field}`;
    this.#describe();
    return this;
  }

  #describe(): void {
    this.message = this.field === '' ? this.detail : `${this.field}: ${this.detail}`;
  }
}
