/** What the daemon does for `ogee snapshot`: the pool's own call, and then the kernel forgets what it knew of the name. */
import type { Pool } from '../../pool/index.js'
import type { Calls } from './control.js'
import type { Door } from './door.js'

export const snapshotCalls = ({ snapshots }: Pool, door: Door): Calls => ({
  async 'snapshot/create'(query) {
    const { snapshot, touched } = await snapshots.create(query.get('of') ?? '')
    await door.changed(touched.parent, touched.name)
    return { snapshot }
  },
  'snapshot/list': async (query) => ({ snapshots: await snapshots.list(query.get('of') ?? '/') }),
  async 'snapshot/rm'(query) {
    const { touched } = await snapshots.remove(query.get('of') ?? '')
    await door.changed(touched.parent, touched.name)
    if (query.get('wait') !== null) await snapshots.settle()
    return { removed: true }
  }
})
