import { startRedis } from '../../tests/servers/redis.ts'
import { Program } from '../../src/stores/redis/program.ts'
import { allScripts } from '../../src/stores/redis/scripts.generated.ts'
import { keyOf } from '../../src/stores/redis/keys.ts'
import { settingsText } from '../../src/stores/redis/settings-text.ts'
import { costOf } from '../../src/core/cost.ts'
import { THREE_LIMITS } from '../gate/contenders.ts'
import { RespClient, encode } from './resp-client.ts'
import { callsInside, equalWork } from './equal-work.ts'
import { spawnSync } from 'node:child_process'
const server = await startRedis()
spawnSync('taskset', ['-cp', '1', String(server.pid)]); spawnSync('taskset', ['-cp', '0', String(process.pid)])
const c = await RespClient.connect(server.url)
const program = new Program(allScripts)
console.log(await c.call('FUNCTION','LOAD',program.library()))
const E = costOf({ input_tokens: 600, output_tokens: 300 })
const A = costOf({ input_tokens: 580, output_tokens: 210 })
const settings = settingsText(THREE_LIMITS, Date.now())
const rev = Date.now()
const fcall = (s: any, a: any) => { const keys = s.keys.map((k: string) => keyOf('headgate', 'model', k)); return ['FCALL', program.functionOf(s), String(keys.length), ...keys, ...s.args(a)] }
const common = (s='') => ({ resource: 'model', instance: 'bench-instance-1', revision: rev, settings: s })
const enq = (id: string, flow: string, s='') => fcall(allScripts.enqueue, { ...common(s), id, flow, lane: 2, weight: 1, estimate: E, deadlineAt: Infinity, parked: false, holder: 'bench-instance-1', holderTtl: 30000, hasPlace: false, enqueuedAt: 0, laneSince: 0, startTag: 0 })
const set = (id: string) => fcall(allScripts.settle, { ...common(), id, actual: A, exact: true })
console.log(await c.call(...enq('resident','resident', settings)))
const m = await RespClient.connect(server.url)
if (process.argv[2] === 'monitor') {
  let n=0
  ;(m as any).send(encode(['MONITOR']), () => {})
  for (let i=0;i<99;i++) (m as any).send('', (r: any) => console.log(String(r).slice(0,400)))
  await c.call('PING')
  console.log(await c.call(...enq('t1','agent-1'))); console.log(await c.call(...set('t1')))
  await new Promise(r=>setTimeout(r,100))
  process.exit()
}

await c.call('CONFIG','RESETSTAT')
for (const [i,f] of [['warm-up','agent-1']]) { await c.call(...enq(i!,f!)); await c.call(...set(i!)) }
const inside = await callsInside(m, c, [enq('tid0000000','agent-flow'), set('tid0000000')])
m.close()
const work = equalWork([{ calls: inside[0]!, reply: "{ 'ok', '1795324137527.5061', '1795324137527506-bench-instance-1', '1795324167527.5061', '1', {}, 'admitted' }"}, { calls: inside[1]!, reply: "{ 'ok', '1795324137527.5061', '1795324137527506-bench-instance-1', '1795324167527.5061', '1', {}, '1' }"}], { id: 'tid0000000', flow: 'agent-flow' })
if (process.argv[2]==='show') console.log(work.library)
await c.call('FUNCTION','LOAD',work.library)
let taken=0, done=0
let mode='ours'
const secs = Number(process.argv[3] ?? 2)
const swap = (cmd: string[], k: number) => { if (mode==='ours') return cmd; const x=[...cmd]; x[1]=work.name+'_'+k; return x }
async function chain(c: RespClient, n: number) {
  const until = performance.now()+secs*1000
  while (performance.now()<until) { const id=`t${taken++}`; const s=swap(set(id),1); if (mode!=='ours') s.splice(12,0); c.send(encode(swap(enq(id,`agent-${taken%100}`),0)), ()=>{}); if (mode!=='ours') s[12]=`agent-${taken%100}`; await c.call(...s); done++ }
}
const conns = await Promise.all(Array.from({length:Number(process.env.CONNS ?? 4)},()=>RespClient.connect(server.url)))
if (process.argv[2]==='perf') console.log('pid', server.pid)
for (let round=0; round<6; round++) { mode = round%2 ? 'ceiling' : 'ours'; console.log(mode)
await c.call('CONFIG','RESETSTAT'); done=0
const t=performance.now()
const cpu0 = String(await c.call('INFO','cpu'))
await Promise.all(conns.flatMap(k=>Array.from({length:Number(process.env.CHAINS ?? 16)},(_, n)=>chain(k,n))))
const el=(performance.now()-t)/1000
const cpu1 = String(await c.call('INFO','cpu'))
const g=(s:string)=>['used_cpu_sys_main_thread','used_cpu_user_main_thread'].map(k=>Number(s.match(k+':(.*)')![1])).reduce((a,b)=>a+b)
console.log(`turns/s ${(done/el).toFixed(0)} server cpu ${(100*(g(cpu1)-g(cpu0))/el).toFixed(0)}% cpu/turn ${(1e6*(g(cpu1)-g(cpu0))/done).toFixed(1)}us`)
console.log(String(await c.call('INFO','commandstats')).split('\r\n').filter(l=>/fcall|zadd|hset|hget|set:|get:|time|zrem|hdel|exists|publish|expire|zrange/.test(l)).map(l=>l.replace(/rejected.*/,'')).join('\n'))
}
process.exit()
