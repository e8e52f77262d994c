/** What a check of a pool tells: one finding at a time. */

/** What was found, and what a repair would look at: see meta/repair.ts. */
export type FindingKind = 'names' | 'entries' | 'owner' | 'flags' | 'content' | 'units' | 'usage' | 'numbers' | 'list' | 'cycle' | 'volumes' | 'shares' | 'bytes' | 'overlap' | 'clones' | 'report'
export interface Finding {
  /** 0: of no inode. */
  readonly ino: number
  readonly what: string
  readonly kind: FindingKind
  /** A place in a directory that names the inode. */
  readonly at?: { readonly parent: number; readonly high: number; readonly low: number }
}
export type Found = (finding: Finding) => void
