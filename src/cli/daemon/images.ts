/** What the daemon does for `ogee snapshot diff`: the pool's own call, line by line. */
import type { Pool } from '../../pool/index.js'
import type { Streams } from './control.js'

export const imageStreams = ({ diffs }: Pool): Streams => ({
  'snapshot/diff': (query, sink) => diffs.diff(query.get('a') ?? '', query.get('b') ?? '', (line) => sink(`${JSON.stringify(line)}\n`))
})
