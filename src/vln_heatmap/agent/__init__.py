"""The trained model as something that acts: for a robot, another simulator, or over the network.

Invariant: an agent sees what its camera sees, says one action at a time, and knows nothing of any simulator.
"""

from vln_heatmap.agent.agent import VLNAgent
from vln_heatmap.nodes.navigation.policy import Observation

__all__ = ["Observation", "VLNAgent"]
