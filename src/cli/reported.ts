/** Which errors were written for the user: they become one line and an exit status. */
import { NoRouteError } from '../gateway/route-selection.ts';
import { RouteError } from '../client/open-session.ts';
import { NativeDriverError } from '../fuse/native-package.ts';
import { IdentityError } from '../resolver/node-identity.ts';
import { ImportError } from '../resolver/import-document.ts';
import { SourceError } from '../resolver/source.ts';
import { TableError } from '../resolver/table-error.ts';
import { ExportOptionError } from '../store/export-options.ts';
import { AddressError } from '../transport/endpoint.ts';
import { CliError } from './errors.ts';

/** The CliError behind an error that a user can act on; undefined for a fault of ours. */
export function asCliError(error: unknown): CliError | undefined {
  if (error instanceof CliError) return error;
  if (error instanceof TableError)
    return new CliError(error.message, error.code === 'bad-entry' ? 2 : 1, error);
  if (
    error instanceof SourceError ||
    error instanceof IdentityError ||
    error instanceof ExportOptionError ||
    error instanceof AddressError
  ) {
    return new CliError(error.message, 2, error);
  }
  if (
    error instanceof ImportError ||
    error instanceof NoRouteError ||
    error instanceof RouteError ||
    error instanceof NativeDriverError
  ) {
    return new CliError(error.message, 1, error);
  }
  return undefined;
}
