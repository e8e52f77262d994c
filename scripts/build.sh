#!/usr/bin/env bash
# `npm run build`: src/ into dist/, one bundle cut where code is loaded late. Fewer files to find and read: a mount's daemon has its code in
# half the time. Types are checked elsewhere (npm run typecheck). What holds native code stays in node_modules.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist
npx --no-install esbuild src/cli/main.ts --outbase=src --outdir=dist --bundle --splitting --chunk-names='chunks/[name]-[hash]' \
  --platform=node --format=esm --target=node20.19 --external:koffi --external:lmdb --sourcemap --log-level=warning \
  --banner:js='import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);'
