/** What the daemon does for `ogee trash`: the pool's own calls; the kernel forgets what it knew of names that are there again. */
import type { Pool } from '../../pool/index.js'
import { ROOT_NODE } from '../../vfs/index.js'
import type { Calls, Streams } from './control.js'
import type { Door } from './door.js'

const numberOf = (text: string | null): number | undefined => (text === null ? undefined : Number(text))

export const trashCalls = ({ trash }: Pool, door: Door): Calls => ({
  'trash/enable': async (query) => ({ trash: await trash.enable(query.get('of') ?? '/', numberOf(query.get('days'))) }),
  'trash/disable': async (query) => ({ trash: await trash.disable(query.get('of') ?? '/') }),
  'trash/empty': async (query) => ({ removed: await trash.empty(query.get('of') ?? '/', numberOf(query.get('days'))) }),
  async 'trash/restore'(query) {
    const stale: { readonly parent: number, readonly name: string, readonly ino: number }[] = []
    try {
      return { ...await trash.restore(query.get('what') ?? '', query.get('to') ?? undefined, query.get('scope') === 'all' ? 'all' : 'together', (restored) => {
        if (restored.parent === ROOT_NODE || door.isHeld(restored.parent)) stale.push(restored)
      }) }
    } finally {
      for (const { parent, name, ino } of stale) {
        await door.changed(parent, name)
        if (door.isHeld(ino)) await door.changedInode(ino)
      }
    }
  }
})

export const trashStreams = ({ trash }: Pool): Streams => ({
  'trash/list': (query, sink) => trash.list(query.get('of') ?? '/', (line) => sink(`${JSON.stringify(line)}\n`))
})
