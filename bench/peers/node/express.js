// Express with a cache-aside read, as small as it can be written; its settings are its defaults.
import express from 'express'
import { reader } from './documents.js'

const [mode, port, documents, redisUrl] = process.argv.slice(2)
const read = reader({ mode, documents, redisUrl })
const app = express()

const answer = (response, text) => {
  if (text === undefined) return response.sendStatus(404)
  return response.set('content-type', 'application/json').set('cache-control', 'no-cache').send(text)
}
if (mode === 'near') {
  app.get('/v1/products/:id', (request, response) => answer(response, read(request.params.id)))
} else {
  app.get('/v1/products/:id', async (request, response) => answer(response, await read(request.params.id)))
}
app.listen(Number(port), '127.0.0.1')
