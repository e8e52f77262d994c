/**
 * Reads the source and holds it to the rules that a compiler does not know (`npm run tidy`).
 *   - Imports point down the floors, past no folder's index.ts, and in no circle.
 *   - Every file opens with a comment that says what it is for; none is longer than 600 lines.
 *   - Real clocks and free random numbers live in src/sys alone; no `any`; no empty catch; no file that nobody imports.
 * A rule is a function from sources to findings (`file:line: sentence`), so that each is also shown to bite.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const maxLines = 600

/** The floors, lowest first. A floor may import those below it; floors of one line know nothing of each other. */
const floors: readonly (readonly string[])[] = [
  ['sys'],
  ['engine'],
  ['store'],
  ['data'],
  ['meta'],
  ['feed', 'snapshot', 'trash', 'volume'],
  ['vfs'],
  ['pool'],
  ['nbd', 'fuse', 'http'],
  ['cli'],
]

interface Source {
  /** Relative to the checkout, with '/'. */
  readonly file: string
  readonly text: string
}
type Rule = (sources: readonly Source[]) => string[]

// ---------------------------------------------------------------------------------------------------------------- rules

const importsPointDown: Rule = (sources) =>
  sources.flatMap((source) =>
    importsOf(source).flatMap(({ line, target }) => {
      const from = floorOf(source.file)
      const to = floorOf(target)
      if (from === undefined || to === undefined || from === to) return []
      if (rank(from) < 0) return [`${source.file}:1: src/${from} is no floor: add it to the list of floors in test/tidy.test.ts`]
      return rank(to) < rank(from) ? [] : [`${source.file}:${line}: ${from} imports ${to}, which is not below it`]
    }))

const importsGoThroughFaces: Rule = (sources) =>
  sources.flatMap((source) =>
    importsOf(source).flatMap(({ line, target }) => {
      const shared = sharedFolder(source.file, target)
      const rest = target.slice(shared.length).split('/')
      // Inside a floor, a folder without an index.ts is a drawer without a face.
      const faces = rest.slice(1).map((_, n) => `${shared}${rest.slice(0, n + 1).join('/')}/index.ts`).filter((face) => shared === 'src/' || sources.some(({ file }) => file === face))
      return faces.every((face) => face === target)
        ? []
        : [`${source.file}:${line}: imports ${target} past its folder's index.ts`]
    }))

