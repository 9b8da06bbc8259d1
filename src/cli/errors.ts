/** Exit status of a command: 1 it failed, 2 it was called wrongly. */
export type FailureStatus = 1 | 2;

/** Ends a command: the message is one line for stderr, without the program's name. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitStatus: FailureStatus;

  constructor(message: string, exitStatus: FailureStatus = 1, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.exitStatus = exitStatus;
  }
}
