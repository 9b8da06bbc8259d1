/** Reading from a peer pauses while more than this many bytes of replies wait to be sent to it. */
export const SEND_BUFFER_BYTES_MAX = 8 * 1024 * 1024;
/** Records up to this size are sent at once where nothing else waits, in bytes. */
export const SEND_NOW_BYTES_MAX = 16 * 1024;
/** How long a closing connection may go on sending what is queued before it is cut off, in milliseconds. */
export const CLOSE_FLUSH_MS = 5_000;
/** How long a peer may take to end its half once all is sent, in milliseconds, where it may have sent more. */
export const CLOSE_LINGER_MS = 1_000;
/** How long a connection attempt may take before it counts as failed, in milliseconds. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** TCP keep-alive: idle time before the first probe, in milliseconds. */
export const KEEPALIVE_DELAY_MS = 30_000;
/** Connections one listener holds at a time; further ones are closed at once. Its owner may hold fewer. */
export const LISTENER_CONNECTIONS_MAX = 8_192;
/** Size of the slabs a calling connection receives into, in bytes. */
export const RECEIVE_SLAB_BYTES = 2 * 1024 * 1024;
/** A slab with less room than this left is given up for a new one, in bytes. */
export const RECEIVE_SLAB_REST_BYTES = 128 * 1024;
/** Source ports of connections made with resvport, tried from the highest: bindresvport(3) begins at 512. */
export const RESERVED_SOURCE_PORT_MIN = 512;
export const RESERVED_SOURCE_PORT_MAX = 1_023;
