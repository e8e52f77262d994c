/** A C project built by make in parallel: what is rebuilt, and what is not, follows from times alone. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync, appendFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { programTest } from './mount.js'
import { run } from './run.js'

const modules = 32

/** 32 modules, each with a header that the next includes, and compiler-made dependency files. */
function writeProject(dir: string): void {
  mkdirSync(path.join(dir, 'include'), { recursive: true })
  mkdirSync(path.join(dir, 'src'))
  for (let n = 0; n < modules; n++) {
    const previous = n === 0 ? '' : `#include "m${n - 1}.h"\n`
    writeFileSync(path.join(dir, 'include', `m${n}.h`), `#pragma once\nint value_${n}(int);\n`)
    writeFileSync(path.join(dir, 'src', `m${n}.c`), `#include <string.h>\n#include "m${n}.h"\n${previous}int value_${n}(int x) { return ${n === 0 ? 'x' : `value_${n - 1}(x) + ${n}`}; }\n`)
  }
  writeFileSync(path.join(dir, 'src', 'main.c'), `#include <stdio.h>\n#include "m${modules - 1}.h"\nint main(void) { printf("%d\\n", value_${modules - 1}(1)); return 0; }\n`)
  writeFileSync(path.join(dir, 'Makefile'), [
    'objects := $(patsubst src/%.c,obj/%.o,$(wildcard src/*.c))',
    'program: $(objects) obj/lib.a; $(CC) -o $@ obj/main.o obj/lib.a',
    'obj/lib.a: $(filter-out obj/main.o,$(objects)); rm -f $@; ar rcs $@ $^',
    'obj/%.o: src/%.c | obj; $(CC) -O1 -g -Iinclude -MMD -MP -c -o $@ $<',
    'obj:; mkdir -p $@',
    'clean:; rm -rf obj program',
    '-include $(wildcard obj/*.d)',
    '',
  ].join('\n'))
}

programTest('make: parallel build, nothing to do, one header touched', {}, async ({ dir }) => {
  writeProject(dir)
  const make = async (...args: string[]) => (await run('make', ['-j3', ...args], { cwd: dir })).stdout
  const compiled = (output: string) => [...output.matchAll(/-c -o obj\/(\w+)\.o/g)].map((m) => m[1]).sort()
  assert.equal(compiled(await make()).length, modules + 1)
  const sum = 1 + (modules * (modules - 1)) / 2
  assert.equal((await run('./program', [], { cwd: dir })).stdout, `${sum}\n`)
  assert.match(await make(), /up to date/)

  const header = path.join(dir, 'include', 'm7.h')
  const before = statSync(header, { bigint: true }).mtimeNs
  appendFileSync(header, '/* changed */\n')
  assert.ok(statSync(header, { bigint: true }).mtimeNs > before)
  assert.deepEqual(compiled(await make()), ['m7', 'm8'], 'just what includes it')
  assert.match(await make(), /up to date/)
  await make('clean')
  assert.equal(compiled(await make()).length, modules + 1)
  assert.equal((await run('./program', [], { cwd: dir })).stdout, `${sum}\n`)
})
