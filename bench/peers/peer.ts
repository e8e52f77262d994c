/**
 * What is compared: a way to get a mounted folder, and the daemon behind it.
 *   - `start` resolves when the folder is usable; a peer that cannot run here throws one sentence that says why.
 *   - `kill` never waits for the daemon: it is for a daemon that does not answer any more.
 */
export interface Mounted {
  readonly dir: string
  /** The same tree past the daemon, if there is one. */
  readonly below: string | undefined
  readonly pid: number | undefined
  stop(): Promise<void>
  kill(): void
}

export type Kind = 'ogee' | 'pt' | 'disk' | 'also' | 'nbd' | 'rbd'
/** What a peer's bytes lie on; only passthrough_ll can choose. */
export type Over = 'disk' | 'memory'

export interface Peer {
  readonly name: string
  readonly kind: Kind
  /** `place` is a new folder of the disk under test; with `over` memory, a tmpfs. */
  start(place: string, over: Over): Promise<Mounted>
}
