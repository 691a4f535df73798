"""Kedro project settings: hooks, and how configuration environments combine."""

from kedro.config import OmegaConfigLoader
from omegaconf.resolvers import oc

from vln_heatmap.hooks import TrackingHooks

HOOKS = (TrackingHooks(),)

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "mlflow": "soft", "catalog": "soft"},
    "custom_resolvers": {"oc.env": oc.env},
}
