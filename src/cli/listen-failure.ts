// Why an address can't be listened on, and what to do. Must not know: who wants to listen.

/** One line for a person, or null when the error is about something else. */
export function listenFailure(
  error: unknown,
  { host, port }: { readonly host: string; readonly port: number },
): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} on ${host} is in use: stop what listens there, or choose another with --port (0 picks a free one)`
    case 'EACCES':
      return `port ${port} on ${host} is not allowed to this user: choose one from 1024 with --port`
    case 'EADDRNOTAVAIL':
      return `${host} is no address of this machine: choose another with --host, such as 127.0.0.1`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host ${host} is not known: choose another with --host, such as 127.0.0.1`
    default:
      return null
  }
}

/** Where a client on this machine reaches what listens at `url`. */
export function localUrl(url: string): string {
  return url.replace('//0.0.0.0', '//127.0.0.1').replace('//[::]', '//[::1]')
}
