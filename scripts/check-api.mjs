// Compares what the package offers to programs, names and signatures, with what is written in api/: nothing
// of it changes unnoticed. `--write` writes it anew. Reads dist/, which has to be built.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor'

const ROOT = path.dirname(import.meta.dirname)
const { exports } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
/** Entries of the package, by the file that their report is in. */
const ENTRIES = { headgate: '.', 'headgate-client': './client', 'headgate-fleet': './fleet' }

const folder = mkdtempSync(path.join(tmpdir(), 'headgate-api-'))
try {
  for (const [name, entry] of Object.entries(ENTRIES)) compare(name, exports[entry].types)
} finally {
  rmSync(folder, { recursive: true })
}

function compare(name, types) {
  const file = `api/${name}.api.md`
  const report = reportOf(name, types)
  if (process.argv.includes('--write')) {
    mkdirSync(path.join(ROOT, 'api'), { recursive: true })
    writeFileSync(path.join(ROOT, file), report)
  } else if (report !== written(file)) {
    process.stderr.write(
      `${file}: the package offers something else by now; if that is meant, run "npm run check:api -- --write" and look at what changed\n`,
    )
    process.exitCode = 1
  }
}

function written(file) {
  try {
    return readFileSync(path.join(ROOT, file), 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}

function reportOf(name, types) {
  const quiet = { default: { logLevel: 'none' } }
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: path.join(ROOT, 'package.json'),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: ROOT,
      mainEntryPointFilePath: path.join(ROOT, types),
      compiler: { tsconfigFilePath: path.join(ROOT, 'tsconfig.build.json') },
      apiReport: {
        enabled: true,
        reportFileName: name,
        reportFolder: folder,
        reportTempFolder: path.join(folder, 'new'),
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: { extractorMessageReporting: quiet, tsdocMessageReporting: quiet },
    },
  })
  Extractor.invoke(config, {
    localBuild: true,
    messageCallback(message) {
      // Those of the compiler are told as they are; what is said of its own work is not.
      if (message.category !== 'Compiler') message.handled = true
    },
  })
  return signaturesIn(readFileSync(path.join(folder, `${name}.api.md`), 'utf8'))
}

/** Without its remarks on comments: those are not what programs use. */
function signaturesIn(report) {
  return report
    .replaceAll('\r\n', '\n')
    .replaceAll(/^ *\/\/ \(undocumented\)\n/gm, '')
    .replaceAll(/^\/\/ @public.*\n/gm, '')
}
