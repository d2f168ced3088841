"""Run the demo: ``nox -s demo``, or ``nox -s demo -- --http2 --open``."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack

from demo import certificate
from demo import servers


STOPPING = (signal.SIGINT, signal.SIGTERM)
EXAMPLES = """\
examples:
  nox -s demo                        gunicorn alone; needs nothing else
  nox -s demo -- --http2 --open      Caddy in front: browsers use Early Hints
  nox -s demo -- --nginx             nginx sends the files
  nox -s demo -- --s3                files in a local S3 server
"""


def main() -> None:
    """Start the chosen servers, print the address, and stop them all on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="nox -s demo --",
        description="A small site for sharing files that shows what it does.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8000, help="8000 unless given")
    parser.add_argument(
        "--http2", action="store_true", help="put Caddy in front, for HTTP/2"
    )
    parser.add_argument("--nginx", action="store_true", help="put nginx in front")
    parser.add_argument("--s3", action="store_true", help="store in a local S3 server")
    parser.add_argument("--open", action="store_true", help="open Chromium or Chrome")
    options = parser.parse_args()
    if options.http2 and options.nginx:
        parser.error("choose --http2, which is Caddy in front, or --nginx")
    for number in STOPPING:
        signal.signal(number, stop)
    try:
        with ExitStack() as running:
            status = run(options, running)
    except KeyboardInterrupt:
        print("Stopped.")
        status = 0
    sys.exit(status)


def stop(*_: object) -> None:
    """Stop at the first signal; a second one would leave processes behind."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(options: argparse.Namespace, running: ExitStack) -> int:
    """Start the processes, and return the site's exit status at its end."""
    port = servers.port_or_free(options.port)
    config = running.enter_context(servers.s3()) if options.s3 else {}
    upstream = servers.free_port() if options.nginx or options.http2 else port
    secure = None
    if options.nginx:
        config = running.enter_context(servers.nginx(port, upstream, config))
    elif options.http2:
        secure = running.enter_context(certificate.certificate())
        config |= running.enter_context(servers.caddy(port, upstream, secure))
    site = running.enter_context(servers.gunicorn(upstream, config))
    url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/"
    print(f"\n  The demo: {url}  (Ctrl-C stops it)\n", flush=True)
    trust = [secure.trust()] if secure else []
    if options.open:
        running.enter_context(certificate.browser(url, *trust))
    elif trust:
        print("  Browsers use Early Hints only where they trust the certificate:")
        print(f"  add --open, or start Chromium with {trust[0]}\n", flush=True)
    status: int = site.wait()
    return status


if __name__ == "__main__":
    main()
