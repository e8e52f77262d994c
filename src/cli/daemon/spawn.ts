/**
 * Starts the daemon of a pool in the background, and says when its mount is usable or why it is not.
 *   - The daemon is a session of its own (setsid) with / as its folder; stdout and stderr are POOL/daemon.log.
 *   - What it wants the user to know comes over Node's IPC channel, which both sides close as soon as it serves. If the
 *     command goes away before, the daemon gives up.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { DAEMON_LOG_FILE, Refusal } from '../../pool/index.js'
import type { Reason } from '../../pool/index.js'
import { POOL_ENVIRONMENT } from '../../sys/index.js'
import type { MountOptions } from '../options.js'
import { MAIN_FILE } from '../places.js'
import { DAEMON_COMMAND } from './command.js'
import type { NbdSpec } from './nbd-spec.js'

/**
 * A young generation that is emptied often and therefore quickly, by the loop's own thread: a helper may have to wait for a core. An
 * old one that doubles at most before it is looked through. One helper for V8, not four: they compile and mark on cores that the loop and who asks it
 * need, and compile less at a time: functions take in fewer of those that they call. docs/decisions/0009, 0010.
 */
const V8 = ['--max-semi-space-size=2', '--no-parallel-scavenge', '--heap-growing-percent=100', '--v8-pool-size=1', '--max-inlined-bytecode-size-cumulative=250']

/** What a daemon is told. */
export interface DaemonSpec {
  readonly pool: string
  /** Undefined: it mounts nothing, and serves `nbd`. */
  readonly dir: string | undefined
  readonly options: MountOptions
  readonly nbd: NbdSpec | undefined
}

export type Outcome = 'ready' | 'taken'

export function spawnDaemon(spec: DaemonSpec, onNote: (text: string) => void): Promise<Outcome> {
  const log = openSync(join(spec.pool, DAEMON_LOG_FILE), 'a', 0o600)
  const child = spawn(process.execPath, [...V8, ...process.execArgv, MAIN_FILE, DAEMON_COMMAND, spec.pool, spec.dir ?? 'nbd'], {
    detached: true, cwd: '/', stdio: ['ignore', log, log, 'ipc'], env: { ...process.env, ...POOL_ENVIRONMENT }
  })
  closeSync(log)
  const forms = import('./messages.js') // loaded while the daemon starts; what comes earlier waits, in order
  return new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => void forms.then(() => reject(new Refusal('failed',
      `The daemon of pool ${spec.pool} ended before it served (${signal ?? `exit ${code}`}): see ${spec.pool}/${DAEMON_LOG_FILE}.`))))
    child.on('message', (json) => void forms.then(({ Started }) => {
      const message = Started.parse(json)
      switch (message.kind) {
        case 'note': return onNote(message.text)
        case 'ready': return resolve('ready')
        case 'taken': return resolve('taken')
        case 'refused': return reject(new Refusal(message.reason as Reason, message.text))
      }
    }).catch(reject))
    child.send(spec)
  }).finally(() => {
    if (child.connected) child.disconnect()
    child.removeAllListeners('exit')
    child.unref()
  })
}
