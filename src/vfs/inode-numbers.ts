/**
 * Inode numbers come in blocks, one transaction each, and are never used twice: what a session does not use is lost with it.
 * The next block is fetched while the last quarter of the current one is handed out, so that a create seldom waits.
 */
import { backgroundContext } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import type { Parts } from './core.js'

const BLOCK_COUNT = 1024

export function inodeNumbers(parts: Parts): () => MaybePromise<number> {
  let next = 0
  let end = 0
  let spare = 0 // first number of a whole block in reserve; 0: none
  let fetching: Promise<void> | undefined

  const fetch = (): Promise<void> => {
    fetching ??= parts.engine
      .transact(backgroundContext(), (tx) => parts.tree.takeInodeNumbers(tx, BLOCK_COUNT))
      .then((first) => void (spare = first))
      .finally(() => (fetching = undefined))
    return fetching
  }

  return function take(): MaybePromise<number> {
    if (next === end && spare !== 0) {
      next = spare
      end = spare + BLOCK_COUNT
      spare = 0
    }
    if (next === end) return fetch().then(take)
    // The error of a fetch ahead is no one's: who finds the block empty fetches again and is told.
    if (spare === 0 && fetching === undefined && end - next <= BLOCK_COUNT / 4) fetch().catch(() => undefined)
    return next++
  }
}
