/** A folder on a disk that remembers: starts recorder.ts as a process of its own and fetches what it has written down. */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DiskEvent } from './journal.js'

/** The machine's monotonic clock: the same in every process. */
export const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6

export interface Recorder {
  readonly dir: string
  /** Takes the mount away; nothing in it may be open. */
  stop(): Promise<readonly DiskEvent[]>
  /** The same without asking for anything. */
  kill(): void
}

interface Message {
  readonly ready?: boolean
  readonly batch?: readonly DiskEvent[]
  readonly end?: boolean
}

export function startRecorder(): Promise<Recorder> {
  const dir = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? tmpdir(), 'ogee-powercut-'))
  const child = fork(fileURLToPath(new URL('./recorder.ts', import.meta.url)), [dir],
    { execArgv: ['--import', 'tsx'], serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const events: DiskEvent[] = []
  return new Promise((resolve, reject) => {
    let ended: ((events: readonly DiskEvent[]) => void) | undefined
    child.on('message', (message: Message) => {
      if (message.ready === true) {
        resolve({
          dir,
          stop: () => new Promise((done) => {
            ended = done
            child.send('stop')
          }),
          kill: () => void (child.connected && child.disconnect())
        })
      }
      for (const event of message.batch ?? []) events.push(event)
      if (message.end === true) ended!(events)
    })
    child.on('error', reject)
    child.on('exit', (code) => {
      rmSync(dir, { recursive: true, force: true })
      reject(new Error(`the recorder ended with ${code}`))
    })
  })
}
