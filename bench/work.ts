/**
 * What a work of the benchmark is: words, goals, and steps that run in a place.
 *   - A place is a folder of its own on one file system; the same steps run in every place.
 *   - Only `round` is measured. `prepare` runs once per place, `before` and `after` around each round.
 *   - Rounds that make many names use a folder each and leave it: the place is removed after the work's last round.
 *   - A step never calls into the file system from this process alone: it runs programs with a deadline, and when that is over,
 *     the place's daemon is killed, so that nothing waits for ever.
 */
import type { Better, Goal } from './figures.js'

/** What a load generator prints. */
export interface Load {
  readonly ops: number
  readonly ns: number
  readonly p50Ns?: number
  readonly p99Ns?: number
}

export interface Place {
  readonly peer: string
  /** This work's own folder, empty at `prepare`. */
  readonly dir: string
  /** The same folder seen past the daemon, where a peer has one. Filling it is faster there, and the bytes are the same. */
  readonly below: string | undefined
  readonly daemonPid: number | undefined
}

export interface Tools {
  /** A folder on the disk itself, shared by all places of the run: what is copied from, built once. */
  readonly scratch: string
  /** Picks a size for --quick, the default, --full. */
  size(quick: number, normal: number, full?: number): number
  /** One of bench/load, by name. */
  load(program: string, ...args: readonly (string | number)[]): Promise<Load>
  /** Another program, timed from outside; `ns` is its life. */
  timed(command: string, ...args: readonly string[]): Promise<Load>
  /** Another program, not timed; its output. */
  run(command: string, ...args: readonly string[]): Promise<string>
  /** A program that runs beside others until it is stopped. */
  beside(command: string, ...args: readonly string[]): { stop(): Promise<void> }
  program(name: string): string
  dropCaches(): Promise<void>
  /** Returns when nobody holds the cores awake any more: a peer's hold lasts a little longer than its work, and would serve the next one too. */
  coresLetGo(): Promise<void>
  /** Anonymous memory of the place's daemon, in MiB; 0 without a daemon. */
  anonMib(place: Place): number
  cpuSeconds(place: Place): number
  sleepSeconds(seconds: number): Promise<void>
}

export interface Sample {
  readonly value: number
  /** What CPU time and system calls are divided by. */
  readonly ops: number
  /** Told beside the figure: other things that the round showed. */
  readonly more?: Readonly<Record<string, number>>
}

export interface Work {
  /** As in --only. */
  readonly name: string
  readonly title: string
  readonly unit: 'us' | 's' | 'ms' | 'MiB/s' | '1/s' | 'MiB' | 'x'
  readonly better: Better
  readonly goals: readonly Goal[]
  /** Kinds of peers that take part; all but other NBD servers unless told. */
  readonly peers?: readonly ('ogee' | 'pt' | 'disk' | 'also' | 'nbd' | 'rbd')[]
  /** What passthrough_ll lies on: the disk, or memory. */
  readonly ptOver?: 'disk' | 'memory'
  /** Only with --full. */
  readonly long?: boolean
  /** Needs a daemon that did nothing before. */
  readonly fresh?: boolean
  /** Once is enough: what it measures is not noisy, or takes very long. */
  readonly once?: boolean
  /** Why it cannot run here; undefined if it can. */
  refusal?(tools: Tools): Promise<string | undefined>
  prepare?(place: Place, tools: Tools): Promise<void>
  before?(place: Place, tools: Tools, round: number): Promise<void>
  round(place: Place, tools: Tools, round: number): Promise<Sample>
  after?(place: Place, tools: Tools, round: number): Promise<void>
  /** Once per place in the end, whatever happened: what must be stopped before the folder goes. */
  leave?(place: Place, tools: Tools): Promise<void>
}

export const usEach = ({ ops, ns }: Load): Sample => ({ value: ns / ops / 1000, ops })
export const perSecond = ({ ops, ns }: Load): Sample => ({ value: (ops / ns) * 1e9, ops })
/** `ops` of a program timed from outside are the caller's to tell. */
export const seconds = ({ ns }: Load, ops: number): Sample => ({ value: ns / 1e9, ops })
