/** Which route is taken: proposals come from the table, and the first that proves itself wins. */
import type { Callbacks } from '../client/callbacks.ts';
import { freshClientId, openSession, RouteError } from '../client/open-session.ts';
import type { Session, SessionTarget } from '../client/session.ts';
import type { HereIdentity } from '../resolver/node-identity.ts';
import { formatEndpoint, proposeNfsSource, proposeRoutes, type RouteProposal } from '../resolver/routes.ts';
import { ROUTE_KINDS, type RouteKind } from '../resolver/schema.ts';
import type { Source } from '../resolver/source.ts';
import { TableError } from '../resolver/table-error.ts';
import { ColocationTable } from '../resolver/table.ts';

export interface RouteSelectionOptions {
  readonly source: Source;
  /** The colocation table; not needed for nfs:// sources. */
  readonly tableFile: string;
  readonly here: HereIdentity;
  readonly bootId: string;
  /** The option route=. */
  readonly only?: RouteKind | undefined;
  readonly credential: NonNullable<SessionTarget['credential']>;
  /** Takes what servers call here. */
  readonly callbacks?: Callbacks | undefined;
  /** The option resvport; default false. */
  readonly reservedPort?: boolean;
}

/** What became of one proposal the last time it was looked at. */
export interface RouteVerdict {
  readonly route: RouteKind;
  readonly endpoint: string;
  readonly state: 'in use' | 'failed' | 'not usable' | 'not tried';
  readonly why: string;
}

/** Every route failed; the message says why for each. */
export class NoRouteError extends Error {
  override readonly name = 'NoRouteError';
}

export class RouteSelection {
  readonly #options: RouteSelectionOptions;
  /** The mount's own: a server knows its calls by it, over whichever route they come. */
  readonly #clientId = freshClientId();
  #proposals: RouteProposal[] = [];
  #verdicts: RouteVerdict[] = [];

  constructor(options: RouteSelectionOptions) {
    this.#options = options;
  }

  /** The last verdict on each route, best route first. */
  get verdicts(): readonly RouteVerdict[] {
    return this.#verdicts;
  }

  /** Why the route in use was taken: its own reason, and what was wrong with the better ones. */
  get why(): string {
    const used = this.#verdicts.find((verdict) => verdict.state === 'in use');
    const rejected = this.#verdicts.filter(
      (verdict) =>
        verdict.state === 'failed' ||
        (verdict.state === 'not usable' && isBetter(verdict.route, used?.route)),
    );
    return [used, ...rejected]
      .filter((verdict) => verdict !== undefined)
      .map((verdict) => (verdict === used ? verdict.why : `${verdict.route} is not used: ${verdict.why}`))
      .join('; ');
  }

  /**
   * Opens a session over the best route that works.
   *
   * @param better only routes better than this session's are tried, and undefined says that none worked
   * @throws NoRouteError when none works, TableError when the table cannot be read and never could
   */
  async open(better?: Session): Promise<Session | undefined> {
    this.#refreshProposals();
    const verdicts: RouteVerdict[] = [];
    let session: Session | undefined;
    for (const proposal of this.#proposals) {
      const { route } = proposal;
      const endpoint = formatEndpoint(proposal.endpoint);
      const verdict = (state: RouteVerdict['state'], why: string): void => {
        verdicts.push({ route, endpoint, state, why });
      };
      if (!proposal.usable) {
        verdict('not usable', proposal.why);
      } else if (session !== undefined) {
        verdict('not tried', proposal.why);
      } else if (better !== undefined && !isBetter(route, better.route)) {
        const inUse = route === better.route && endpoint === formatEndpoint(better.endpoint);
        verdict(inUse ? 'in use' : 'not tried', proposal.why);
      } else {
        try {
          session = await openSession(this.#target(proposal));
          verdict('in use', proposal.why);
        } catch (error) {
          if (!(error instanceof RouteError)) throw error;
          verdict('failed', error.message);
        }
      }
    }
    if (session !== undefined && better !== undefined) {
      this.#verdicts = verdicts.map((each) =>
        each.state === 'in use' && each.route === better.route ? { ...each, state: 'not tried' } : each,
      );
    } else {
      this.#verdicts = verdicts;
    }
    if (session === undefined && better === undefined) throw new NoRouteError(describeFailure(verdicts));
    return session;
  }

  #target(proposal: RouteProposal): SessionTarget {
    const { route, endpoint, mountPort, exportPath, server } = proposal;
    const { bootId, credential, callbacks, reservedPort = false } = this.#options;
    const clientId = this.#clientId;
    return {
      route,
      endpoint,
      mountPort,
      exportPath,
      server,
      bootId,
      clientId,
      credential,
      callbacks,
      reservedPort,
    };
  }

  #refreshProposals(): void {
    const { source, tableFile, here, only } = this.#options;
    if (source.kind === 'nfs') {
      this.#proposals = [proposeNfsSource(source, { only })];
      return;
    }
    try {
      const table = ColocationTable.open(tableFile, { readOnly: true });
      try {
        this.#proposals = proposeRoutes(table, source.name, here, { only });
      } finally {
        table.close();
      }
    } catch (error) {
      // A table that went away must not end a mount that knows where its server was.
      if (!(error instanceof TableError) || this.#proposals.length === 0) throw error;
    }
  }
}

function isBetter(route: RouteKind, than: RouteKind | undefined): boolean {
  return than !== undefined && ROUTE_KINDS.indexOf(route) < ROUTE_KINDS.indexOf(than);
}

function describeFailure(verdicts: readonly RouteVerdict[]): string {
  if (verdicts.length === 0)
    return 'no route works (the server has no endpoints in the table): start the server';
  const reasons = verdicts.map(({ route, endpoint, why }) => `${route} ${endpoint}: ${why}`).join('; ');
  return `no route works (${reasons}): start the server, or correct where it is`;
}
