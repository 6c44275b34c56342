"""How the configuration of each family's checkpoints is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.families import (
    FLUX,
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_3,
    STABLE_DIFFUSION_XL,
    Z_IMAGE,
    Family,
)
from panoweave.core.model_files.flow_models import (
    check_flux,
    check_stable_diffusion_3,
    check_z_image,
    read_flux,
    read_stable_diffusion_3,
    read_z_image,
)
from panoweave.core.model_files.scheduler import check_flow_config, check_scheduler_config
from panoweave.core.model_files.stable_diffusion import (
    check_stable_diffusion,
    read_stable_diffusion,
)


@dataclass(frozen=True)
class Reader:
    """`parts`: see `stable_diffusion`. All raise DiffusionError."""

    check_scheduler: Callable[[Mapping[str, Any]], str]  # of its settings; the class they name
    check: Callable[[Any], None]  # of the parts: they are all there, and fit together
    read: Callable[[Any], CheckpointTraits]  # of parts that fit


_STABLE_DIFFUSION: Final = Reader(
    check_scheduler_config, check_stable_diffusion, read_stable_diffusion
)
READERS: Final[Mapping[Family, Reader]] = MappingProxyType(
    {
        STABLE_DIFFUSION: _STABLE_DIFFUSION,
        STABLE_DIFFUSION_XL: _STABLE_DIFFUSION,
        STABLE_DIFFUSION_3: Reader(
            check_flow_config, check_stable_diffusion_3, read_stable_diffusion_3
        ),
        FLUX: Reader(check_flow_config, check_flux, read_flux),
        Z_IMAGE: Reader(check_flow_config, check_z_image, read_z_image),
    }
)
