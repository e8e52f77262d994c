/** What the daemon does for `ogee snapshot`, `ogee subvolume` and `ogee clone`: the pool's own call, and then the kernel forgets what it knew of the name. */
import type { Pool } from '../../pool/index.js'
import type { Calls } from './control.js'
import type { Door } from './door.js'

export const snapshotCalls = ({ snapshots, subvolumes, clones }: Pool, door: Door): Calls => ({
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
  },
  async 'snapshot/rollback'(query) {
    const { removed, touched } = await snapshots.rollBack(query.get('of') ?? '', query.get('younger') === 'remove' ? 'remove' : 'refuse')
    if (touched !== undefined) await door.exchanged(touched.folder, touched.names)
    return { removed: [...removed] }
  },
  async 'subvolume/create'(query) {
    const { path, touched } = await subvolumes.create(query.get('path') ?? '')
    await door.changed(touched.parent, touched.name)
    return { path }
  },
  async clone(query) {
    const { made, touched } = await clones.clone(query.get('from') ?? '', query.get('to') ?? '')
    if (touched !== undefined) await door.changed(touched.parent, touched.name)
    return { made }
  },
  'subvolume/list': async () => ({ subvolumes: await subvolumes.list() }),
  async 'subvolume/rm'(query) {
    const { touched } = await subvolumes.remove(query.get('path') ?? '')
    await door.changed(touched.parent, touched.name)
    return { removed: true }
  }
})
