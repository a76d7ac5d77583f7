/** What goes wrong is told in the words of who typed it: flags, not options of the library. */
import { describe, expect, it } from 'vitest'
import { asCommandError, errorJson } from '../../src/cli/exit.ts'
import { inFlags } from '../../src/cli/flags.ts'
import { tunnelFailure, remoteFailure } from '../../src/cli/tunnel/words.ts'
import { ConnectionError, EndpointError, OptionError, ServiceError } from '../../src/errors/index.ts'

describe('a message of the library', () => {
  it('names flags where the library names its options', () => {
    const cases: [said: string, shown: string][] = [
      ["option connection.pins[0] is 'abc'; allowed: 64 hex digits", "--pin is 'abc'; allowed: 64 hex digits"],
      ["option paths[1].local is 'eth0'; allowed: an address", "--path is 'eth0'; allowed: an address"],
      ['option limits.handshakeTimeoutMs is 0; allowed: a number from 1', '--connect-timeout is 0; allowed: a number from 1'],
      ['option pingMs is 10; allowed: a number from 100 to 600000', '--ping is 10; allowed: a number from 100 to 600000'],
      ['serverName: "a b" is neither a DNS name nor an IP address', '--servername: "a b" is neither a DNS name nor an IP address'],
      ["the peer's certificate was refused here: unknown issuer (x); pass `ca` or `pins` that fit it", "the peer's certificate was refused here: unknown issuer (x); pass --ca or --pin that fit it"],
      ["the peer's certificate was refused here: name (it is for x); pass `ca` or `pins` that fit it", "the peer's certificate was refused here: name (it is for x); --servername says which name it has to have, --pin trusts its key whatever the name"],
      ["the peer's certificate was refused here: pin (invalid peer certificate: Other(OtherError(PinMismatch))); pass `ca` or `pins` that fit it", "the peer's certificate was refused here: pin (its key has another pin); pass --ca or --pin that fit it"],
      ['cert 0: bad DER: UnsupportedCertVersion; give a PEM or DER certificate chain and the key that belongs to it', '--cert: bad DER: UnsupportedCertVersion'],
      ['the server demands a certificate; pass `cert` and `key`', 'the server demands a certificate; pass --cert and --key'],
      ['no common application protocol (x); `alpn` of both sides must share a name', 'no common application protocol (x); is it a server for this, and is this its port?'],
      ['nothing came from x for the idle timeout; limits.keepAliveMs keeps a quiet connection, limits.idleTimeoutMs waits longer', 'nothing came from x for the idle timeout; --idle-timeout waits longer'],
      ['the tunnel to x was not open after 10 ms (timeoutMs); it got to: asking', 'the tunnel to x was not open after 10 ms (--connect-timeout); it got to: asking'],
      ["the peer does not offer multipath; multipath: 'auto' connects without it", 'the peer does not offer multipath; --multipath auto connects without it'],
      ['the certificate of x is not trusted (y); give its authority as tls.ca, and its name as tls.serverName', 'the certificate of x is not trusted (y); give its authority as --ca, and its name as --servername'],
    ]
    for (const [said, shown] of cases) expect([inFlags(said), inFlags(inFlags(said))]).toEqual([shown, shown])
  })

  it('stays as it is where there is no flag', () => {
    for (const text of ['option weird.thing is 5', '`quicbraid cert` makes one', '/tmp/key: x', 'nobody listens at 127.0.0.1:1']) expect(inFlags(text)).toBe(text)
  })

  it('is so in every failure of a command', () => {
    const error = new OptionError('QB_OPTION_INVALID', "option scheduler is 'x'; allowed: 'min-rtt'")
    expect([asCommandError(error, 'preparing').message, errorJson(error).message]).toEqual(["--scheduler is 'x'; allowed: 'min-rtt'", "--scheduler is 'x'; allowed: 'min-rtt'"])
  })
})

describe('a failure of a tunnel', () => {
  const wanted = { spec: '-L 8080:db:80', remote: 'example.net:4433', target: 'db:80' }

  it('names the spec, the server, and what would help', () => {
    const about = (code: `QB_${string}`): ReturnType<typeof tunnelFailure> => tunnelFailure(new ServiceError(code, 'words of the library'), wanted)
    expect(about('QB_TUNNEL_REFUSED')).toMatchObject({ exit: 3, code: 'QB_TUNNEL_REFUSED', message: expect.stringMatching(/^-L 8080:db:80: example\.net:4433 does not let this client go to db:80: its --allow /) as never })
    expect(about('QB_TLS_ALPN').message).toContain('`quicbraid tunnel --server`')
    expect(about('QB_TLS_CLIENT_CERTIFICATE').message).toContain('--cert FILE --key FILE')
    expect(about('QB_CONNECT_REFUSED')).toMatchObject({ exit: 4, message: '-L 8080:db:80: words of the library' })
    const alert = new ConnectionError('QB_TLS_ALERT', 'TLS alert certificate_unknown was received', { errorCode: 0x12en, by: 'peer' })
    expect(tunnelFailure(alert, wanted)).toMatchObject({ exit: 3, message: '-L 8080:db:80: example.net:4433 does not know our certificate (--cert, --key): its --client-pin or --client-ca has to fit it' })
    expect(tunnelFailure(new OptionError('QB_OPTION_INVALID', "option scheduler is 'x'; allowed: 'min-rtt'"), wanted)).toMatchObject({ exit: 1, message: "--scheduler is 'x'; allowed: 'min-rtt'" })
    expect(tunnelFailure(new EndpointError('QB_BIND_FAILED', 'cannot bind 203.0.113.7:0: no'), wanted)).toMatchObject({ exit: 2, message: '--path: cannot bind 203.0.113.7:0: no' })
  })

  it('says of -R that it is about a port, not about services and public ends', () => {
    const about = (code: `QB_${string}`, text = ''): ReturnType<typeof remoteFailure> => remoteFailure(new ServiceError(code, text, { errorCode: 3n, by: 'peer' }), { ...wanted, spec: '-R 80:x:80' })
    expect(about('QB_REVERSE_NAME')).toMatchObject({ exit: 3, message: '-R 80:x:80: example.net:4433 does not open this port for us: it is not in its --allow-listen, or in use there, or our certificate (--cert) has ended; its log says which' })
    expect(about('QB_REVERSE_NOT_SUPPORTED').message).toContain('no --allow-listen')
    expect(about('QB_REVERSE_AUTH').message).toContain('--client-pin or --client-ca')
    expect(about('QB_REVERSE_FULL', 'service tcp/127.0.0.1:80: the public end at example.net:4433 has as many connections as it may')).toMatchObject({ message: '-R 80:x:80: example.net:4433 has as many connections as it may' })
    expect(errorJson(about('QB_REVERSE_NAME'))).toMatchObject({ code: 'QB_REVERSE_NAME', errorCode: 3, by: 'peer' })
  })
})
