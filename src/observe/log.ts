import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import { PinoPretty } from 'pino-pretty';

export type { Logger } from 'pino';

/** From most to least, and `silent` for nothing. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const STDERR_FD = 2;

export interface LoggerOptions {
  level: LogLevel;
  /** Which program or part speaks. */
  name: string;
  /** Where lines go instead of stderr; then they are JSON unless `human` says otherwise. */
  destination?: DestinationStream & NodeJS.WritableStream;
  /** Lines for people instead of JSON. Default: whether stderr is a terminal and no destination is given. */
  human?: boolean;
}

/**
 * A logger that writes to stderr, never to stdout, which belongs to a command's results. Writing is synchronous, so
 * the last lines of a dying process are there. Times are ISO 8601 in UTC; errors under `err` or `error` keep their
 * code, stack and cause.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { level, name, destination } = options;
  const human = options.human ?? (destination === undefined && process.stderr.isTTY);
  const stream = human
    ? PinoPretty({
        destination: destination ?? STDERR_FD,
        sync: true,
        colorize: destination === undefined && process.stderr.isTTY,
        translateTime: false,
        ignore: 'pid',
        errorLikeObjectKeys: ['err', 'error'],
      })
    : (destination ?? pino.destination({ dest: STDERR_FD, sync: true }));
  return pino(
    {
      name,
      level,
      base: { pid: process.pid, name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: pino.stdSerializers.errWithCause, error: pino.stdSerializers.errWithCause },
    },
    stream,
  );
}
