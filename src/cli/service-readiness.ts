/** Readiness for systemd units of Type=notify. */
import type { Logger } from '../observe/log.ts';
import { notifyServiceManager } from '../system/service-manager.ts';

/** Whether somebody asked to be told. */
export function hasServiceManager(): boolean {
  return (process.env.NOTIFY_SOCKET ?? '') !== '';
}

/** Tells systemd, where it asked; that it cannot be told is a line in the log and no reason to stop. */
export function tellServiceManager(assignments: readonly string[], log: Logger): void {
  try {
    notifyServiceManager(assignments);
  } catch (error) {
    log.warn({ err: error }, 'the service manager cannot be told');
  }
}
