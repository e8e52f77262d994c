/**
 * Statistics of a few samples, and goals. Everything is pure.
 *   - A figure is its median; min and max tell the spread. Nothing is thrown away.
 *   - A ratio is taken between medians of one run, never across runs.
 *   - "time" is what the caller waits: for a rate it is the inverse, so a time ratio below 1 always means faster.
 */
export type Better = 'less' | 'more'

export interface Figure {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly samples: readonly number[]
}

/** Who is the measure: passthrough_ll and qemu-nbd as the better of their forms. */
export type Measure = 'pt' | 'disk' | 'nbdkit' | 'qemu' | 'rbd'

/** What a work should reach: a ratio of times, a ratio of rates, or a plain bound on our own figure. */
export type Goal =
  | { readonly time: number; readonly of: Measure }
  | { readonly rate: number; readonly of: Measure }
  | { readonly atMost: number }

export interface Verdict {
  /** The goal in words: "<= 0.4x pt's time". */
  readonly goal: string
  /** What was reached, in the goal's own terms; undefined if one of the two figures is missing. */
  readonly reached: number | undefined
  readonly met: boolean | undefined
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

export function figure(samples: readonly number[]): Figure {
  return { median: median(samples), min: Math.min(...samples), max: Math.max(...samples), samples }
}

/** How many times as long as `other` it takes; 0.5 is twice as fast. */
export const timeRatio = (mine: Figure, other: Figure, better: Better): number =>
  better === 'less' ? mine.median / other.median : other.median / mine.median

/** The better of two by median; either may be missing. */
export function betterOf<T extends { readonly figure?: Figure }>(a: T | undefined, b: T | undefined, better: Better): T | undefined {
  if (a?.figure === undefined) return b?.figure === undefined ? a ?? b : b
  if (b?.figure === undefined) return a
  const less = a.figure.median <= b.figure.median
  return less === (better === 'less') ? a : b
}

export function judge(goal: Goal, better: Better, figures: { readonly ours?: Figure } & Readonly<Partial<Record<Measure, Figure>>>): Verdict {
  const { ours } = figures
  if ('atMost' in goal) {
    const reached = ours?.median
    return { goal: `<= ${goal.atMost}`, reached, met: reached === undefined ? undefined : reached <= goal.atMost }
  }
  const other = figures[goal.of]
  const ratio = ours === undefined || other === undefined ? undefined : timeRatio(ours, other, better)
  if ('time' in goal) return { goal: `<= ${goal.time}x ${goal.of}'s time`, reached: ratio, met: ratio === undefined ? undefined : ratio <= goal.time }
  const rate = ratio === undefined ? undefined : 1 / ratio
  return { goal: `>= ${goal.rate}x ${goal.of}'s rate`, reached: rate, met: rate === undefined ? undefined : rate >= goal.rate }
}

/** Three significant digits, no exponent: 0.00123, 1.23, 12.3, 123, 1234. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-'
  if (value === 0) return '0'
  const digits = Math.floor(Math.log10(Math.abs(value))) + 1
  return value.toFixed(Math.min(6, Math.max(0, 3 - digits)))
}
