/** Codes of connection ends by name (RFC 9000 §20.1; RFC 8446 §6 from 0x100 on), as js-quic has them under `native`. */
interface Codes { readonly [name: string]: number }

export const ConnectionErrorCode: Codes = {
  NoError: 0x0, InternalError: 0x1, ConnectionRefused: 0x2, FlowControlError: 0x3, StreamLimitError: 0x4, StreamStateError: 0x5, FinalSizeError: 0x6, FrameEncodingError: 0x7, TransportParameterError: 0x8,
  ConnectionIdLimitError: 0x9, ProtocolViolation: 0xa, InvalidToken: 0xb, ApplicationError: 0xc, CryptoBufferExceeded: 0xd, KeyUpdateError: 0xe, AEADLimitReached: 0xf, NoViablePath: 0x10,
}

export const CryptoError: Codes = {
  CloseNotify: 0x100, UnexpectedMessage: 0x10a, BadRecordMac: 0x114, RecordOverflow: 0x116, HandshakeFailure: 0x128, BadCertificate: 0x12a, UnsupportedCertificate: 0x12b, CertificateRevoked: 0x12c,
  CertificateExpired: 0x12d, CertificateUnknown: 0x12e, IllegalParameter: 0x12f, UnknownCA: 0x130, AccessDenied: 0x131, DecodeError: 0x132, DecryptError: 0x133, ProtocolVersion: 0x146,
  InsufficientSecurity: 0x147, InternalError: 0x150, InappropriateFallback: 0x156, UserCanceled: 0x15a, MissingExtension: 0x16d, UnsupportedExtension: 0x16e, UnrecognizedName: 0x170,
  BadCertificateStatusResponse: 0x171, UnknownPSKIdentity: 0x173, CertificateRequired: 0x174, NoApplicationProtocol: 0x178,
}
