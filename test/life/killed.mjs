/** A server that says where it is and then waits for its end. Argument: the package. */
const { Endpoint, createDevCertificate } = await import(process.argv[2])
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x' } })
process.stdout.write(`${JSON.stringify({ address: server.local[0], ca: cert })}\n`)
