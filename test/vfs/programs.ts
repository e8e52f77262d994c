/**
 * Random programs for the model tests: batches of steps of several clients, and what the model may have become after a batch.
 *   - A step's nodes are numbers to pick with: whoever runs it puts nodes in their place.
 */
import fc from 'fast-check'
import { apply, cloneModel, shownModel } from './model.js'
import type { Model, Step } from './model.js'

export interface Outcome {
  readonly text: string
  /** The inode that the answer names, for what is made. */
  readonly given: number
}

const pick = fc.nat({ max: 1000 })
const name = fc.constantFrom('a', 'b', 'c', 'd')
const offset = fc.oneof(fc.constantFrom(0, 1, 2047, 2048, 4095, 4096, 8192, 65_536), fc.nat({ max: 150_000 }))
const length = fc.oneof(fc.constantFrom(1, 512, 2048, 4096, 70_000), fc.nat({ max: 20_000 }).map((n) => n + 1))

/** A step whose nodes are still numbers to pick with. */
const blank = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('create' as const), parent: pick, name, exclusive: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('mkdir' as const), parent: pick, name }) },
  fc.record({ op: fc.constant('symlink' as const), parent: pick, name, target: fc.constantFrom('x', 'some/where') }),
  fc.record({ op: fc.constant('link' as const), node: pick, parent: pick, name }),
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('unlink' as const, 'rmdir' as const, 'lookup' as const), parent: pick, name }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('rename' as const), parent: pick, name, newParent: pick, newName: name, flags: fc.constantFrom(0, 0, 1, 2) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('write' as const), node: pick, offset: fc.oneof(offset, fc.constant('end' as const)), length, fill: fc.integer({ min: 1, max: 255 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate' as const), node: pick, size: fc.oneof(fc.constant(0), offset) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('punch' as const, 'zero' as const, 'reserve' as const), node: pick, offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('read' as const), node: pick, offset, length }) },
  fc.record({ op: fc.constant('copy' as const), node: pick, to: pick, from: offset, at: offset, length }),
  fc.record({ op: fc.constant('chmod' as const), node: pick, mode: fc.constantFrom(0o600, 0o755, 0o1770) }),
  fc.record({ op: fc.constant('setxattr' as const), node: pick, name: fc.constantFrom('user.x', 'user.y'), value: fc.constantFrom('1', 'two') }),
  fc.record({ op: fc.constantFrom('list' as const, 'fsync' as const), node: pick }),
) as fc.Arbitrary<Step>
/** Batches of steps that run at the same time, with closing and opening in between. */
export type Program = readonly (readonly Step[] | 'reopen')[]
export const program: fc.Arbitrary<Program> = fc.array(
  fc.oneof({ weight: 12, arbitrary: fc.array(blank, { minLength: 1, maxLength: 4 }) }, fc.constant('reopen' as const)), { maxLength: 30 })

function* ordersOf<T>(list: readonly T[]): Iterable<readonly T[]> {
  if (list.length <= 1) yield list
  for (let i = 0; list.length > 1 && i < list.length; i++) {
    for (const rest of ordersOf([...list.slice(0, i), ...list.slice(i + 1)])) yield [list[i], ...rest]
  }
}

/** A copy is a read and a write, not one step: it runs alone. */
export const runsOf = (steps: readonly Step[]): readonly (readonly Step[])[] => {
  const copies = steps.filter((s) => s.op === 'copy').map((s) => [s])
  const others = steps.filter((s) => s.op !== 'copy')
  return others.length > 0 ? [others, ...copies] : copies
}

/** What the models become if the steps had these outcomes, in any order. */
export function follow(models: readonly Model[], done: readonly { step: Step; outcome: Outcome }[]): Model[] {
  const next = new Map<string, Model>()
  for (const model of models) {
    for (const order of ordersOf(done)) {
      const trial = cloneModel(model)
      if (order.every(({ step, outcome }) => apply(trial, step, outcome.given) === outcome.text)) next.set(shownModel(trial), trial)
    }
  }
  return [...next.values()]
}
