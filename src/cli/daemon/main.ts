/** The daemon's process: takes its orders from the command that started it, tells it how it went, and then is on its own. */
import { Refusal } from '../../pool/index.js'
import { EXIT_FAILED, sentence } from '../output.js'
import { runDaemon } from './daemon.js'
import type { Started } from './messages.js'
import type { DaemonSpec } from './spawn.js'

/** Resolves when the message has left; a command that is gone hears nothing. */
const tell = (message: Started): Promise<void> => new Promise((resolve) => {
  if (process.connected && process.send !== undefined) process.send(message, () => resolve())
  else resolve()
})

export function daemonMain(): void {
  let serving = false
  process.on('disconnect', () => {
    if (!serving) process.kill(process.pid, 'SIGTERM') // whoever asked for the mount does not wait for it any more: leave in order
  })
  process.once('message', (spec) => void run(spec as DaemonSpec))

  async function run(spec: DaemonSpec): Promise<void> {
    try {
      const ended = await runDaemon(spec, {
        log: 'file',
        note: (text) => void tell({ kind: 'note', text }),
        ready() {
          serving = true
          void tell({ kind: 'ready', pid: process.pid }).then(() => { if (process.connected) process.disconnect() })
        }
      })
      if (ended === 'taken') await tell({ kind: 'taken' })
      process.exit(ended === 'taken' ? 0 : ended)
    } catch (e) {
      process.stderr.write(`${sentence(e)}\n`)
      await tell({ kind: 'refused', reason: e instanceof Refusal ? e.reason : 'failed', text: sentence(e) })
      process.exit(EXIT_FAILED)
    }
  }
}
