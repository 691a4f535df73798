"""``python -m vln_heatmap.agent``: serve a policy on this machine."""

from __future__ import annotations

import argparse
import logging

from vln_heatmap.agent.agent import VLNAgent
from vln_heatmap.agent.policies import POLICIES, policy_maker
from vln_heatmap.agent.server import PolicyServer, ServerLimits


def main(arguments: list[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m vln_heatmap.agent", description=__doc__)
    parser.add_argument("--policy", choices=sorted(POLICIES), required=True)
    parser.add_argument("--checkpoint", help="folder of a trained action dialogue, for the policy model")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets the whole network ask for actions")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--sessions", type=int, default=ServerLimits.sessions)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_policy = policy_maker(options.policy, options.checkpoint)
    limits = ServerLimits(sessions=options.sessions)
    with PolicyServer(
        lambda: VLNAgent(make_policy()), host=options.host, port=options.port, limits=limits
    ) as server:
        logging.info("serving %r on port %d, Ctrl-C ends it", options.policy, server.port)
        try:
            server.wait()
        except KeyboardInterrupt:
            logging.info("closing")


if __name__ == "__main__":
    main()
