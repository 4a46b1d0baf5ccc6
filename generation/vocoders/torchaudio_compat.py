"""The one place that imports torchaudio.

torchaudio 2.11, its last release, loads a C++ extension that is linked against CUDA and so fails to import beside a
CPU-only torch. The transforms used here are pure Python: where, and only where, the real import fails with OSError,
a stand-in for the extension module is put in its place. ``torchaudio.load`` and ``save`` need torchcodec: shared.audio
does that work.
"""

import importlib
import sys
import types


def _stand_in() -> types.ModuleType:
    extension = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension._IS_ALIGN_AVAILABLE = False
    extension._check_cuda_version = lambda: None
    extension.fail_if_no_align = _unavailable
    return extension


def _unavailable(function):
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(f"{function.__name__} needs torchaudio's compiled extension, which does not load here")

    return fail


def _import_torchaudio() -> types.ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _stand_in()
        return importlib.import_module("torchaudio")


torchaudio = _import_torchaudio()
FrequencyMasking = torchaudio.transforms.FrequencyMasking
GriffinLim = torchaudio.transforms.GriffinLim
InverseMelScale = torchaudio.transforms.InverseMelScale
MelSpectrogram = torchaudio.transforms.MelSpectrogram
TimeMasking = torchaudio.transforms.TimeMasking
