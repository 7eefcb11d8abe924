// Stale reads of `cacheable`: the load of staleness.rs, on three instances with a memory tier and Redis each.
//
// usage: node staleness.js REDIS_URL SECONDS
import { setTimeout as sleep } from 'node:timers/promises'
import KeyvRedis from '@keyv/redis'
import { Cacheable } from 'cacheable'

const [url, seconds] = process.argv.slice(2)
const NODES = 3
const KEYS = 50
const READERS = 4
// Copies in memory for a second, as Larder's bound; a minute in Redis.
const ttl = { primary: 1_000, secondary: 60_000 }
const ends = performance.now() + Number(seconds) * 1000

const numbers = Array(KEYS).fill(1)
const acknowledged = Array.from({ length: KEYS }, () => [])
const verdict = { reads: 0, here: 0, elsewhere: 0, oldest: 0 }

function judge(key, node, begun, number) {
  verdict.reads += 1
  const missed = acknowledged[key].filter(ack => ack.number > number && ack.at <= begun)
  if (missed.length === 0) return
  verdict[missed.some(ack => ack.node === node) ? 'here' : 'elsewhere'] += 1
  verdict.oldest = Math.max(verdict.oldest, ...missed.map(ack => begun - ack.at))
}

async function readOnAndOn(cache, node) {
  while (performance.now() < ends) {
    const key = Math.floor(Math.random() * KEYS)
    const begun = performance.now()
    const number = await cache.getOrSet(`k${key}`, async () => {
      const number = numbers[key]
      await sleep(Math.random() * 3)
      return number
    }, { ttl })
    judge(key, node, begun, number)
    await sleep(1)
  }
}

async function writeOnAndOn(cache, node) {
  while (performance.now() < ends) {
    const key = Math.floor(Math.random() * KEYS)
    const number = (numbers[key] += 1)
    await cache.delete(`k${key}`)
    acknowledged[key].push({ number, node, at: performance.now() })
    await sleep(2 + Math.random() * 6)
  }
}

const tasks = []
for (let node = 0; node < NODES; node++) {
  // This lifetime is for copies that come from Redis.
  const cache = new Cacheable({ secondary: new KeyvRedis(url), ttl: ttl.primary })
  for (let reader = 0; reader < READERS; reader++) tasks.push(readOnAndOn(cache, node))
  tasks.push(writeOnAndOn(cache, node))
}
await Promise.all(tasks)

const name = 'cacheable (Node)'
console.log(`staleness,${name}: reads,${verdict.reads},`)
console.log(`staleness,${name}: stale reads on the node that invalidated,${verdict.here},`)
console.log(`staleness,${name}: stale reads on other nodes,${verdict.elsewhere},`)
const perMillion = ((verdict.here + verdict.elsewhere) * 1e6) / Math.max(verdict.reads, 1)
console.log(`staleness,${name}: stale in a million,${perMillion.toFixed(0)},`)
console.log(`staleness,${name}: the longest after an acknowledgement,${verdict.oldest.toFixed(1)},ms`)
process.exit(0)
