/**
 * The table: one row per work, one more line per further goal. Text only, so that it can stand in a document and in a diff.
 *   - A figure is a median with its spread; what nobody measured is a dash, and why stands below the table.
 *   - Ratios are times: 0.40x means that Ogee takes 0.40 of the other's time, whatever the unit.
 */
import { betterOf, short, timeRatio, type Figure } from './figures.js'
import type { Report, ReportWork } from './report.js'

type ReportPeer = ReportWork['peers'][number]

const spread = (figure: Figure | undefined): string =>
  figure === undefined ? '-' : figure.samples.length === 1 ? short(figure.median) : `${short(figure.median)} (${short(figure.min)}-${short(figure.max)})`
const named = (work: ReportWork, name: string): ReportPeer | undefined => work.peers.find((peer) => peer.name === name)
const passthrough = (work: ReportWork) => betterOf(named(work, 'pt'), named(work, 'pt -s'), work.better)
const maybe = (value: number | undefined): string => (value === undefined ? '-' : short(value))

function ratio(work: ReportWork, other: ReportPeer | undefined): string {
  const ours = named(work, 'ogee')?.figure
  return ours === undefined || other?.figure === undefined ? '-' : `${short(timeRatio(ours, other.figure, work.better))}x`
}

export function rowsOf(report: Report): string[][] {
  const also = [...new Set(report.works.flatMap(({ peers }) => peers.filter(({ kind }) => kind === 'also' || kind === 'nbd' || kind === 'rbd').map(({ name }) => name)))]
  const counted = report.works.some(({ peers }) => peers.some(({ callsPerOp }) => callsPerOp !== undefined))
  const head = [
    'work', 'unit', 'ogee', 'pt', report.machine.disk.split(' ')[0], ...also, 'of pt', 'of disk', 'goal', 'reached', 'met', 'cpu us/op', 'pt cpu', 'anon MiB',
    ...(counted ? ['calls/op', 'pt calls'] : []),
  ]
  const rows = report.works.filter(({ peers }) => peers.length > 0).flatMap((work) => {
    const [ours, pt, disk] = [named(work, 'ogee'), passthrough(work), named(work, 'disk')]
    const [first, ...further] = work.goals.length === 0 ? [undefined] : work.goals
    const goal = (g: ReportWork['goals'][number] | undefined) => [g?.goal ?? '-', maybe(g?.reached), g?.met === undefined ? '-' : g.met ? 'yes' : 'NO']
    const row = [
      work.name,
      work.unit,
      spread(ours?.figure),
      spread(pt?.figure) + (pt?.figure !== undefined && pt.name === 'pt -s' ? ' s' : ''),
      spread(disk?.figure),
      ...also.map((name) => spread(named(work, name)?.figure)),
      ratio(work, pt),
      ratio(work, disk),
      ...goal(first),
      maybe(ours?.cpuUsPerOp),
      maybe(pt?.cpuUsPerOp),
      maybe(ours?.anonMib),
      ...(counted ? [maybe(ours?.callsPerOp), maybe(pt?.callsPerOp)] : []),
    ]
    const blanks = also.length + 7
    return [row, ...further.map((g) => [...Array<string>(blanks).fill(''), ...goal(g), ...Array<string>(head.length - blanks - 3).fill('')])]
  })
  return [head, ...rows]
}

/** Columns as wide as their widest cell; words to the left, all else to the right. */
export function align(rows: readonly (readonly string[])[], left: ReadonlySet<number>): string {
  const widths = rows[0].map((_cell, i) => Math.max(...rows.map((row) => row[i].length)))
  return rows.map((row) => row.map((cell, i) => (left.has(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd()).join('\n')
}

/** Who was left out where and why; the same reason is told once. */
function reasonsOf(works: readonly ReportWork[]): string[] {
  const where = new Map<string, string[]>()
  const note = (why: string, name: string) => where.set(why, [...(where.get(why) ?? []), name])
  for (const { name, skipped, peers } of works) {
    if (skipped !== undefined) note(skipped, name)
    for (const peer of peers) if (peer.skipped !== undefined) note(`${peer.name}: ${peer.skipped.slice(0, 300)}`, name)
  }
  return [...where].map(([why, names]) => `  ${names.length > 4 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ')}; ${why}`)
}

export function tableOf(report: Report): string {
  const { machine, works } = report
  const rows = rowsOf(report)
  const left = new Set([0, 1, rows[0].indexOf('goal')])
  const verdicts = works.flatMap(({ goals }) => goals)
  const met = verdicts.filter((verdict) => verdict.met === true).length
  const missed = verdicts.filter((verdict) => verdict.met === false).length
  const reasons = reasonsOf(works)
  const more = works.flatMap(({ name, peers }) =>
    peers.filter((peer) => peer.more !== undefined).map((peer) => `  ${name}, ${peer.name}: ${Object.entries(peer.more ?? {}).map(([word, value]) => `${word} ${short(value)}`).join(', ')}`))
  return [
    `Ogee ${machine.ogee}, ${machine.date}. ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB; Linux ${machine.kernel}; Node ${machine.node}; ${machine.disk}.`,
    `Medians of ${report.rounds} interleaved rounds (min-max), sizes: ${report.scale}. pt: libfuse passthrough_ll, the better of plain and -s (marked s).`,
    'of pt, of disk: our time as a multiple of theirs, below 1 is faster. cpu: the daemon\'s, per operation. anon: its anonymous memory after the work.',
    '',
    align(rows, left),
    '',
    `Goals: ${met} met, ${missed} not met, ${verdicts.length - met - missed} without a figure.`,
    ...(more.length === 0 ? [] : ['', 'Beside the figures:', ...more]),
    ...(reasons.length === 0 ? [] : ['', 'Left out:', ...reasons]),
    '',
    'The works:',
    align(works.map(({ name, title }) => [`  ${name}`, title]), new Set([0, 1])),
  ].join('\n')
}
