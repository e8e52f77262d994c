/** What commands may ask of a daemon over POOL/control.sock: HTTP/1.1 with JSON (messages.ts). Paths carry the version. */
export const STATUS_PATH = '/v1/status'
export const SYNC_PATH = '/v1/sync'
/** Answered when the pool is closed; `{closing: true}` comes first, as soon as closing starts. One JSON value a line. */
export const CLOSED_PATH = '/v1/closed'
/** POST with ?do=create&name=...: see ../volume-asks.ts. */
export const VOLUMES_PATH = '/v1/volumes'
/** POST with ?size=BYTES. */
export const GROW_PATH = '/v1/grow'
/** POST with a name behind it (snapshot/create, ...) and what it takes as a query. */
export const CALLS_PATH = '/v1/'
/** Behind an answer in parts: what went wrong, as JSON. */
export const FAILED_TRAILER = 'ogee-failed'
