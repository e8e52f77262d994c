/**
 * Where the program's own files are. Code runs from bundles (dist/) or from src/ (tests): both lie in the folder of package.json.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

function packageFolder(): string {
  let at = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(at, 'package.json')) && at !== '/') at = dirname(at)
  return at
}

const root = packageFolder()
export const PACKAGE_FILE = join(root, 'package.json')
/** What Node runs, for commands and daemons alike. */
export const MAIN_FILE = join(root, 'dist/cli/main.js')
export const OGEE_FILE = join(root, 'bin/ogee')
