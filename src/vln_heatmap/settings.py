"""Kedro project settings: hooks, and how configuration environments combine."""

from kedro.config import OmegaConfigLoader
from omegaconf.resolvers import oc

from vln_heatmap.hooks import TrackingHooks, UpstreamHooks

HOOKS = (UpstreamHooks(), TrackingHooks())
# TrackingHooks drives kedro-mlflow (its distribution name has been written both ways)
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow", "kedro-mlflow", "kedro-telemetry")

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "mlflow": "soft", "catalog": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    "custom_resolvers": {"oc.env": oc.env},
}
