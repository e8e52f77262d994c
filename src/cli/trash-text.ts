/** What commands say of a trash. */
import type { TrashState } from '../pool/index.js'
import { bytesText } from './output.js'

export const daysText = (days: number): string => (days === 1 ? '1 day' : `${Number(days.toPrecision(4))} days`)
export const things = (n: number): string => (n === 1 ? '1 thing' : `${n} things`)
export const trashText = ({ of, on, keepDays, items, bytes }: TrashState): string =>
  `${of}: ${on ? `keeps for ${daysText(keepDays)}` : `off (what is there goes after ${daysText(keepDays)})`}, ${things(items)}, ${bytesText(bytes)}`
