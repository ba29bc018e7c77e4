// Which room may import which: arrows point one way, from the command line to the core. A room that
// is not listed here is an error too, so a new one is placed on purpose.

/** A room, or one file of it, that another may import. */
const rooms = {
  core: [],
  client: [],
  stores: ['core'],
  providers: ['core'],
  estimate: ['core'],
  ledger: ['core'],
  policy: ['core'],
  emulator: ['core'],
  telemetry: ['core', 'ledger'],
  backends: ['core', 'policy', 'ledger', 'stores'],
  dispatch: ['core', 'policy', 'ledger', 'providers', 'estimate', 'telemetry'],
  upstream: ['core', 'providers', 'dispatch'],
  engine: [
    'core',
    'policy',
    'ledger',
    'providers',
    'estimate',
    'telemetry',
    'backends',
    'dispatch',
    'upstream',
  ],
  gateway: ['core', 'policy', 'providers', 'estimate', 'telemetry', 'dispatch'],
  middleware: ['core', 'policy', 'ledger', 'dispatch', 'backends', 'engine'],
  library: ['core', 'client', 'policy', 'ledger', 'providers', 'dispatch', 'engine'],
  fleet: ['core', 'policy', 'ledger', 'providers', 'estimate', 'telemetry', 'dispatch', 'engine'],
  control: ['core', 'policy', 'ledger', 'telemetry', 'dispatch'],
}
rooms.cli = Object.keys(rooms)

const TEST = '\\.test\\.ts$'
const inside = (...names) => names.map((name) => `^src/${name}/`)

const roomImports = Object.entries(rooms).map(([room, may]) => ({
  name: `${room}-imports`,
  comment: `src/${room} may import ${may.join(', ') || 'nothing'}`,
  severity: 'error',
  from: { path: inside(room), pathNot: TEST },
  to: { path: '^src/', pathNot: inside(room, ...may) },
}))

module.exports = {
  forbidden: [
    ...roomImports,
    {
      name: 'no-unlisted-room',
      severity: 'error',
      from: { path: '^src/', pathNot: inside(...Object.keys(rooms)) },
      to: {},
    },
    {
      name: 'core-is-pure',
      comment: 'no package and nothing of Node: decisions are pure',
      severity: 'error',
      from: { path: inside('core'), pathNot: TEST },
      to: { pathNot: '^src/' },
    },
    {
      name: 'client-stands-alone',
      comment: 'no package and nothing of Node: it runs wherever there is fetch',
      severity: 'error',
      from: { path: inside('client'), pathNot: TEST },
      to: { pathNot: inside('client') },
    },
    {
      name: 'stores-do-not-meet',
      severity: 'error',
      from: { path: '^src/stores/([^/]+)/' },
      to: { path: '^src/stores/[^/]+/', pathNot: '^src/stores/$1/' },
    },
    {
      name: 'providers-do-not-meet',
      severity: 'error',
      from: { path: '^src/providers/([^/]+)/' },
      to: { path: '^src/providers/[^/]+/', pathNot: '^src/providers/$1/' },
    },
    {
      name: 'tests-are-not-imported',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: ['^tests/', TEST] },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types'] },
  },
}
