/** How every program of this package runs its commands: one place turns errors into a line and an exit status. */
import { CommanderError, type Command } from 'commander';
import { printRemark, processStreams } from './output.ts';
import { asCliError } from './reported.ts';

/** Exit status for a wrong call, and for one that failed. */
export interface ExitStatuses {
  readonly usage: number;
  readonly failed: number;
}

/** Makes every command throw instead of ending the process. */
function throwing(command: Command): Command {
  command.exitOverride();
  command.configureOutput({
    outputError: (text, write) => {
      write(`nearmount: ${text.replace(/^error: /, '')}`);
    },
  });
  command.configureHelp({ showGlobalOptions: true });
  for (const child of command.commands) throwing(child);
  return command;
}

/** Runs a program on this process's arguments and sets its exit status. Throws what is a fault of ours. */
export async function runProgram(program: Command, statuses: ExitStatuses): Promise<void> {
  try {
    await throwing(program).parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : statuses.usage;
      return;
    }
    const known = asCliError(error);
    if (known === undefined) throw error;
    printRemark(processStreams, known.message);
    process.exitCode = known.exitStatus === 2 ? statuses.usage : statuses.failed;
  }
}
