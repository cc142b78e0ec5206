"""One interface to torch and exported networks: images in, raw predictions out, with the same number of threads."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rdrkd.models import LoadedModel
from rdrkd.spec.exporting import ExportSettings
from rdrkd.ultralytics_adapter import AutoBackend


class Network:
    """A network ready for inference.

    Attributes:
        runtime: name and version of the runtime.
        computes_in: precision of its arithmetic, which may differ from that of its weights.
    """

    def __init__(self, backend: Any, device: torch.device, runtime: str, computes_in: str) -> None:
        self._backend, self._device = backend, device
        self.runtime, self.computes_in = runtime, computes_in

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Predict: images (B, 3, H, W), RGB in [0, 1] -> (B, 4 + nc, A) x y w h in px and class scores, on the CPU."""
        output = self._backend(images.to(self._device))
        first: Tensor = output[0] if isinstance(output, list | tuple) else output
        return first.float().cpu()


def of_torch(loaded: LoadedModel, device: str) -> Network:
    """Return a network that torch runs, fused and in fp32."""
    place = place_of(device)
    backend = AutoBackend(model=copy.deepcopy(loaded.model), device=place, verbose=False, end2end=False)
    backend.eval()
    return Network(backend, place, f"torch {torch.__version__}", "fp32")


def of_export(made: Path, settings: ExportSettings, device: str) -> Network:
    """Return an exported network that its own runtime runs."""
    place = place_of(device)
    backend = AutoBackend(model=str(made), device=place, verbose=False)
    backend.eval()
    if settings.format == "onnx":
        return Network(backend, place, *_threads_of_onnxruntime(backend, made, settings.half))
    if settings.format == "openvino":
        runtime, precision = _threads_of_openvino(backend, made)
        return Network(backend, place, runtime, f"int8 and {precision}" if settings.int8 else precision)
    precision = "fp16" if settings.half else "fp32"
    if settings.format == "engine":
        import tensorrt

        return Network(backend, place, f"TensorRT {tensorrt.__version__}", precision)
    return Network(backend, place, f"torch {torch.__version__}", precision)


def place_of(device: str) -> torch.device:
    """Return torch's device for `cpu` or a GPU's number."""
    return torch.device(f"cuda:{device}" if device.isdecimal() else device)


def _threads_of_onnxruntime(backend: Any, made: Path, half: bool) -> tuple[str, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    backend.backend.session = onnxruntime.InferenceSession(str(made), options, providers=["CPUExecutionProvider"])
    return f"onnxruntime {onnxruntime.__version__}", "fp16" if half else "fp32"


def _threads_of_openvino(backend: Any, made: Path) -> tuple[str, str]:
    """Compile the model again with torch's number of threads; on some processors it would compute in bf16."""
    import openvino

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    # Use the existing core: each core that compiles replaces the signal stack by its own. If two cores are not freed
    # in reverse order, a freed stack stays in place, and the next signal, such as a stop, kills the process.
    compiled = backend.backend.compile_model(openvino.Core().read_model(next(made.glob("*.xml"))), config=config)
    backend.backend.ov_compiled_model = compiled
    kind = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    return f"OpenVINO {openvino.__version__}", {"f32": "fp32", "f16": "fp16"}.get(kind, kind)
