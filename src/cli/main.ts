#!/usr/bin/env -S node --initial-old-space-size=128
/** The command line: composition only, one file a command. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { colocationCommand } from './colocation.ts';
import { demoCommand } from './demo.ts';
import { mountCommand } from './mount.ts';
import { printRemark, processStreams } from './output.ts';
import { asCliError } from './reported.ts';
import { serveCommand } from './serve.ts';
import { statusCommand } from './status.ts';

const USAGE_STATUS = 2;

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

/** Makes every command throw instead of ending the process, so that one place decides the exit status. */
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

const program = throwing(
  new Command('nearmount')
    .description('a transparent file gateway: co-resident servers share their pages, others speak NFSv3')
    .version(version())
    .addCommand(serveCommand())
    .addCommand(mountCommand())
    .addCommand(statusCommand())
    .addCommand(colocationCommand())
    .addCommand(demoCommand()),
);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : USAGE_STATUS;
  } else {
    const known = asCliError(error);
    if (known === undefined) throw error;
    printRemark(processStreams, known.message);
    process.exitCode = known.exitStatus;
  }
}
