import { Option } from 'commander';
import { LOG_LEVELS } from '../observe/log.ts';

/** The option `--log-level`, the same on every command that logs. */
export function logLevelOption(): Option {
  return new Option('--log-level <level>', 'what is logged').choices(LOG_LEVELS).default('info');
}
