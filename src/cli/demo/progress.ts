/** What the demo is doing, on stderr: a bar on a terminal, a line for each phase elsewhere. */
import cliProgress from 'cli-progress';

/** Steps a bar is drawn in, however large the total. */
const STEPS = 1000;
const TITLE_COLUMNS = 34;

export interface Phase {
  advance(by: number): void;
}

export class Progress {
  readonly #quiet: boolean;
  #bar: cliProgress.SingleBar | undefined;

  /** @param quiet whether lines are left out where stderr is no terminal */
  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }

  /** Begins the next phase, which completes the one before. */
  phase(title: string, total: number): Phase {
    this.complete();
    if (!process.stderr.isTTY) {
      if (!this.#quiet) process.stderr.write(`${title}\n`);
      return { advance: () => undefined };
    }
    const bar = new cliProgress.SingleBar(
      { format: `${title.padEnd(TITLE_COLUMNS)} {bar} {percentage} %`, hideCursor: true, fps: 10 },
      cliProgress.Presets.shades_classic,
    );
    bar.start(STEPS, 0);
    this.#bar = bar;
    let done = 0;
    return {
      advance: (by) => {
        done += by;
        bar.update(Math.min(STEPS, Math.floor((done / Math.max(total, 1)) * STEPS)));
      },
    };
  }

  complete(): void {
    this.#bar?.update(STEPS);
    this.abandon();
  }

  /** Leaves the bar as far as it came, and the terminal as it was found. */
  abandon(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
