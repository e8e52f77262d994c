/** Whatever is typed: the parser takes it, or says what is wrong with it; nothing else is ever thrown. */
import { test } from 'node:test'
import type { Command } from 'commander'
import { CommanderError } from 'commander'
import fc from 'fast-check'
import { parseHelperCall } from '../../src/cli/helper.js'
import { programFor } from '../../src/cli/program.js'
import { Refusal } from '../../src/pool/index.js'
import { words } from './words.js'

const isMeant = (e: unknown): boolean => e instanceof CommanderError || (e instanceof Refusal && e.reason === 'usage')
const seed = process.env.OGEE_SEED === undefined ? {} : { seed: Number(process.env.OGEE_SEED) }

/** The real commands, that do nothing and print nothing. */
async function idle(called: string): Promise<Command> {
  const quieten = (command: Command): Command => {
    command.configureOutput({ writeOut: () => undefined, writeErr: () => undefined, outputError: () => undefined })
    if (command.commands.length === 0) command.action(() => undefined)
    command.commands.forEach(quieten)
    return command
  }
  return quieten(await programFor(called))
}

test('any words: parsed, or told', async () => {
  await fc.assert(fc.asyncProperty(words, async (args) => {
    try {
      await (await idle(args[0])).parseAsync(args, { from: 'user' })
    } catch (e) {
      if (!isMeant(e)) throw e
    }
  }), { numRuns: 1500, ...seed })
})

test('any words of mount(8): parsed, or told', () => {
  fc.assert(fc.property(words, (args) => {
    try {
      parseHelperCall(args)
    } catch (e) {
      if (!isMeant(e)) throw e
    }
  }), { numRuns: 1500, ...seed })
})
