/** Who acts on the store: the part of the identity machinery that the server's procedures need. */
export { canSwitchIdentity, serverIdentity, warmThreadPool, type Identity } from '../system/identity.ts';
