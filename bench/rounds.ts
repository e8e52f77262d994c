/**
 * Runs works: every place in every round, in turn, so that what drifts (heat, neighbours, a fuller disk) hits all alike.
 *   - Who goes first moves on with each round.
 *   - Nobody profits from cores that the one before kept awake.
 *   - What was written before is synced before a round is measured, so that nobody pays for another's write-back.
 *   - A place whose step fails or never ends is left out of this work with its reason; a dead daemon is started anew for the next work.
 */
import { mkdirSync } from 'node:fs'
import { run } from '../test/programs/run.js'
import { betterOf, figure, judge, median, type Figure, type Verdict } from './figures.js'
import type { Mounted, Over, Peer } from './peers/index.js'
import { anonMib, countCalls, cpuSeconds } from './usage.js'
import type { Place, Sample, Tools, Work } from './work.js'

export interface PeerResult {
  readonly name: string
  readonly kind: Peer['kind']
  readonly figure?: Figure
  /** Why there is no figure. */
  readonly skipped?: string
  readonly cpuUsPerOp?: number
  readonly anonMib?: number
  readonly callsPerOp?: number
  readonly more?: Readonly<Record<string, number>>
}

export interface WorkResult {
  readonly work: Work
  readonly peers: readonly PeerResult[]
  readonly verdicts: readonly Verdict[]
  /** Nobody could do it. */
  readonly skipped?: string
}

export interface RunOptions {
  readonly top: string
  readonly peers: readonly Peer[]
  readonly rounds: number
  readonly calls: boolean
  /** Per step. */
  readonly deadlineMs: number
  say(line: string): void
}

const maxFailedStarts = 2

interface Contestant {
  readonly peer: Peer
  readonly mounted: Mounted
  readonly place: Place
  readonly samples: Sample[]
  readonly cpuUs: number[]
  failure?: string
}

const sentence = (error: unknown): string => {
  const lines = (error instanceof Error ? error.message : String(error)).split('\n').filter((line) => line.trim() !== '')
  return lines.length < 3 ? lines.join(' ') : `${lines[0].slice(0, 120)}: ${lines.slice(-2).join(' ')}`.slice(0, 400)
}

/** ext4 looks at every inode deleted within the last minutes of a block group before it hands one out (recently_deleted): creating beside what a
 *  work before removed costs 10 to 50 times as much. Folders marked as tops of hierarchies are put into groups of their own, so that the disk
 *  and what lies on it are measured at their best. Other file systems refuse the mark and need none. */
async function spreadOut(folder: string): Promise<void> {
  await run('chattr', ['+T', folder], { exits: [0, 1] })
}

