/** Something that several may wait for, again and again. */
export class Progress {
  #next: { readonly promise: Promise<void>; readonly tell: () => void } | undefined;

  /** Resolves when it is told next. */
  next(): Promise<void> {
    if (this.#next === undefined) {
      let tell = (): void => undefined;
      const promise = new Promise<void>((resolve) => {
        tell = resolve;
      });
      this.#next = { promise, tell };
    }
    return this.#next.promise;
  }

  tell(): void {
    const next = this.#next;
    this.#next = undefined;
    next?.tell();
  }
}
