/** A run as JSON: written by --json, read by --against. The schema is the file's format; `format` grows when it changes. */
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import type { Machine } from './machine.js'
import type { WorkResult } from './rounds.js'

const figure = z.object({ median: z.number(), min: z.number(), max: z.number(), samples: z.array(z.number()) })
const peer = z.object({
  name: z.string(),
  kind: z.enum(['ogee', 'pt', 'disk', 'also', 'nbd', 'rbd']),
  figure: figure.optional(),
  skipped: z.string().optional(),
  cpuUsPerOp: z.number().optional(),
  anonMib: z.number().optional(),
  callsPerOp: z.number().optional(),
  more: z.record(z.string(), z.number()).optional(),
})
const machineShape = z.object({
  cpu: z.string(), cores: z.number(), memoryGib: z.number(), kernel: z.string(), node: z.string(), disk: z.string(), ogee: z.string(), date: z.string(),
})
const report = z.object({
  format: z.literal(1),
  machine: machineShape,
  scale: z.enum(['quick', 'normal', 'full']),
  rounds: z.number(),
  works: z.array(z.object({
    name: z.string(),
    title: z.string(),
    unit: z.string(),
    better: z.enum(['less', 'more']),
    skipped: z.string().optional(),
    peers: z.array(peer),
    goals: z.array(z.object({ goal: z.string(), reached: z.number().optional(), met: z.boolean().optional() })),
  })),
})
export type Report = z.infer<typeof report>
export type ReportWork = Report['works'][number]

export function makeReport(about: { machine: Machine; scale: Report['scale']; rounds: number }, results: readonly WorkResult[]): Report {
  const works = results.map(({ work, peers, verdicts, skipped }) => ({
    name: work.name, title: work.title, unit: work.unit, better: work.better, skipped, peers: [...peers], goals: [...verdicts],
  }))
  // Through JSON and the schema: what is in memory is what a reader of the file gets.
  return report.parse(JSON.parse(JSON.stringify({ format: 1, ...about, works })))
}

export const writeReport = (file: string, content: Report): void => writeFileSync(file, `${JSON.stringify(content, undefined, 1)}\n`)

export function readReport(file: string): Report {
  const read = report.safeParse(JSON.parse(readFileSync(file, 'utf8')))
  if (!read.success) throw new Error(`${file} is no report of this benchmark (format 1): ${z.prettifyError(read.error)}`)
  return read.data
}
