/**
 * mount.ogee and mount.fuse.ogee, as mount(8) calls them: SOURCE DIR [-sfnv] [-o OPTIONS] [-t TYPE]; and `ogee POOL DIR -o ...`,
 * as mount.fuse calls a file system. Options may stand anywhere.
 *   - Exit codes of mount(8): 0 success, 1 wrong usage or not permitted, 2 the system lacks something, 4 our mistake,
 *     32 the mount failed. `ogee POOL DIR` keeps the command's own: 2 wrong usage, 1 everything else.
 */
import { Refusal } from '../pool/index.js'
import { mountPool } from './mounting.js'
import { parseMountOptions } from './options.js'
import { isUsage, note, sentence } from './output.js'

export interface HelperCall {
  readonly pool: string
  readonly dir: string
  readonly lists: string[]
  /** -f: check, but do not mount. */
  readonly fake: boolean
  /** -s: what nobody knows is ignored. */
  readonly sloppy: boolean
}

const WITH_VALUE = new Set(['-t', '-N', '--types'])

export function parseHelperCall(args: readonly string[]): HelperCall {
  const names: string[] = []
  const lists: string[] = []
  let fake = false
  let sloppy = false
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (arg === '-o' || arg === '--options') lists.push(valueOf(args, ++i))
    else if (arg.startsWith('-o')) lists.push(arg.slice(2))
    else if (WITH_VALUE.has(arg)) valueOf(args, ++i)
    else if (/^-[sfnvrw]+$/.test(arg)) {
      fake ||= arg.includes('f')
      sloppy ||= arg.includes('s')
      if (arg.includes('r')) lists.push('ro')
    } else if (arg.startsWith('-')) throw new Refusal('usage', `mount.ogee does not know ${arg}: it takes SOURCE DIR [-sfnv] [-o OPTIONS].`)
    else names.push(arg)
  }
  if (names.length !== 2) throw new Refusal('usage', `mount.ogee takes a pool and a folder, not ${names.length} names: mount.ogee POOL DIR [-sfnv] [-o OPTIONS].`)
  return { pool: names[0], dir: names[1], lists, fake, sloppy }
}

function valueOf(args: readonly string[], at: number): string {
  if (at >= args.length) throw new Refusal('usage', `${args[at - 1]} needs a value: mount.ogee POOL DIR [-sfnv] [-o OPTIONS].`)
  return args[at]
}

async function run(args: readonly string[]): Promise<number> {
  const call = parseHelperCall(args)
  const options = parseMountOptions(call.lists, process.geteuid?.() === 0, call.sloppy ? 'ignore' : 'refuse')
  return call.fake ? 0 : mountPool({ pool: call.pool, dir: call.dir, options, where: 'background', note })
}

function mountCode(e: unknown): number {
  if (!(e instanceof Refusal)) return 4
  if (e.reason === 'usage' || e.reason === 'denied') return 1
  return e.reason === 'unsupported' ? 2 : 32
}

/** The exit code. */
export async function runHelper(args: readonly string[], codes: 'mount' | 'ogee'): Promise<number> {
  try {
    return await run(args)
  } catch (e) {
    note(sentence(e))
    return codes === 'mount' ? mountCode(e) : isUsage(e) ? 2 : 1
  }
}