/** A file that imports itself by way of others; told once, at the import that closes the circle. */
const noCircles: Rule = (sources) => {
  const byFile = new Map(sources.map((source) => [source.file, source]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (source: Source, way: readonly string[]): void => {
    for (const { line, target } of importsOf(source)) {
      const at = [...way, source.file].indexOf(target)
      if (at >= 0) found.push(`${source.file}:${line}: a circle: ${[...way.slice(at), source.file, target].join(' -> ')}`)
      else if (!done.has(target) && byFile.has(target)) visit(byFile.get(target)!, [...way, source.file])
    }
    done.add(source.file)
  }
  for (const source of sources) if (!done.has(source.file)) visit(source, [])
  return found
}

const headers: Rule = (sources) =>
  sources.flatMap(({ file, text }) => {
    const start = text.replace(/^#!.*\n/, '').match(/^(\/\*\*?([\s\S]*?)\*\/|(\/\/.*\n)+)/)
    return start !== null && start[0].replace(/[^A-Za-z]/g, '').length >= 20 ? [] : [`${file}:1: no comment that says what the file is for`]
  })

const lengths: Rule = (sources) =>
  sources.flatMap(({ file, text }) => {
    const lines = text.split('\n').length - 1
    return lines <= maxLines ? [] : [`${file}:${maxLines}: ${lines} lines; a file holds one idea and at most ${maxLines}`]
  })

const clocksInSys: Rule = (sources) =>
  sources
    .filter(({ file }) => !file.startsWith('src/sys/'))
    .flatMap((source) => matches(source, /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|process\.hrtime)/g, 'belongs into src/sys: take a Clock or a Random'))

const noAny: Rule = (sources) =>
  sources.flatMap((source) => matches(source, /(?<=[:<,|&=]\s*|\bas\s+|\bextends\s+)any\b(?!\s*[:(.])/g, 'a type that says nothing'))

const noEmptyCatch: Rule = (sources) =>
  sources.flatMap((source) => matches(source, /\bcatch\s*(\([^)]*\))?\s*\{\s*\}|\.catch\(\s*\(?\w*\)?\s*=>\s*\{\s*\}\s*\)/g, 'swallows an error without a word', keepComments))

/** Alive: what bin/ starts, every floor's face, what a worker is started from, and whatever those import. */
const noDeadFiles = (entries: readonly string[]): Rule => (sources) => {
  const byFile = new Map(sources.map((source) => [source.file, source]))
  const alive = new Set<string>()
  const visit = (file: string) => {
    const source = byFile.get(file)
    if (source === undefined || alive.has(file)) return
    alive.add(file)
    importsOf(source).forEach(({ target }) => visit(target))
  }
  entries.forEach(visit)
  sources.filter(({ file }) => /^src\/\w+\/index\.ts$/.test(file)).forEach(({ file }) => visit(file))
  return sources.filter(({ file }) => !alive.has(file)).map(({ file }) => `${file}:1: nobody imports it`)
}

// -------------------------------------------------------------------------------------------------------------- reading

function sourcesUnder(...folders: string[]): Source[] {
  return folders.flatMap((folder) => {
    if (!existsSync(path.join(root, folder))) return []
    return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .map((name) => `${folder}/${name}`)
      .sort()
      .map((file) => ({ file, text: readFileSync(path.join(root, file), 'utf8') }))
  })
}

/** Relative imports, static and dynamic, and files named by `new URL('./x.js', import.meta.url)`, as .ts files of the checkout. */
function importsOf(source: Source): { line: number; target: string }[] {
  const code = withoutComments(source.text)
  return [...code.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\bnew URL\(\s*)['"](\.[^'"]*?)\.[jt]s['"]/g)].map((m) => ({
    line: lineAt(code, m.index),
    target: path.posix.join(path.posix.dirname(source.file), `${m[1]}.ts`),
  }))
}

function entriesOf(folder: string): string[] {
  return readdirSync(path.join(root, folder)).flatMap((name) => {
    const text = readFileSync(path.join(root, folder, name), 'utf8')
    return [...text.matchAll(/(?:dist|src)\/([\w/-]+)\.[jt]s/g)].map((m) => `src/${m[1]}.ts`)
  })
}

const floorOf = (file: string) => file.match(/^src\/([^/]+)\//)?.[1]
const rank = (floor: string) => floors.findIndex((names) => names.includes(floor))
const lineAt = (text: string, at: number) => text.slice(0, at).split('\n').length

function sharedFolder(a: string, b: string): string {
  let end = 0
  for (let i = 0; i < a.length && a[i] === b[i]; i++) if (a[i] === '/') end = i + 1
  return a.slice(0, end)
}

const keepComments = (text: string) => text
const withoutComments = (text: string) => blank(text, false)
const codeOnly = (text: string) => blank(text, true)

function matches({ file, text }: Source, pattern: RegExp, why: string, view = codeOnly): string[] {
  const code = view(text)
  return [...code.matchAll(pattern)].map((m) => `${file}:${lineAt(code, m.index)}: ${m[0].trim()}: ${why}`)
}

/** The text with comments (and, if asked, what stands in quotes) turned to spaces: lines and columns stay. A lexer of one expression:
 *  comments, strings, templates (with what they compute), regular expressions where one may begin. */
function blank(text: string, quotesToo: boolean): string {
  const token = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};\n]\s*|return\s+)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\//g
  return text.replace(token, (found) => {
    const comment = found.startsWith('//') || found.startsWith('/*')
    return comment || quotesToo ? found.replace(/[^\n]/g, ' ') : found
  })
}

// ---------------------------------------------------------------------------------------------------------------- tests

const own = sourcesUnder('src')
const everything = [...own, ...sourcesUnder('test', 'bench')]
const clean = (findings: string[]) => assert.equal(findings.length, 0, `\n${findings.join('\n')}`)

