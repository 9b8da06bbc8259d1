/** Memory that somebody has lent to several at once: it goes back when the last of them is done with it. */
export class LentBytes {
  readonly #release: () => void;
  /** One is the borrower's own. */
  #shares = 1;

  constructor(release: () => void) {
    this.#release = release;
  }

  /** One share more; what is returned gives it back. */
  share(): () => void {
    this.#shares += 1;
    return () => {
      this.done();
    };
  }

  /** The borrower makes no more shares. */
  done(): void {
    this.#shares -= 1;
    if (this.#shares === 0) this.#release();
  }
}