/** A run's mounts, kept from work to work. */
export function openRun(options: RunOptions, tools: Tools) {
  const mounts = new Map<string, Mounted>()
  const starts = new Map<string, { failures: number; why: string }>()
  const key = (peer: Peer, over: Over) => (peer.kind === 'pt' ? `${peer.name} over ${over}` : peer.name)

  async function mountOf(peer: Peer, over: Over): Promise<Mounted> {
    const name = key(peer, over)
    const known = mounts.get(name)
    if (known !== undefined) return known
    const { failures, why } = starts.get(name) ?? { failures: 0, why: '' }
    if (failures >= maxFailedStarts) throw new Error(why)
    const place = `${options.top}/${name.replace(/\W+/g, '-')}${failures === 0 ? '' : `-${failures}`}`
    mkdirSync(place, { recursive: true })
    try {
      const mounted = await peer.start(place, over)
      mounts.set(name, mounted)
      if (peer.kind === 'pt' || peer.kind === 'disk') await spreadOut(mounted.below ?? mounted.dir)
      return mounted
    } catch (error) {
      starts.set(name, { failures: failures + 1, why: sentence(error) })
      throw error
    }
  }

  /** A step that never ends must not hold up the run: its daemon is killed, which fails whatever waits for it. */
  async function inTime<T>(mounted: Mounted, step: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        mounted.kill()
        reject(new Error(`no end within ${options.deadlineMs / 1000} s; its daemon was killed`))
      }, options.deadlineMs)
    })
    try {
      return await Promise.race([step(), late])
    } finally {
      clearTimeout(timer)
    }
  }

  async function attempt(c: Contestant, step: (() => Promise<unknown>) | undefined): Promise<void> {
    if (step === undefined || c.failure !== undefined) return
    try {
      await inTime(c.mounted, step)
    } catch (error) {
      c.failure = sentence(error)
      options.say(`  ${c.peer.name}: ${c.failure}`)
    }
  }

  async function round(work: Work, c: Contestant, n: number): Promise<void> {
    const { place, mounted } = c
    await attempt(c, work.before && (() => work.before!(place, tools, n)))
    await attempt(c, () => run('sync', ['-f', options.top]))
    await tools.coresLetGo()
    await attempt(c, async () => {
      const before = mounted.pid === undefined ? 0 : cpuSeconds(mounted.pid)
      const sample = await work.round(place, tools, n)
      if (!Number.isFinite(sample.value)) throw new Error('the round gave no figure')
      if (mounted.pid !== undefined) c.cpuUs.push(((cpuSeconds(mounted.pid) - before) * 1e6) / sample.ops)
      c.samples.push(sample)
    })
    await attempt(c, work.after && (() => work.after!(place, tools, n)))
  }

  async function callsOf(work: Work, c: Contestant, n: number): Promise<number | undefined> {
    const { pid } = c.mounted
    if (!options.calls || pid === undefined || c.failure !== undefined || work.once === true) return undefined
    let calls: number | undefined
    await attempt(c, work.before && (() => work.before!(c.place, tools, n)))
    await attempt(c, async () => {
      let ops = NaN
      const total = await countCalls(pid, `${options.top}/calls`, async () => {
        ops = (await work.round(c.place, tools, n)).ops
      })
      calls = total / ops
    })
    await attempt(c, work.after && (() => work.after!(c.place, tools, n)))
    return calls
  }

  async function leave(work: Work, c: Contestant): Promise<void> {
    const { place } = c
    const failed = c.failure
    c.failure = undefined // what was begun is ended, whatever happened
    await attempt(c, work.leave && (() => work.leave!(place, tools)))
    await attempt(c, () => run('rm', ['-rf', place.below ?? place.dir], { timeoutMs: options.deadlineMs }))
    const left = c.failure
    c.failure = failed ?? left
  }

  const resultOf = async (work: Work, c: Contestant, rounds: number): Promise<PeerResult> => {
    const { name, kind } = c.peer
    const callsPerOp = await callsOf(work, c, rounds)
    const { pid } = c.mounted
    const memory = pid === undefined || c.failure !== undefined ? undefined : anonMib(pid)
    await leave(work, c)
    if (c.samples.length === 0 || c.failure !== undefined) return { name, kind, skipped: c.failure ?? 'no sample' }
    const words = Object.keys(c.samples[0].more ?? {})
    return {
      name,
      kind,
      figure: figure(c.samples.map(({ value }) => value)),
      ...(pid === undefined ? {} : { cpuUsPerOp: median(c.cpuUs), anonMib: memory }),
      ...(callsPerOp === undefined ? {} : { callsPerOp }),
      ...(words.length === 0 ? {} : { more: Object.fromEntries(words.map((word) => [word, median(c.samples.map(({ more }) => more?.[word] ?? NaN))])) }),
    }
  }

  async function runWork(work: Work): Promise<WorkResult> {
    options.say(`${work.name}: ${work.title}`)
    const refusal = await work.refusal?.(tools)
    if (refusal !== undefined) return { work, peers: [], verdicts: [], skipped: refusal }
    await tools.dropCaches() // passthrough_ll forgets what it held open for the work before
    const over: Over = work.ptOver ?? 'disk'
    const contestants: Contestant[] = []
    const peers: PeerResult[] = []
    for (const peer of options.peers.filter(({ kind }) => work.peers?.includes(kind) ?? (kind !== 'nbd' && kind !== 'rbd'))) {
      try {
        if (work.fresh === true) await drop(key(peer, over))
        const mounted = await mountOf(peer, over)
        const below = mounted.below === undefined ? undefined : `${mounted.below}/${work.name}`
        const place: Place = { peer: peer.name, dir: `${mounted.dir}/${work.name}`, below, daemonPid: mounted.pid }
        const c: Contestant = { peer, mounted, place, samples: [], cpuUs: [] }
        contestants.push(c)
        await attempt(c, () => run('mkdir', [place.dir], { timeoutMs: 30_000 }))
        if (peer.kind === 'pt' || peer.kind === 'disk') await attempt(c, () => spreadOut(place.below ?? place.dir))
        await attempt(c, work.prepare && (() => work.prepare!(place, tools)))
      } catch (error) {
        peers.push({ name: peer.name, kind: peer.kind, skipped: sentence(error) })
        options.say(`  ${peer.name}: ${sentence(error)}`)
      }
    }
    const rounds = work.once === true ? 1 : options.rounds
    for (let n = 0; n < rounds; n++)
      for (let i = 0; i < contestants.length; i++) await round(work, contestants[(i + n) % contestants.length], n)
    for (const c of contestants) {
      peers.push(await resultOf(work, c, rounds))
      if (c.failure !== undefined) await drop(key(c.peer, over))
    }
    return { work, peers, verdicts: verdictsOf(work, peers) }
  }

  /** Unmounts; by force if it does not go by itself. */
  async function drop(name: string): Promise<void> {
    const mounted = mounts.get(name)
    mounts.delete(name)
    if (mounted === undefined) return
    try {
      await mounted.stop()
    } catch (error) {
      options.say(`  ${name}: ${sentence(error)}`)
      mounted.kill()
    }
  }

  return {
    runWork,
    async close(): Promise<void> {
      for (const name of [...mounts.keys()]) await drop(name)
    },
  }
}

export const peerOf = (peers: readonly PeerResult[], name: string): PeerResult | undefined => peers.find((peer) => peer.name === name)

/** passthrough_ll as the better of its two forms. */
export const bestPassthrough = ({ better }: Pick<Work, 'better'>, peers: readonly PeerResult[]): PeerResult | undefined =>
  betterOf(peerOf(peers, 'pt'), peerOf(peers, 'pt -s'), better)

export function verdictsOf(work: Pick<Work, 'better' | 'goals'>, peers: readonly PeerResult[]): Verdict[] {
  const figures = { ours: peerOf(peers, 'ogee')?.figure, pt: bestPassthrough(work, peers)?.figure, disk: peerOf(peers, 'disk')?.figure,
    rbd: peerOf(peers, 'rbd')?.figure, nbdkit: peerOf(peers, 'nbdkit')?.figure, qemu: betterOf(peerOf(peers, 'qemu-raw'), peerOf(peers, 'qemu-qcow2'), work.better)?.figure }
  return work.goals.map((goal) => judge(goal, work.better, figures))
}
