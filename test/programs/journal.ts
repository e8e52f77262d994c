/**
 * The model beside writer.py: what its journal says must be in the folder, compared with what is there.
 *   - Every change with an "ok" line is there, whole. The last one without may be there, or not, or (a write) in part.
 *   - Nothing else is there.
 */
import assert from 'node:assert/strict'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'

type Change = readonly [kind: string, name: string, ...rest: (string | number)[]]

interface File {
  bytes: Buffer
  mode: number
}
/** Names to what they are: a file, a folder, or a symlink's target. */
type Model = Map<string, File | 'folder' | string>

export interface Journal {
  readonly answered: readonly Change[]
  readonly underway: Change | undefined
}

export function readJournal(file: string): Journal {
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1)
  const answered: Change[] = []
  let underway: Change | undefined
  for (const line of lines)
    if (line === 'ok') {
      assert.ok(underway !== undefined)
      answered.push(underway)
      underway = undefined
    } else underway = JSON.parse(line) as Change
  return { answered, underway }
}

function content(n: number, length: number): Buffer {
  return Buffer.alloc(length, `${String(n % 1e8).padStart(8, '0')}.`, 'latin1')
}

function fileIn(model: Model, name: string): File {
  const found = model.get(name)
  assert.ok(typeof found === 'object', `the journal speaks of the file ${name}`)
  return found
}

function put(file: File, at: number, bytes: Buffer): void {
  const size = Math.max(file.bytes.length, at + bytes.length)
  const next = Buffer.alloc(size)
  file.bytes.copy(next)
  bytes.copy(next, at)
  file.bytes = next
}

function apply(model: Model, [kind, name, a, b, c]: Change): void {
  switch (kind) {
    case 'create': model.set(name, { bytes: Buffer.alloc(0), mode: 0o644 }); break
    case 'write': put(fileIn(model, name), a as number, content(c as number, b as number)); break
    case 'append': put(fileIn(model, name), fileIn(model, name).bytes.length, content(b as number, a as number)); break
    case 'truncate': {
      const file = fileIn(model, name)
      const next = Buffer.alloc(a as number)
      file.bytes.copy(next, 0, 0, Math.min(next.length, file.bytes.length))
      file.bytes = next
      break
    }
    case 'rename': {
      const file = fileIn(model, name)
      model.delete(name)
      model.set(a as string, file)
      break
    }
    case 'unlink': model.delete(name); break
    case 'mkdir': model.set(name, 'folder'); break
    case 'symlink': model.set(name, `-> ${a as string}`); break
    case 'chmod': fileIn(model, name).mode = a as number; break
    case 'fsync': break
    default: assert.fail(`a change of the kind ${kind}`)
  }
}

function modelOf(changes: readonly Change[]): Model {
  const model: Model = new Map()
  changes.forEach((change) => apply(model, change))
  return model
}

function found(top: string): Model {
  const model: Model = new Map()
  for (const name of readdirSync(top, { recursive: true, encoding: 'utf8' })) {
    const full = path.join(top, name)
    const stat = lstatSync(full)
    const key = name.includes('/') ? name : `./${name}`
    if (stat.isDirectory()) model.set(key, 'folder')
    else if (stat.isSymbolicLink()) model.set(key, `-> ${readlinkSync(full)}`)
    else model.set(key, { bytes: readFileSync(full), mode: stat.mode & 0o7777 })
  }
  return model
}

const normal = (name: string) => (path.posix.normalize(name).includes('/') ? path.posix.normalize(name) : `./${path.posix.normalize(name)}`)
const describe = (thing: File | string | undefined) => (typeof thing === 'object' ? `file of ${thing.bytes.length} bytes, mode ${thing.mode.toString(8)}` : thing ?? 'nothing')

function differences(want: Model, got: Model): string[] {
  const told: string[] = []
  const wanted = new Map([...want].map(([name, thing]) => [normal(name), thing] as const))
  for (const name of new Set([...wanted.keys(), ...got.keys()])) {
    const [w, g] = [wanted.get(name), got.get(name)]
    if (typeof w === 'object' && typeof g === 'object' && w.mode === g.mode) {
      if (w.bytes.equals(g.bytes)) continue
      const at = w.bytes.findIndex((byte, n) => byte !== g.bytes[n])
      told.push(`${name}: ${w.bytes.length} bytes promised, ${g.bytes.length} there, the first difference at ${at}`)
    } else if (typeof w === 'object' || w !== g) told.push(`${name}: promised ${describe(w)}, there is ${describe(g)}`)
  }
  return told
}

/** In part: the file under way has its old bytes, or the new, at every place; its size is the old, the new or between. */
function partly(journal: Journal, got: Model): boolean {
  const change = journal.underway
  if (change === undefined || !['write', 'append'].includes(change[0])) return false
  const name = normal(change[1])
  const [before, after] = [modelOf(journal.answered), modelOf([...journal.answered, change])]
  const [old, now, there] = [before.get(change[1]), after.get(change[1]), got.get(name)]
  if (typeof old !== 'object' || typeof now !== 'object' || typeof there !== 'object') return false
  if (there.bytes.length < Math.min(old.bytes.length, now.bytes.length) || there.bytes.length > now.bytes.length) return false
  if (!there.bytes.every((byte, n) => byte === now.bytes[n] || byte === (old.bytes[n] ?? 0))) return false
  after.set(change[1], there)
  return differences(after, got).length === 0
}

/** Throws unless the folder holds what the journal promised. Returns how many answered changes were compared. */
export function checkJournal(top: string, file: string): number {
  const journal = readJournal(file)
  const got = found(top)
  const without = differences(modelOf(journal.answered), got)
  if (without.length === 0) return journal.answered.length
  const withLast = journal.underway === undefined ? without : differences(modelOf([...journal.answered, journal.underway]), got)
  if (withLast.length === 0 || partly(journal, got)) return journal.answered.length
  assert.fail(`after ${journal.answered.length} answered changes (under way: ${JSON.stringify(journal.underway)}):\n${without.slice(0, 20).join('\n')}`)
}
