/** What commands print, and how they end: exit 0 is success, 2 wrong usage, 1 everything else; one sentence on stderr. */
import { readFileSync } from 'node:fs'
import prettyBytes from 'pretty-bytes'
import { Refusal } from '../pool/index.js'
import { CHECKS } from '../sys/index.js'
import { PACKAGE_FILE } from './places.js'

export const EXIT_FAILED = 1
export const EXIT_USAGE = 2

let cachedVersion: string | undefined

export function version(): string {
  cachedVersion ??= (JSON.parse(readFileSync(PACKAGE_FILE, 'utf8')) as { version: string }).version
  return cachedVersion
}

/** Like df and du: binary units, 1 KiB is 1024 bytes. */
export const bytesText = (bytes: number): string => prettyBytes(bytes, { binary: true })

export const say = (text: string): void => { process.stdout.write(`${text}\n`) }
let listens = false
/** For much: resolves when stdout has room for more. Throws when whoever reads it has gone. */
export function sayAll(part: string | Uint8Array): Promise<void> {
  if (!listens) process.stdout.on('error', () => undefined) // told below
  listens = true
  return new Promise((resolve, reject) => {
    process.stdout.write(part, (e) => (e === null || e === undefined ? resolve() : reject(new Refusal('failed', `The output could not be written (${e.message}): what reads it has ended, or its disk is full.`))))
  })
}
/** On stderr: what happens, for people; scripts read stdout. */
export const note = (text: string): void => { process.stderr.write(`ogee: ${text}\n`) }

/** Of names that others chose: no line breaks, nothing that a terminal obeys. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g
export const visible = (text: string): string => text.replace(CONTROL, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)

/** The one sentence for whatever was thrown. */
export function sentence(e: unknown): string {
  if (e instanceof Refusal) return visible(e.message)
  const text = e instanceof Error ? (CHECKS ? (e.stack ?? e.message) : e.message) : String(e)
  return `${text} (unexpected: OGEE_CHECK=1 shows where)`
}

export const isUsage = (e: unknown): boolean => e instanceof Refusal && e.reason === 'usage'

export function durationText(sec: number): string {
  const s = Math.floor(sec)
  const days = Math.floor(s / 86_400)
  const hours = Math.floor(s / 3600) % 24
  const minutes = Math.floor(s / 60) % 60
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${s % 60} s` : `${s} s`
}

/** Columns and nothing between them, for cli-table3. */
export const PLAIN_TABLE = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  '
}
