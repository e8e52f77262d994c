/**
 * Drives a folder of any mounted file system: a child process per user (folder-child.ts), started when first needed.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { CallName, Driver, User } from './table.js'

const CHILD = fileURLToPath(new URL('folder-child.ts', import.meta.url))
const TIMES = new Set(['atime', 'mtime', 'ctime'])

interface Child {
  call(name: CallName, args: readonly unknown[]): Promise<unknown>
  end(): Promise<void>
}

function startChild(folder: string, user: User): Child {
  const child = spawn(process.execPath, ['--import', 'tsx', CHILD, folder, JSON.stringify(user)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: { resolve(value: unknown): void; reject(e: Error): void }[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line, (key, value: unknown) => (TIMES.has(key) ? BigInt(value as string) : value)) as { value?: unknown; code?: string }
    const asker = waiting.shift()
    if (answer.code === undefined) asker?.resolve(answer.value)
    else asker?.reject(Object.assign(new Error(answer.code), { code: answer.code }))
  })
  const exited = new Promise<void>((resolve) => child.on('exit', () => {
    for (const asker of waiting.splice(0)) asker.reject(new Error(`the process of ${user.name} ended`))
    resolve()
  }))
  return {
    call: (name, args) => new Promise((resolve, reject) => {
      waiting.push({ resolve, reject })
      child.stdin.write(`${JSON.stringify([name, args])}\n`)
    }),
    end() {
      child.stdin.end()
      return exited
    },
  }
}

/** `folder` must exist; a fresh one is made inside, and removed at the end. */
export function driveFolder(folder: string): Driver {
  const work = join(folder, `posix-${String(process.pid)}`)
  mkdirSync(work, { mode: 0o755 })
  const probe = join(work, '.probe')
  const children = new Map<string, Child>()
  const childOf = (user: User): Child => {
    let child = children.get(user.name)
    if (child === undefined) children.set(user.name, (child = startChild(work, user)))
    return child
  }
  const probeTime = (): bigint => {
    writeFileSync(probe, '')
    return statSync(probe, { bigint: true }).ctimeNs
  }
  return {
    call: (user, name, args) => childOf(user).call(name, args),
    async tick() {
      const before = probeTime()
      while (probeTime() - before < 5_000_000n) await pause(1) // ext4's clock may move in steps of 4 ms
    },
    async close() {
      for (const child of children.values()) await child.end()
      rmSync(work, { recursive: true, force: true })
    },
  }
}
