/** Sizes on the command line, as in mkfs and truncate: 100G, 1.5TiB, 4096. Powers of 1024; the letter's case does not matter. */
import { Refusal } from '../pool/index.js'

const UNITS = 'KMGTP'
const FORM = /^(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|B)?$/i

export function parseSize(text: string): number {
  const match = FORM.exec(text.trim())
  if (match === null) throw new Refusal('usage', `"${text}" is no size: write a number and K, M, G or T, like 100G.`)
  const power = match[2] === undefined ? 0 : UNITS.indexOf(match[2].toUpperCase()) + 1
  const bytes = Math.floor(Number(match[1]) * 1024 ** power)
  if (!Number.isSafeInteger(bytes)) throw new Refusal('usage', `"${text}" is too large: write a number and K, M, G or T, like 100G.`)
  return bytes
}