test('imports point down the floors', () => clean(importsPointDown(own)))
test('imports go through a folder\'s index.ts', () => clean(importsGoThroughFaces(own)))
test('imports run in no circle', () => clean(noCircles(own)))
test('every file says what it is for', () => clean(headers([...own, ...sourcesUnder('bench')])))
test(`no file has more than ${maxLines} lines`, () => clean(lengths(everything)))
test('clocks and random numbers come from src/sys', () => clean(clocksInSys(own)))
test('no any', () => clean(noAny(own)))
test('no empty catch', () => clean(noEmptyCatch(own)))
test('no dead files', () => clean(noDeadFiles(entriesOf('bin'))(own)))

/** Each rule must find exactly these lines in an invented source, and nothing in its neighbour. */
const bites: readonly { rule: Rule; file: string; text: string; lines: readonly number[]; beside?: string }[] = [
  { rule: importsPointDown, file: 'src/meta/a.ts', text: "import { x } from '../vfs/index.js'\nimport { y } from '../data/index.js'\n", lines: [1] },
  { rule: importsPointDown, file: 'src/feed/a.ts', text: "import { x } from '../snapshot/index.js'\n", lines: [1] },
  { rule: importsPointDown, file: 'src/attic/a.ts', text: "import { x } from '../sys/index.js'\n", lines: [1] },
  { rule: importsPointDown, file: 'src/fuse/a.ts', text: "// from '../cli/index.js'\nconst late = await import('../cli/index.js')\n", lines: [2] },
  { rule: importsGoThroughFaces, file: 'src/data/a.ts', text: "import { x } from '../store/space/index.js'\nimport { y } from '../store/index.js'\nimport { z } from './b.js'\n", lines: [1] },
  { rule: importsGoThroughFaces, file: 'src/store/index.ts', text: "export { a } from './space/index.js'\nexport { b } from './space/bitmap.js'\n", lines: [2], beside: 'src/store/space/index.ts' },
  { rule: importsGoThroughFaces, file: 'src/cli/main.ts', text: "export { a } from './commands/mount.js'\n", lines: [] },
  { rule: importsGoThroughFaces, file: 'src/store/space/a.ts', text: "import type { Store } from '../store.js'\n", lines: [] },
  { rule: noCircles, file: 'src/a/a.ts', text: "import { x } from './b.js'\nimport type { y } from './a.js'\n", lines: [2] },
  { rule: headers, file: 'src/a/a.ts', text: "import x from 'x'\n/** Too late to say what it is for. */\n", lines: [1] },
  { rule: headers, file: 'src/a/a.ts', text: '#!/usr/bin/env node\n// Starts the command line and nothing else.\n', lines: [] },
  { rule: lengths, file: 'src/a/a.ts', text: '\n'.repeat(maxLines + 1), lines: [maxLines] },
  { rule: clocksInSys, file: 'src/vfs/a.ts', text: "// Date.now() in words is fine\nconst now = Date.now()\nconst s = 'Math.random()'\n", lines: [2] },
  { rule: clocksInSys, file: 'src/sys/a.ts', text: 'const now = Date.now()\n', lines: [] },
  { rule: noAny, file: 'src/a/a.ts', text: 'const a: any = 1\nconst any = 2 // any: word\nf(x as any)\nconst m: Map<string, any> = g\nif (list.any(x)) y(any)\n', lines: [1, 3, 4] },
  { rule: noEmptyCatch, file: 'src/a/a.ts', text: 'try { a() } catch {}\ntry { a() } catch (error) {\n}\ntry { a() } catch { /* gone already: what we wanted */ }\np.catch(() => {})\n', lines: [1, 2, 5] },
  { rule: noDeadFiles([]), file: 'src/a/b.ts', text: '', lines: [1] },
  { rule: noDeadFiles(['src/a/b.ts']), file: 'src/a/b.ts', text: '', lines: [] },
]
test('the rules bite', () => {
  for (const { rule, file, text, lines, beside } of bites) {
    const found = rule([{ file, text }, ...(beside === undefined ? [] : [{ file: beside, text: '' }])])
    assert.deepEqual(found.map((finding) => Number(finding.split(':')[1])), lines, `${JSON.stringify(text)}: ${found.join('; ')}`)
  }
})
