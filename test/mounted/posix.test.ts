/** The POSIX tables of test/posix, run through a mount by real system calls of several users. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { fileURLToPath } from 'node:url'
import { people, type Case, type Step, type Value } from '../posix/posix.js'
import { aclCases } from '../posix/acl.js'
import { namespaceCases } from '../posix/namespace.js'
import { attributeCases } from '../posix/attributes.js'
import { contentCases } from '../posix/content.js'
import { pathCases } from '../posix/paths.js'
import { programTest } from '../programs/mount.js'

type Answer = { readonly errno: string } | { readonly value: Value }

/** A process that makes the calls; requests are answered in order. */
function caller(): { call(dir: string, step: Step): Promise<Answer>; end(): void } {
  const worker = spawn('python3', [fileURLToPath(new URL('../posix/worker.py', import.meta.url))], { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' })
  const lines = readline.createInterface({ input: worker.stdout })[Symbol.asyncIterator]()
  return {
    async call(dir, { op, args, who, umask }) {
      worker.stdin.write(`${JSON.stringify({ dir, op, args, umask, ...people[who] })}\n`)
      const line = await lines.next()
      assert.ok(line.done !== true, 'the process that makes the calls is alive')
      return JSON.parse(line.value) as Answer
    },
    end: () => worker.stdin.end(),
  }
}

/** What is named in `want` must be so in `got`; the rest of `got` is free. */
function assertGives(want: Value, got: Value, where: string): void {
  if (want !== null && typeof want === 'object' && !Array.isArray(want))
    for (const [name, value] of Object.entries(want)) assert.deepEqual((got as { [name: string]: Value })[name], value, `${where}: ${name}`)
  else assert.deepEqual(got, want, where)
}

const told = ({ op, args, who }: Step) => `${who}: ${op}(${args.map((arg) => JSON.stringify(arg).slice(0, 60)).join(', ')})`

const tables: Readonly<Record<string, readonly Case[]>> = { paths: pathCases, namespace: namespaceCases, attributes: attributeCases, content: contentCases, acl: aclCases }

for (const [name, cases] of Object.entries(tables))
  programTest(`posix: ${name}, ${cases.length} cases`, { timeoutMs: 120_000 }, async ({ dir }, t) => {
    const { call, end } = caller()
    const closeAll: Step = { op: 'end', args: [], who: 'root', umask: 0, errno: undefined, gives: undefined }
    const failures: string[] = []
    for (const [n, { title, steps }] of cases.entries()) {
      const folder = path.join(dir, `case${n}`)
      mkdirSync(folder)
      chmodSync(folder, 0o777)
      try {
        for (const [at, step] of steps.entries()) {
          const answer = await call(folder, step)
          const where = `step ${at + 1}, ${told(step)}`
          assert.equal('errno' in answer ? answer.errno : 'ok', step.errno ?? 'ok', where)
          if (step.gives !== undefined && 'value' in answer) assertGives(step.gives, answer.value, where)
        }
      } catch (error) {
        failures.push(`${title}\n    ${(error as Error).message.replaceAll('\n', '\n    ')}`)
      }
      await call(folder, closeAll)
    }
    end()
    t.diagnostic(`${cases.length - failures.length} of ${cases.length} cases`)
    assert.equal(failures.length, 0, `\n${failures.join('\n')}`)
  })
