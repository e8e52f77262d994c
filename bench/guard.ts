/**
 * What became worse since an earlier report. Machines are slower on some days than on others, so that a time alone says little: what counts is our time
 * as a multiple of the peers' in the same run (the better passthrough_ll, the disk; both together as their geometric mean). It is worse if that multiple
 * grew by 10 %. Where the two runs have no peer in common the median itself is compared. It informs; it never fails a build.
 */
import { betterOf, short, timeRatio, type Figure } from './figures.js'
import type { Report, ReportWork } from './report.js'

export const threshold = 1.1

const figureOf = (work: ReportWork, name: string): Figure | undefined => work.peers.find((peer) => peer.name === name)?.figure
const ours = (work: ReportWork): Figure | undefined => figureOf(work, 'ogee')
const peers: readonly (readonly [string, (work: ReportWork) => Figure | undefined])[] = [
  ['pt', (work) => betterOf(work.peers.find(({ name }) => name === 'pt'), work.peers.find(({ name }) => name === 'pt -s'), work.better)?.figure],
  ['disk', (work) => figureOf(work, 'disk')],
]

interface Change {
  /** Above 1: worse. */
  readonly factor: number
  /** "0.38x -> 0.45x of pt", for each peer that both runs have. */
  readonly ratios: readonly string[]
}

function changeOf(earlier: ReportWork, work: ReportWork, was: Figure, is: Figure): Change {
  const ratios: string[] = []
  const factors: number[] = []
  for (const [name, of] of peers) {
    const [then, now] = [of(earlier), of(work)]
    if (then === undefined || now === undefined) continue
    const [before, after] = [timeRatio(was, then, work.better), timeRatio(is, now, work.better)]
    ratios.push(`${short(before)}x -> ${short(after)}x of ${name}`)
    factors.push(after / before)
  }
  if (factors.length === 0) return { factor: timeRatio(is, was, work.better), ratios }
  return { factor: Math.exp(factors.reduce((sum, f) => sum + Math.log(f), 0) / factors.length), ratios }
}

/** The medians differ by less than the rounds of one run do. */
const overlap = (a: Figure, b: Figure): boolean => a.samples.length > 1 && b.samples.length > 1 && a.min <= b.max && b.min <= a.max

/** Lines to print. */
export function worseThan(before: Report, now: Report): string[] {
  if (before.scale !== now.scale) return [`The earlier report has other sizes (${before.scale}, now ${now.scale}): figures cannot be compared.`]
  const lines: string[] = []
  for (const word of ['cpu', 'cores', 'kernel', 'node', 'disk'] as const)
    if (before.machine[word] !== now.machine[word]) lines.push(`Another machine: ${word} was ${before.machine[word]}, is ${now.machine[word]}.`)
  let compared = 0
  let worse = 0
  for (const work of now.works) {
    const earlier = before.works.find(({ name }) => name === work.name)
    if (earlier === undefined || earlier.unit !== work.unit) continue
    const [was, is] = [ours(earlier), ours(work)]
    if (was === undefined) continue
    if (is === undefined) {
      lines.push(`${work.name}: has no figure now`)
      worse++
      continue
    }
    compared++
    const { factor, ratios } = changeOf(earlier, work, was, is)
    if (!(factor >= threshold)) continue
    worse++
    const notes = [...ratios, ...(overlap(was, is) ? ['the rounds overlap'] : [])]
    lines.push(`${work.name}: ${Math.round((factor - 1) * 100)} % slower, ${short(was.median)} -> ${short(is.median)} ${work.unit}${notes.length === 0 ? '' : ` (${notes.join(', ')})`}`)
  }
  lines.push(`${compared} works compared with Ogee ${before.machine.ogee} of ${before.machine.date}: ${worse === 0 ? 'none is' : `${worse} ${worse === 1 ? 'is' : 'are'}`} 10 % worse or more.`)
  return lines
}
