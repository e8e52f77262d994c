/** `ogee export` and `ogee import`: images of snapshots, whole or of what changed, over a pipe or in a file. */
import { closeSync, existsSync, fstatSync, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { fileImage, Refusal } from '../../pool/index.js'
import { systemClock } from '../../sys/index.js'
import { askStream } from '../daemon/client.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { bytesText, note, say, sayAll } from '../output.js'
import { progressBar } from '../progress.js'

interface ExportFlags {
  readonly since?: string
  readonly format?: string
  readonly resume?: string
}
const POOL = "the pool's folder, or where it is mounted"

export const addExport = (program: Command): void => {
  program.command('export').argument('<POOL|DIR>', POOL).argument('<SNAPSHOT>', '/@NAME, /path@NAME or VOLUME@NAME')
    .summary('write an image of a snapshot to stdout')
    .description('Writes an image of a snapshot to stdout: all of it, or with --since what changed since an older one.')
    .option('--since <SNAPSHOT>', 'only what changed since this one: the name behind its @')
    .option('--format <FORMAT>', 'image; or raw: the plain bytes of a volume, with holes where stdout is a file', 'image')
    .option('--resume <BYTES>', 'leave out so many bytes, which `ogee import` says that it has')
    .addHelpText('after', '\nExamples:\n  ogee export /srv/pool /home@monday > monday.image\n  ogee export /srv/pool /home@tuesday --since monday | ssh host ogee import /srv/pool /home\n  ogee export /srv/pool db@monday --format raw > db.img')
    .action(exportTo)
}

export const addImport = (program: Command): void => {
  program.command('import').argument('<POOL|DIR>', POOL).argument('<PATH|VOLUME>', 'where it goes: a new path or volume; for an increment the one that has its base')
    .summary('make of an image on stdin what it shows')
    .description('Reads an image from stdin, and makes what it shows: files and their snapshot, or a volume and its snapshot.\nAn image that is cut, damaged or does not fit changes nothing.')
    .option('--anew', 'what an import to it that was broken off left there goes first, and what was put there since')
    .action(importFrom)
}

async function exportTo(path: string, snapshot: string, flags: ExportFlags): Promise<void> {
  const { pool } = locate(path)
  if (process.stdout.isTTY) throw new Refusal('usage', 'An image is not for a terminal: add > FILE, or | and a command that takes it.')
  const isRaw = flags.format === 'raw'
  if (!isRaw && flags.format !== 'image') throw new Refusal('usage', `There is no format ${flags.format}: it is image or raw.`)
  if (isRaw && (flags.since !== undefined || flags.resume !== undefined)) throw new Refusal('usage', 'The raw form is of a whole volume, from its beginning: leave --since and --resume out.')
  const stdout = fstatSync(1)
  const isSparse = stdout.isFile() && stdout.size === 0
  const beganMs = systemClock.monotonicMs()
  let left = Number(flags.resume ?? 0)
  if (!Number.isSafeInteger(left) || left < 0) throw new Refusal('usage', `--resume takes a number of bytes, not ${flags.resume}.`)
  let done = 0
  let shownMs = beganMs
  const show = (): void => {
    const nowMs = systemClock.monotonicMs()
    if (!process.stderr.isTTY || nowMs - shownMs < 100) return
    shownMs = nowMs
    process.stderr.write(`\r\u001b[Kexport  ${bytesText(done)}  ${bytesText(done / ((nowMs - beganMs) / 1000))}/s`)
  }
  const write = async (part: Uint8Array): Promise<void> => {
    done += part.length
    const rest = left >= part.length ? undefined : part.subarray(left)
    left = Math.max(0, left - part.length)
    if (rest !== undefined) await sayAll(rest)
    show()
  }
  const query = { snapshot, ...(flags.since === undefined ? {} : { since: flags.since }) }
  try {
    if (isRaw) {
      const raw = isSparse ? async (part: Uint8Array): Promise<void> => {
        if (!isZero(part)) for (let at = 0; at < part.length;) at += writeSync(1, part, at, part.length - at, done + at)
        done += part.length
        show()
      } : write
      await onPool(pool, async () => await askStream(pool, 'image/raw', query, raw) ? true : undefined, async (p) => {
        await p.images.exportRaw(snapshot, raw)
        return true
      })
      if (isSparse) ftruncateSync(1, done)
    } else {
      await onPool(pool, async () => await askStream(pool, 'image/export', query, write) ? true : undefined, async (p) => {
        await p.images.export(snapshot, flags.since, write)
        return true
      })
    }
  } finally {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  }
}

const ZEROS = Buffer.alloc(1024 * 1024)
const isZero = (part: Uint8Array): boolean => part.length <= ZEROS.length && ZEROS.compare(part, 0, part.length, 0, part.length) === 0

async function importFrom(path: string, to: string, flags: { readonly anew?: boolean }): Promise<void> {
  const halfDone = flags.anew === true ? 'remove' : 'refuse'
  const { pool } = locate(path)
  const bar = progressBar('import', 'bytes', systemClock)
  const spool = fstatSync(0).isFile() ? undefined : await spooled(pool, to)
  const file = spool ?? `/proc/${process.pid}/fd/0`
  let answer = ''
  try {
    let rest = ''
    const snapshot = await onPool(pool, async () => (await askStream(pool, 'image/import', { to, file, halfDone }, async (part) => {
      const lines = (rest + part.toString('latin1')).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const told = JSON.parse(Buffer.from(line, 'latin1').toString('utf8')) as { done: number, of: number } | { snapshot: string }
        if ('snapshot' in told) answer = told.snapshot
        else bar.show(told.done, told.of)
      }
    })) ? answer : undefined, async (p) => {
      const image = fileImage(file)
      try {
        return await p.images.import(to, image, halfDone, (done, of) => bar.show(done, of), () => undefined)
      } finally {
        image.close()
      }
    })
    bar.end()
    if (spool !== undefined) rmSync(spool, { force: true })
    say(`${snapshot} is there.`)
  } catch (e) {
    bar.end()
    const cut = e instanceof Refusal && e.reason === 'damaged' ? /(cut after|damaged behind) (\d+) bytes/.exec(e.message) : null
    if (spool !== undefined && cut !== null && Number(cut[2]) > 0) {
      const fd = openSync(spool, 'r+')
      ftruncateSync(fd, Number(cut[2])) // whole records
      closeSync(fd)
      note(`what came is kept: \`ogee export ... --resume ${cut[2]} | ogee import ${path} ${to}\` goes on there.`)
    } else if (spool !== undefined) rmSync(spool, { force: true })
    throw e
  }
}

/** A pipe cannot be read twice: what comes goes to a file beside the pool first. What does not begin an image goes on with the one there. */
async function spooled(pool: string, to: string): Promise<string> {
  const folder = join(pool, 'import')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, encodeURIComponent(to).slice(0, 200))
  const had = existsSync(file)
  const fd = openSync(file, had ? 'r+' : 'w+', 0o600)
  try {
    let at = fstatSync(fd).size
    let isFirst = true
    let head = Buffer.alloc(0)
    for await (const part of process.stdin as AsyncIterable<Buffer>) {
      let bytes = part
      if (isFirst) {
        head = bytes = Buffer.concat([head, part])
        if (bytes.length < 8) continue
        isFirst = false
        if (bytes.subarray(0, 8).toString('latin1') === 'OGEEIMG1') {
          ftruncateSync(fd, 0)
          at = 0
        }
      }
      for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written, bytes.length - written, at + written)
      at += bytes.length
    }
  } finally {
    closeSync(fd)
  }
  return file
}
