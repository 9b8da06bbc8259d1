/** A writer in a process of its own, and the ledger of what it was told. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { plainNode, within, type Teardown } from '../support/mounts.ts';

type Milliseconds = number;

/** A watchdog: a writer answers an order after the step it is in, which may wait for a server that comes back. */
const ORDER_LIMIT: Milliseconds = 60_000;

export interface Ledger<Step> {
  readonly begin: (step: Step) => void;
  readonly done: () => void;
  readonly complaints: (directory: string) => string[];
}

interface Message<Step> {
  readonly begin?: Step;
  readonly done?: number;
  readonly paused?: true;
  readonly failed?: Step;
  readonly code?: string;
  readonly message?: string;
}

export interface WriterOptions<Step> {
  /** Beside this file; it gets `point` and `seed` as arguments. */
  readonly script: string;
  /** Where it writes, through a mount. */
  readonly point: string;
  /** The same directory on the server's disk. */
  readonly disk: string;
  readonly seed: number;
  readonly ledger: Ledger<Step>;
}

export class WriterProcess<Step = unknown> {
  readonly name: string;
  readonly #disk: string;
  readonly #child;
  readonly #ledger: Ledger<Step>;
  readonly #ended: Promise<unknown>;
  /** Called after every line; each removes itself when it has seen what it waits for. */
  readonly #watchers = new Set<() => void>();
  #stepsDone = 0;
  #linesRead = 0;
  #paused = false;
  #failure: string | undefined;
  #code: string | undefined;

  constructor(t: Teardown, options: WriterOptions<Step>) {
    this.#disk = options.disk;
    this.name = `${options.script} in ${options.disk} (seed ${options.seed})`;
    const script = fileURLToPath(new URL(options.script, import.meta.url));
    this.#ledger = options.ledger;
    this.#child = spawn(...plainNode(script, options.point, String(options.seed)), {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdin.on('error', () => undefined); // one that ended does not read on
    this.#ended = new Promise<void>((resolve) => {
      this.#child.once('exit', (status, signal) => {
        if (status !== 0) this.#failure ??= `${this.name} ended: ${signal ?? `status ${status}`}`;
        this.#tell();
        resolve();
      });
    });
    createInterface({ input: this.#child.stdout }).on('line', (text) => {
      this.#linesRead += 1;
      this.#take(JSON.parse(text) as Message<Step>);
      this.#tell();
    });
    t.teardown(async () => {
      this.#child.kill('SIGKILL');
      await within(this.#ended, ORDER_LIMIT, () => `${this.name} cannot be killed`).catch(() => undefined);
    });
  }

  get stepsDone(): number {
    return this.#stepsDone;
  }

  get linesRead(): number {
    return this.#linesRead;
  }

  #take(message: Message<Step>): void {
    if (message.begin !== undefined) this.#ledger.begin(message.begin);
    if (message.done !== undefined) {
      this.#ledger.done();
      this.#stepsDone = message.done;
    }
    if (message.paused === true) this.#paused = true;
    if (message.failed !== undefined) {
      this.#code = message.code;
      this.#failure = `${this.name}: ${message.code} (${message.message}) from ${JSON.stringify(message.failed)}`;
    }
  }

  #tell(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  /** Waits for what lines bring; a writer that failed ends every wait. */
  async #until(what: string, isSo: () => boolean): Promise<void> {
    const reached = new Promise<void>((resolve) => {
      const look = (): void => {
        if (!isSo() && this.#failure === undefined) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
    await within(reached, ORDER_LIMIT, () => `${this.name} does not ${what}`);
  }

  /** Waits for `count` more acknowledged steps. */
  async progress(count: number): Promise<void> {
    const wanted = this.#stepsDone + count;
    await this.#until('go on', () => this.#stepsDone >= wanted);
  }

  /** Between two steps: then everything it did was acknowledged. */
  async pause(): Promise<void> {
    this.#paused = false;
    this.#child.stdin.write('pause\n');
    await this.#until('pause', () => this.#paused);
  }

  resume(): void {
    this.#child.stdin.write('go\n');
  }

  async end(): Promise<void> {
    this.#child.stdin.write('end\n');
    await within(this.#ended, ORDER_LIMIT, () => `${this.name} does not end`);
  }

  /** What is wrong on the server's disk, and the error the writer got, if any. */
  complaints(): string[] {
    return [...(this.#failure === undefined ? [] : [this.#failure]), ...this.diskComplaints()];
  }

  /** What is wrong on the server's disk. */
  diskComplaints(): string[] {
    return this.#ledger.complaints(this.#disk);
  }

  /** Waits for the end of a writer that gets an error; returns its code. */
  async failed(): Promise<string | undefined> {
    await within(this.#ended, ORDER_LIMIT, () => `${this.name} goes on`);
    return this.#code;
  }
}
