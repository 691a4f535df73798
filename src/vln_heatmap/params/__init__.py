"""Every parameter of every stage, as typed and bounded models.

Invariant: unknown keys and values out of bounds are refused before the first node runs, because kedro
validates a ``params:`` input against the type hint of the node that takes it.
"""

from vln_heatmap.params.ablate import AblateParams, TrialParams
from vln_heatmap.params.base import Params, Share
from vln_heatmap.params.benchmark import SamplerBenchmarkParams
from vln_heatmap.params.collect import CollectParams, LevelParams, PlanPart
from vln_heatmap.params.data import (
    CollectionParams,
    ExpectationParams,
    FinetuneSampleParams,
    NormalizeParams,
    PretrainSampleParams,
    QualityParams,
    SamplingParams,
    ValidateParams,
)
from vln_heatmap.params.generality import GeneralityParams, LookParams
from vln_heatmap.params.geometry import GeometryLossParams, GeometryParams
from vln_heatmap.params.losses import (
    LOSS_NEEDS,
    LOSS_SETS,
    Form,
    LossForms,
    LossNeed,
    LossParams,
    LossWeight,
    LossWeights,
)
from vln_heatmap.params.model import (
    Dinov3Params,
    Encoder2dParams,
    FusionParams,
    HeadParams,
    KeyframeParams,
    LanguageParams,
    LoraParams,
    ModelParams,
    PlacementParams,
    TuningParams,
    VGGTParams,
)
from vln_heatmap.params.monitor import (
    ConvergenceParams,
    DataQualityParams,
    MonitorParams,
    PerformanceParams,
    ResourceLimits,
    StabilityParams,
)
from vln_heatmap.params.navigation import (
    DaggerParams,
    EpisodeParams,
    NavigationParams,
    VideoSheetParams,
)
from vln_heatmap.params.navigation_model import ActionModelParams, DialogueStageParams
from vln_heatmap.params.navigation_training import NavigationTrainingParams
from vln_heatmap.params.sensor import FeatureParams, SensorParams
from vln_heatmap.params.simulation import (
    AgentParams,
    CameraParams,
    HabitatParams,
    HouseParams,
    SimulatorName,
    VariationParams,
    VideoParams,
)
from vln_heatmap.params.training import (
    OptimizerParams,
    ScheduleParams,
    StageParams,
    TrainParams,
    WindowParams,
)
from vln_heatmap.params.use import (
    EvaluateParams,
    ExportParams,
    ImportParams,
    LeRobotParams,
    PredictParams,
    RgbdParams,
)

__all__ = [
    "LOSS_NEEDS",
    "LOSS_SETS",
    "AblateParams",
    "ActionModelParams",
    "AgentParams",
    "CameraParams",
    "CollectParams",
    "CollectionParams",
    "ConvergenceParams",
    "DaggerParams",
    "DataQualityParams",
    "DialogueStageParams",
    "Dinov3Params",
    "Encoder2dParams",
    "EpisodeParams",
    "EvaluateParams",
    "ExpectationParams",
    "ExportParams",
    "FeatureParams",
    "FinetuneSampleParams",
    "Form",
    "FusionParams",
    "GeneralityParams",
    "GeometryLossParams",
    "GeometryParams",
    "HabitatParams",
    "HeadParams",
    "HouseParams",
    "ImportParams",
    "KeyframeParams",
    "LanguageParams",
    "LeRobotParams",
    "LevelParams",
    "LookParams",
    "LoraParams",
    "LossForms",
    "LossNeed",
    "LossParams",
    "LossWeight",
    "LossWeights",
    "ModelParams",
    "MonitorParams",
    "NavigationParams",
    "NavigationTrainingParams",
    "NormalizeParams",
    "OptimizerParams",
    "Params",
    "PerformanceParams",
    "PlacementParams",
    "PlanPart",
    "PredictParams",
    "PretrainSampleParams",
    "QualityParams",
    "ResourceLimits",
    "RgbdParams",
    "SamplerBenchmarkParams",
    "SamplingParams",
    "ScheduleParams",
    "SensorParams",
    "Share",
    "SimulatorName",
    "StabilityParams",
    "StageParams",
    "TrainParams",
    "TrialParams",
    "TuningParams",
    "VGGTParams",
    "ValidateParams",
    "VariationParams",
    "VideoParams",
    "VideoSheetParams",
    "WindowParams",
]
