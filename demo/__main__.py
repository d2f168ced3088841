"""Run the demo: ``nox -s demo``, or ``nox -s demo -- --nginx --s3``."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack

from demo import servers


def main() -> None:
    """Start what was asked for, print the address, and stop it all on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="nox -s demo --")
    parser.add_argument("--port", type=int, default=8000, help="8000 unless given")
    parser.add_argument("--nginx", action="store_true", help="put nginx in front")
    parser.add_argument("--s3", action="store_true", help="store in a local S3 server")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = servers.port_or_free(options.port)
    with ExitStack() as running:
        config = running.enter_context(servers.s3()) if options.s3 else {}
        upstream = servers.free_port() if options.nginx else port
        if options.nginx:
            config |= servers.behind_nginx(upstream)
            running.enter_context(servers.nginx(port, upstream, config))
        site = running.enter_context(servers.gunicorn(upstream, config))
        print(
            f"\n  The demo: http://127.0.0.1:{port}/  (Ctrl-C stops it)\n", flush=True
        )
        try:
            sys.exit(site.wait())
        except KeyboardInterrupt:
            print("Stopped.")


if __name__ == "__main__":
    main()
