/** The tools that steps of works use: load generators built once per run, other programs under a deadline, cold caches. */
import { closeSync, mkdirSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { run, start } from '../test/programs/run.js'
import { anonMib, cpuSeconds } from './usage.js'
import type { Load, Tools } from './work.js'

export type Scale = 'quick' | 'normal' | 'full'
const loads = fileURLToPath(new URL('./load', import.meta.url))

/** Compiles bench/load/*.c into `top`/load; several at a time. */
export async function buildLoads(top: string): Promise<string> {
  const into = `${top}/load`
  mkdirSync(into, { recursive: true })
  const sources = readdirSync(loads).filter((name) => name.endsWith('.c'))
  await Promise.all(sources.map((name) => run('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', `${loads}/${name}`, '-o', `${into}/${name.slice(0, -2)}`])))
  return into
}

function parseLoad(said: string): Load {
  const load = JSON.parse(said) as Load
  if (!(load.ops > 0) || !(load.ns >= 0)) throw new Error(`a load generator answered ${said}`)
  return load
}

/** The kernel tells the strictest wish of all; 0 us is ours and that of load/awake.c. False where the device is not to be had: then nobody has it. */
function coresAreHeld(): boolean {
  let fd: number
  try {
    fd = openSync('/dev/cpu_dma_latency', 'r')
  } catch {
    return false
  }
  const wishUs = Buffer.alloc(4)
  readSync(fd, wishUs, 0, 4, null)
  closeSync(fd)
  return wishUs.readInt32LE(0) === 0
}

export function makeTools(options: { readonly programs: string; readonly scratch: string; readonly scale: Scale; readonly deadlineMs: number }): Tools {
  const { programs, scratch, scale, deadlineMs } = options
  const program = (name: string) => `${programs}/${name}`
  const execute = (command: string, args: readonly string[]) => run(command, args, { cwd: '/', timeoutMs: deadlineMs })
  return {
    scratch,
    program,
    size: (quick, normal, full = normal) => ({ quick, normal, full })[scale],
    load: async (name, ...args) => parseLoad((await execute(program(name), args.map(String))).stdout),
    timed: async (command, ...args) => parseLoad((await execute(program('timed'), [command, ...args])).stdout),
    run: async (command, ...args) => (await execute(command, args)).stdout,
    beside(command, ...args) {
      const running = start(command, args, { cwd: '/', timeoutMs: deadlineMs })
      return {
        async stop() {
          running.kill()
          const ended = await running.done.then(() => '', (error: Error) => error.message)
          if (!/ended by SIGKILL/.test(ended)) throw new Error(`${command} ended before it was told to: ${ended}`)
        },
      }
    },
    dropCaches: async () => {
      await run('sync', [])
      writeFileSync('/proc/sys/vm/drop_caches', '3')
    },
    async coresLetGo() {
      for (let waitedMs = 0; waitedMs < 2000 && coresAreHeld(); waitedMs += 10) await sleep(10)
    },
    anonMib: ({ daemonPid }) => (daemonPid === undefined ? 0 : anonMib(daemonPid)),
    cpuSeconds: ({ daemonPid }) => (daemonPid === undefined ? 0 : cpuSeconds(daemonPid)),
    sleepSeconds: (seconds) => sleep(seconds * 1000).then(() => undefined),
  }
}
