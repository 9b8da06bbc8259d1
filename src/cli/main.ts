#!/usr/bin/env -S node --initial-old-space-size=128 --interrupt-budget=20000 --v8-pool-size=1
/** The command line: composition only, one file a command. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { benchCommand } from './bench.ts';
import { colocationCommand } from './colocation.ts';
import { demoCommand } from './demo.ts';
import { mountCommand } from './mount.ts';
import { runProgram } from './program.ts';
import { serveCommand } from './serve.ts';
import { statusCommand } from './status.ts';
import { unmountCommand } from './unmount.ts';
import { downCommand, upCommand } from './up.ts';

const EXIT_STATUSES = { usage: 2, failed: 1 };

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

await runProgram(
  new Command('nearmount')
    .description('a transparent file gateway: co-resident servers share their pages, others speak NFSv3')
    .version(version())
    .addCommand(serveCommand())
    .addCommand(mountCommand())
    .addCommand(unmountCommand())
    .addCommand(upCommand())
    .addCommand(downCommand())
    .addCommand(statusCommand())
    .addCommand(colocationCommand())
    .addCommand(demoCommand())
    .addCommand(benchCommand()),
  EXIT_STATUSES,
);
