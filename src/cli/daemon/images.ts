/** What the daemon does for `ogee snapshot diff`, `ogee export`, `ogee import`, `ogee volume flatten` and `ogee subvolume flatten`: the pool's own calls, part by part. */
import { fileImage } from '../../pool/index.js'
import type { Pool } from '../../pool/index.js'
import type { Streams } from './control.js'
import type { Door } from './door.js'

const flattening = (flatten: (name: string, progress: (done: number, of: number) => Promise<void>) => Promise<unknown>): Streams[string] => async (query, sink) => {
  const ended = await flatten(query.get('name') ?? '', (done, of) => sink(`${JSON.stringify({ done, of })}\n`))
  await sink(`${JSON.stringify({ ended })}\n`)
}

export const imageStreams = ({ diffs, images, subvolumes, volumes }: Pool, door: Door): Streams => ({
  'snapshot/diff': (query, sink) => diffs.diff(query.get('a') ?? '', query.get('b') ?? '', (line) => sink(`${JSON.stringify(line)}\n`)),
  'image/export': (query, sink) => images.export(query.get('snapshot') ?? '', query.get('since') ?? undefined, sink),
  'image/raw': (query, sink) => images.exportRaw(query.get('snapshot') ?? '', (bytes) => sink(Buffer.from(bytes))), // it is read into again
  'volume/flatten': flattening((name, progress) => volumes.flatten(name, progress)),
  'subvolume/flatten': flattening((path, progress) => subvolumes.flatten(path, progress)),
  async 'image/import'(query, sink) {
    const image = fileImage(query.get('file') ?? '')
    let shown = 0
    try {
      const snapshot = await images.import(query.get('to') ?? '', image, query.get('halfDone') === 'remove' ? 'remove' : 'refuse', async (done, of) => {
        if (done - shown < of / 200) return
        shown = done
        await sink(`${JSON.stringify({ done, of })}\n`)
      }, async ({ parent, name, ino }) => {
        await door.changed(parent, name)
        if (ino !== 0) await door.changedInode(ino)
      })
      await sink(`${JSON.stringify({ snapshot })}\n`)
    } finally {
      image.close()
    }
  }
})
