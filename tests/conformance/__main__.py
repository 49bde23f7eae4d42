"""Serve a family until interrupted: `python -m conformance NAME`."""

import argparse
import threading

from conformance import Fault, conformance_server, families


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("family", choices=families())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--window", type=int)
    parser.add_argument("--fault", action="append", default=[], choices=[kind.name for kind in Fault])
    chosen = parser.parse_args()
    faults = [Fault[name] for name in chosen.fault]
    with conformance_server(chosen.family, faults=faults, window=chosen.window, port=chosen.port) as server:
        print(f"{chosen.family} is served at {server.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
