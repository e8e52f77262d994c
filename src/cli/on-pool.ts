/** Has something done to a pool: by the daemon that holds it, or here while nobody does. */
import { holderText, openPool, Refusal, tryLock } from '../pool/index.js'
import type { Pool } from '../pool/index.js'
import { systemClock, systemRandom } from '../sys/index.js'
import { note } from './output.js'

/** `ask` the daemon; undefined: there is none, and `act` does it with the pool open. */
export async function onPool<T>(folder: string, ask: () => Promise<T | undefined>, act: (pool: Pool) => Promise<T>): Promise<T> {
  return await ask() ?? closedPool(folder, act)
}

async function closedPool<T>(folder: string, act: (pool: Pool) => Promise<T>): Promise<T> {
  const lock = tryLock(folder, 'command')
  if (!('release' in lock)) throw new Refusal('in-use', `Pool ${folder} is being opened or closed by ${holderText(lock.heldBy)}: try again in a moment.`)
  try {
    const pool = await openPool(folder, { clock: systemClock, random: systemRandom, vfs: {}, note })
    try {
      return await act(pool)
    } finally {
      await pool.close()
    }
  } finally {
    lock.release()
  }
}
