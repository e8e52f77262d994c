/**
 * Repairs the lists of inodes without links: sessions' and the trash's. Such an inode is on one of them, nothing else is on any, and the
 * sums of a trash are what its rows say. Of two rows for one inode the trash's goes.
 */
import { streamRows } from '../engine/index.js'
import type { Key } from '../engine/index.js'
import { PosixError } from '../sys/index.js'
import { readInodeOrNone } from './check.js'
import { firstNumber, inodeKey, isTrashedName, orphansFrom, secondNumber, TRASH_SUMS_END, TRASH_SUMS_FROM, trashFrom, trashIno, trashSumsDomain, trashSumsKey } from './keys.js'
import { change, readerOf, SLICE_ROWS } from './repair-base.js'
import type { Repair } from './repair-base.js'
import { decodeRemoved } from './rows.js'
import { allDomains } from './snapshot.js'
import { run } from './steps.js'

const LAST = 2 ** 53 - 1
const DOMAINS_MAX = 1_000_000

interface Listed {
  readonly key: Key
  readonly ino: number
  /** Where it lies in the trash. */
  readonly trash: { readonly domain: number; readonly sizeBytes: number } | undefined
  readonly isReadable: boolean
  /** One of several: its inode need not be on a list. */
  readonly isName: boolean
}

async function* listed(repair: Repair): AsyncGenerator<Listed> {
  const r = readerOf(repair)
  const orphans = await streamRows(r, orphansFrom(0), orphansFrom(LAST))
  for (; orphans.key !== undefined; await orphans.advance()) yield { key: orphans.key, ino: secondNumber(orphans.key), trash: undefined, isReadable: true, isName: false }
  const removed = await streamRows(r, trashFrom(0), trashFrom(LAST))
  for (; removed.key !== undefined; await removed.advance()) {
    const { key, row } = removed
    const sizeBytes = sizeOf(key, row.bytes)
    yield { key, ino: trashIno(key), trash: { domain: firstNumber(key), sizeBytes: sizeBytes ?? 0 }, isReadable: sizeBytes !== undefined, isName: isTrashedName(key) }
  }
}

function sizeOf(key: Key, bytes: Uint8Array): number | undefined {
  try {
    return decodeRemoved(key, bytes).sizeBytes
  } catch (e) {
    if (e instanceof PosixError) return undefined
    throw e
  }
}

export async function isListed(repair: Repair, ino: number): Promise<boolean> {
  for await (const row of listed(repair)) if (row.ino === ino && !row.isName) return true
  return false
}

export async function repairLists(repair: Repair): Promise<void> {
  const r = readerOf(repair)
  const seen = new Set<number>()
  const wrong: Key[] = []
  const sums = new Map<number, number[]>()
  for (const { domain, trashKeepSec } of await run(allDomains(r))) if (trashKeepSec > 0) sums.set(domain, [0, 0])
  for (const { key, row } of await r.scan({ from: TRASH_SUMS_FROM, to: TRASH_SUMS_END, limit: DOMAINS_MAX })) sums.set(trashSumsDomain(key), [0, 0, ...row.decoded as readonly number[]])
  for await (const { key, ino, trash, isReadable, isName } of listed(repair)) {
    const inode = await readInodeOrNone(r, ino)
    const isDamaged = inode === undefined && (await r.get(inodeKey(ino))) !== undefined
    if (!isReadable || (!isName && !isDamaged && (inode === undefined || inode.nlink > 0 || seen.has(ino)))) {
      wrong.push(key)
      repair.did(ino, trash === undefined ? 'is on a list of inodes without links no more' : 'is in the trash no more')
      continue
    }
    if (!isName) seen.add(ino)
    if (trash === undefined) continue
    const sum = sums.get(trash.domain) ?? [0, 0]
    sum[0]++
    sum[1] += trash.sizeBytes
    sums.set(trash.domain, sum)
  }
  for (let i = 0; i < wrong.length; i += SLICE_ROWS) {
    await change(repair, (tx) => {
      for (const key of wrong.slice(i, i + SLICE_ROWS)) tx.delete(key)
    })
  }
  for (const [domain, [items, bytes, saysItems, saysBytes]] of sums) {
    if (items === saysItems && bytes === saysBytes) continue
    await change(repair, (tx) => (saysItems === undefined ? tx.createCounters(trashSumsKey(domain), [items, bytes]) : tx.setCounters(trashSumsKey(domain), [[0, items], [1, bytes]])))
    repair.did(0, `the trash of domain ${domain} has ${items} things of ${bytes} bytes`)
  }
}
