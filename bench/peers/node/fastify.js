// Fastify with a cache-aside read, as small as it can be written.
import Fastify from 'fastify'
import { reader } from './documents.js'

const [mode, port, documents, redisUrl] = process.argv.slice(2)
const read = reader({ mode, documents, redisUrl })
const app = Fastify()

const answer = (reply, text) => {
  if (text === undefined) return reply.code(404).send()
  return reply.header('content-type', 'application/json').header('cache-control', 'no-cache').send(text)
}
if (mode === 'near') {
  app.get('/v1/products/:id', (request, reply) => answer(reply, read(request.params.id)))
} else {
  app.get('/v1/products/:id', async (request, reply) => answer(reply, await read(request.params.id)))
}
app.listen({ port: Number(port), host: '127.0.0.1' })
