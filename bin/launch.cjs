// Written so that any Node can read it: says what is missing before newer syntax fails.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write('ogee: Node ' + process.versions.node + ' is too old: install Node 20.19 or newer (https://nodejs.org), or name one with OGEE_NODE.\n')
  process.exit(1)
}
import('../dist/cli/main.js')
