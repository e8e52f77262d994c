/** Where in the pool a path leads that a command was given: domains, and the folder and name of something to be made or removed. */
import type { Engine } from '../engine/index.js'
import type { Tree } from '../meta/index.js'
import { bytesOf, inodeAtPath, namesOf, textOf } from '../snapshot/index.js'
import { rootContext } from '../sys/index.js'
import { Refusal } from './refusal.js'

export interface Domain {
  readonly domain: number
  readonly root: number
  /** As commands write it: '/', a subvolume's path, or a volume's name. */
  readonly path: string
}
export interface Place {
  readonly parent: number
  /** A byte string. */
  readonly name: string
  readonly path: string
}

export interface PoolNames {
  domainAt(path: string): Promise<Domain>
  /** The folder is there; the name may be. */
  placeAt(path: string): Promise<Place>
  /** Of an inode that has one. */
  pathOf(ino: number): Promise<string | undefined>
  /** A tree's path or a volume's name, by the domain's number. */
  domainNamed(domain: number): Promise<string | undefined>
  /** What a domain is a clone of: `/path@NAME` while the snapshot has its name, else what it was of. */
  originOf(domain: number): Promise<string | undefined>
}

const plain = (path: string): string => `/${path.split('/').filter((name) => name !== '' && name !== '.').join('/')}`

export function poolNames({ engine, tree }: { readonly engine: Engine; readonly tree: Tree }): PoolNames {
  const requirePath = (path: string): void => {
    if (!path.startsWith('/')) throw new Refusal('usage', `${JSON.stringify(path)} is no path in the pool: it begins with "/", as in /home.`)
  }
  async function pathOf(ino: number): Promise<string | undefined> {
    let path = ''
    for (let at = ino, depth = 0; at !== 1; depth++) {
      const [link] = await tree.links(engine.reader(rootContext), at)
      if (link === undefined || depth > 4096) return undefined
      path = `/${textOf(link.name)}${path}`
      at = link.parent
    }
    return path === '' ? '/' : path
  }

  async function domainNamed(domain: number): Promise<string | undefined> {
    const reader = engine.reader(rootContext)
    const root = (await tree.domain(reader, domain))?.root
    if (root === undefined) return undefined
    const volume = (await tree.volumes(reader)).find(({ ino }) => ino === root)
    return volume === undefined ? pathOf(root) : textOf(volume.name)
  }

  return {
    pathOf,
    domainNamed,
    async originOf(domain) {
      const reader = engine.reader(rootContext)
      const hold = (await tree.holds(reader)).find(({ origin, clone }) => clone === domain && origin !== domain)
      if (hold === undefined) return undefined
      const snapshot = (await tree.snapshots(reader, hold.origin)).find(({ epoch }) => epoch === hold.epoch)
      const path = (await domainNamed(hold.origin)) ?? '?'
      return snapshot === undefined ? path : `${path}@${textOf(snapshot.name)}`
    },
    async domainAt(path) {
      const reader = engine.reader(rootContext)
      if (!path.includes('/')) {
        const ino = await tree.volume(reader, bytesOf(path))
        if (ino === undefined) throw new Refusal('missing', `There is no volume ${path}: \`ogee volume list\` shows those that there are; a path in the tree begins with "/".`)
        return { domain: ino, root: ino, path }
      }
      requirePath(path)
      const inode = await inodeAtPath(engine, tree, rootContext, path)
      if (inode === undefined) throw new Refusal('missing', `There is no ${path} in the pool: \`ogee subvolume list\` shows what has snapshots and a trash of its own.`)
      const domain = await tree.domain(reader, inode.domain)
      if (domain?.root !== inode.ino) throw new Refusal('usage', `${path} is no subvolume: name "/", or a subvolume (\`ogee subvolume list\`; \`ogee subvolume create\` makes one).`)
      return { domain: inode.domain, root: inode.ino, path: plain(path) }
    },
    async placeAt(path) {
      requirePath(path)
      const names = namesOf(path)
      const name = names.pop()
      if (name === undefined) throw new Refusal('usage', 'The root of the tree is there already, and stays: name a path below it.')
      const folder = `/${names.map(textOf).join('/')}`
      const parent = await inodeAtPath(engine, tree, rootContext, folder)
      if (parent === undefined) throw new Refusal('missing', `There is no folder ${folder} in the pool: make it first.`)
      return { parent: parent.ino, name, path: plain(path) }
    }
  }
}
