/**
 * What became worse since an earlier report. A figure counts if its median is 10 % worse; what happened to the peers meanwhile stands beside it,
 * because a machine that is slower today makes everybody slower. It informs; it never fails a build.
 */
import { short, timeRatio } from './figures.js'
import type { Report, ReportWork } from './report.js'

export const threshold = 1.1

const ours = (work: ReportWork) => work.peers.find(({ name }) => name === 'ogee')?.figure

/** Lines to print. */
export function worseThan(before: Report, now: Report): string[] {
  const lines: string[] = []
  if (before.scale !== now.scale) lines.push(`The earlier report has other sizes (${before.scale}, now ${now.scale}): figures cannot be compared.`)
  if (lines.length > 0) return lines
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
    const change = timeRatio(is, was, work.better)
    if (change < threshold) continue
    worse++
    const others = work.peers.flatMap((peer) => {
      const then = earlier.peers.find(({ name }) => name === peer.name)?.figure
      return peer.name === 'ogee' || peer.figure === undefined || then === undefined ? [] : [`${peer.name} ${percent(timeRatio(peer.figure, then, work.better))}`]
    })
    lines.push(`${work.name}: ${short(was.median)} -> ${short(is.median)} ${work.unit}, ${percent(change)}${others.length === 0 ? '' : ` (${others.join(', ')})`}`)
  }
  lines.push(`${compared} works compared with Ogee ${before.machine.ogee} of ${before.machine.date}: ${worse === 0 ? 'none is' : `${worse} ${worse === 1 ? 'is' : 'are'}`} 10 % worse or more.`)
  return lines
}

const percent = (change: number): string => {
  const by = Math.round((change - 1) * 100)
  return by === 0 ? 'as before' : by > 0 ? `${by} % slower` : `${-by} % faster`
}
